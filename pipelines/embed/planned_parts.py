"""Parts chosen record by record by a planner, for the job on this machine."""

from collections.abc import Iterator
from dataclasses import dataclass

from pipelines.embed.batch import PartEnd, PartId, PartRecord
from pipelines.reading.documents import Reject
from pipelines.reading.splits import ReadTask, read_task


@dataclass(frozen=True)
class PlannedPart:
    """One part: what to read, and what the planner rejected.

    Attributes:
      part: which.
      task: the chosen records.
      rejects: to be written with the part.
      end: of the part.
    """

    part: PartId
    task: ReadTask
    rejects: tuple[Reject, ...]
    end: PartEnd


def part_ids(planned: PlannedPart) -> tuple[PartId, ...]:
    """Return the one part of a task."""
    return (planned.part,)


def read_part(planned: PlannedPart, settled: frozenset[PartId]) -> Iterator[PartRecord]:
    """Yield the records of a part and its end, unless it is settled."""
    if planned.part in settled:
        return
    for reject in planned.rejects:
        yield PartRecord(planned.part, reject)
    for record in read_task(planned.task):
        yield PartRecord(planned.part, record)
    yield PartRecord(planned.part, planned.end)
