"""Decide which batches of a stream the next snapshot takes: one pure function for all drivers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from pipelines.errors import CorpusError

Payload = TypeVar("Payload")


class StreamTorn(CorpusError):
    """Batches that do not join what was committed; starting again from the corpus mends it."""


@dataclass(frozen=True, kw_only=True)
class BatchSummary(Generic[Payload]):
    """One batch of a stream that was embedded and waits to be committed.

    Attributes:
      epoch: of the stream that read it.
      ranges: for each partition read the positions [from, to) that the batch accounts for.
      payload: what the batch brings.
    """

    epoch: int
    ranges: Mapping[str, tuple[int, int]]
    payload: Payload

    def __post_init__(self) -> None:
        bad = {p: r for p, r in self.ranges.items() if r[0] >= r[1]}
        if bad or not self.ranges:
            raise ValueError(f"a batch must account for at least one position, not {bad or 'none'}")


@dataclass(frozen=True, kw_only=True)
class StreamPlan(Generic[Payload]):
    """What is done with waiting batches.

    Attributes:
      positions: after the batches taken.
      taken: in the order in which they are to be applied.
      dropped: committed before (a retry), or of an older epoch.
      rest: they begin beyond what was committed; what is missing may still come.
    """

    positions: Mapping[str, int]
    taken: tuple[BatchSummary[Payload], ...]
    dropped: tuple[BatchSummary[Payload], ...]
    rest: tuple[BatchSummary[Payload], ...]


def plan_commit(
    epoch: int, positions: Mapping[str, int], summaries: Sequence[BatchSummary[Payload]]
) -> StreamPlan[Payload]:
    """Choose which batches join the committed positions.

    A batch is taken if and only if each of its ranges has `from <= position < to`. A batch whose
    ranges all end at or before the positions is dropped: it was committed. Any other waits. Taking
    one moves the positions, so that others may join after it, whatever the order they came in.

    Args:
      epoch: of the stream, as the newest snapshot has it.
      positions: of its partitions, likewise; a partition without one is not read yet.
      summaries: batches that wait, in any order, with repetitions.

    Raises:
      StreamTorn: if a batch is of a newer epoch than the snapshot's, or is committed in one
        partition and not in another.
    """
    now = dict(positions)
    taken: list[BatchSummary[Payload]] = []
    dropped: list[BatchSummary[Payload]] = []
    waiting: list[BatchSummary[Payload]] = []
    for summary in summaries:
        if summary.epoch > epoch:
            raise StreamTorn(
                f"a batch has epoch {summary.epoch}, but the newest snapshot has {epoch}; start"
                " the stream again"
            )
        (waiting if summary.epoch == epoch else dropped).append(summary)
    # The longest of equal beginnings first: it makes the others retries of what it holds.
    waiting.sort(key=lambda s: sorted((p, a, -b) for p, (a, b) in s.ranges.items()))
    moved = True
    while moved:
        moved = False
        for summary in tuple(waiting):
            fit = {_fit(now.get(name), *span) for name, span in summary.ranges.items()}
            if "beyond" in fit:
                continue
            if len(fit) > 1:
                raise StreamTorn(
                    f"a batch of {dict(summary.ranges)} is committed in one partition but not in"
                    f" another (positions {now}); start the stream again"
                )
            waiting.remove(summary)
            if fit == {"joins"}:
                now.update({name: end for name, (_, end) in summary.ranges.items()})
                taken.append(summary)
                moved = True
            else:
                dropped.append(summary)
    return StreamPlan(
        positions=now, taken=tuple(taken), dropped=tuple(dropped), rest=tuple(waiting)
    )


def _fit(position: int | None, start: int, end: int) -> str:
    if position is None or start > position:
        return "beyond"
    return "joins" if position < end else "behind"
