"""plan_commit: every position once, in order, whatever comes twice, late, or from the dead."""

from collections.abc import Mapping
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.corpus.stream_plan import BatchSummary, StreamTorn, plan_commit

EPOCH = 3
KEYS = 3


def summary(
    ranges: Mapping[str, tuple[int, int]], epoch: int = EPOCH
) -> BatchSummary[Mapping[str, tuple[int, int]]]:
    """A batch whose payload is its ranges: record n of a partition is version n of key n % KEYS."""
    return BatchSummary(epoch=epoch, ranges=ranges, payload=ranges)


def apply(state: dict[tuple[str, int], int], batch: BatchSummary) -> None:
    """Write the last version of each key of a batch, older than what is there or not."""
    for name, (start, end) in batch.payload.items():
        for offset in range(start, end):
            state[name, offset % KEYS] = offset


def expected_state(positions: Mapping[str, int]) -> dict[tuple[str, int], int]:
    return {
        (name, offset % KEYS): offset for name, end in positions.items() for offset in range(end)
    }


def spans(length: int) -> st.SearchStrategy[tuple[int, int]]:
    return st.tuples(st.integers(0, length - 1), st.integers(1, length)).filter(
        lambda span: span[0] < span[1]
    )


@settings(deadline=None)
@given(data=st.data())
def test_random_cuts_overlaps_repeats_and_zombies_end_in_the_last_versions(
    data: st.DataObject,
) -> None:
    lengths = data.draw(st.dictionaries(st.sampled_from("ab"), st.integers(1, 12), min_size=1))
    whole = [summary({name: (0, length)}) for name, length in lengths.items()]
    batches = [
        summary({name: span}, epoch)
        for name, length in lengths.items()
        for span, epoch in data.draw(
            st.lists(st.tuples(spans(length), st.sampled_from([EPOCH, EPOCH - 1])), max_size=12)
        )
    ]
    # A source in the end delivers all; here as one batch that may come first, last or between.
    arriving = data.draw(st.permutations([*batches, *whole]))
    positions: Mapping[str, int] = dict.fromkeys(lengths, 0)
    state: dict[tuple[str, int], int] = {}
    rest: tuple[BatchSummary, ...] = ()
    for batch in arriving:
        plan = plan_commit(EPOCH, positions, [*rest, batch])
        assert all(plan.positions[name] >= position for name, position in positions.items())
        for taken in plan.taken:
            assert taken.epoch == EPOCH
            apply(state, taken)
        positions, rest = plan.positions, plan.rest
        assert state == expected_state(positions)
    assert positions == lengths
    assert rest == ()


@settings(deadline=None)
@given(data=st.data())
def test_all_batches_at_once_are_taken_as_one_after_the_other(data: st.DataObject) -> None:
    length = data.draw(st.integers(1, 15))
    cuts = sorted(data.draw(st.sets(st.integers(1, length), max_size=6)) | {0, length})
    chain = [summary({"p": span}) for span in pairwise(cuts)]
    plan = plan_commit(EPOCH, {"p": 0}, data.draw(st.permutations(chain * 2)))
    assert list(plan.taken) == chain
    assert list(plan.dropped) == chain
    assert plan.positions == {"p": length}
    assert plan.rest == ()


def test_a_batch_beyond_a_gap_waits() -> None:
    plan = plan_commit(EPOCH, {"p": 2}, [summary({"p": (3, 5)})])
    assert plan.rest == (summary({"p": (3, 5)}),)
    assert plan.positions == {"p": 2}


def test_a_partition_without_a_position_waits() -> None:
    plan = plan_commit(EPOCH, {"p": 2}, [summary({"new": (0, 5)})])
    assert len(plan.rest) == 1


def test_a_lagging_partition_does_not_hold_up_the_others() -> None:
    batches = [summary({"late": (7, 9)}), summary({"fast": (0, 4)}), summary({"fast": (4, 6)})]
    plan = plan_commit(EPOCH, {"late": 5, "fast": 0}, batches)
    assert plan.positions == {"late": 5, "fast": 6}
    assert [b.ranges for b in plan.rest] == [{"late": (7, 9)}]


def test_a_batch_of_an_older_epoch_is_dropped_though_it_joins() -> None:
    plan = plan_commit(EPOCH, {"p": 0}, [summary({"p": (0, 5)}, EPOCH - 1)])
    assert plan.taken == ()
    assert len(plan.dropped) == 1


def test_a_batch_of_a_newer_epoch_is_an_error() -> None:
    with pytest.raises(StreamTorn, match="epoch 4, but the newest snapshot has 3"):
        plan_commit(EPOCH, {"p": 0}, [summary({"p": (0, 5)}, EPOCH + 1)])


def test_a_batch_that_is_half_committed_is_an_error() -> None:
    # Applied again, its first partition would bring back what later batches replaced.
    with pytest.raises(StreamTorn, match="committed in one partition but not in another"):
        plan_commit(EPOCH, {"a": 9, "b": 0}, [summary({"a": (0, 5), "b": (0, 5)})])


def test_a_batch_of_nothing_cannot_be_made() -> None:
    with pytest.raises(ValueError, match="at least one position"):
        summary({"p": (4, 4)})
    with pytest.raises(ValueError, match="at least one position"):
        summary({})
