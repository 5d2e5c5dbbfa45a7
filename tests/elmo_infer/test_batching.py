"""Plans and packings: integers in, integers out."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from elmo_infer.batching import Packing, plan_batches

LENGTHS = st.lists(st.integers(1, 30), min_size=1, max_size=40)


@given(lengths=LENGTHS, budget=st.integers(1, 60))
def test_every_sentence_is_in_one_batch_and_no_batch_is_over_budget(
    lengths: list[int], budget: int
) -> None:
    batches = plan_batches(lengths, budget)

    assert sorted(np.concatenate(batches)) == list(range(len(lengths)))
    for batch in batches:
        sizes = [lengths[index] for index in batch]
        assert sizes == sorted(sizes, reverse=True)
        assert sum(sizes) <= budget or len(sizes) == 1


@given(lengths=LENGTHS, budget=st.integers(1, 60))
def test_no_two_neighbouring_batches_fit_together(lengths: list[int], budget: int) -> None:
    sizes = [sum(lengths[index] for index in batch) for batch in plan_batches(lengths, budget)]
    firsts = [lengths[batch[0]] for batch in plan_batches(lengths, budget)]

    # A batch ends only where the next sentence would not fit any more.
    for size, following in zip(sizes, firsts[1:], strict=False):
        assert size + following > budget


def test_a_plan_by_hand() -> None:
    assert [batch.tolist() for batch in plan_batches([3, 9, 3, 4, 1], 8)] == [[1], [3, 0], [2, 4]]
    assert plan_batches([], 8) == []
    with pytest.raises(ValueError, match="max_tokens_per_batch is 0; expected at least 1"):
        plan_batches([1], 0)


def test_a_packing_by_hand() -> None:
    packing = Packing(np.array([3, 2, 1]))

    assert packing.rows.tolist() == [3, 2, 1]
    assert packing.starts.tolist() == [0, 3, 5, 6]
    # Tokens: sentence 0 is 0 1 2, sentence 1 is 3 4, sentence 2 is 5.
    assert packing.forward.tolist() == [0, 3, 5, 1, 4, 2]
    assert packing.backward.tolist() == [2, 4, 5, 1, 3, 0]
    assert packing.ends.tolist() == [5, 4, 2]


@given(lengths=LENGTHS)
def test_slots_undo_the_packing(lengths: list[int]) -> None:
    packing = Packing(np.array(sorted(lengths, reverse=True)))
    everything = np.arange(sum(lengths))

    forward, backward = packing.slots

    np.testing.assert_array_equal(packing.forward[forward], everything)
    np.testing.assert_array_equal(packing.backward[backward], everything)


def test_lanes_by_hand() -> None:
    packing = Packing(np.array([3, 2, 1]), n_lanes=2)

    assert packing.lane.tolist() == [0, 1, 1]
    assert packing.begins.tolist() == [0, 0, 2]
    assert packing.rows.tolist() == [2, 2, 2]
    assert packing.forward.tolist() == [0, 3, 1, 4, 2, 5]
    assert packing.backward.tolist() == [2, 4, 1, 3, 0, 5]
    assert packing.ends.tolist() == [4, 5]
    assert [lanes.tolist() for lanes in packing.restarts] == [[], [], [1]]


@given(lengths=LENGTHS, n_lanes=st.integers(1, 12))
def test_lanes_hold_every_sentence_once_and_end_together(lengths: list[int], n_lanes: int) -> None:
    packing = Packing(np.array(sorted(lengths, reverse=True)), n_lanes)
    everything = np.arange(sum(lengths))
    forward, backward = packing.slots
    ends = packing.begins + packing.lengths
    totals = np.bincount(packing.lane, packing.lengths)

    np.testing.assert_array_equal(np.sort(forward), everything)
    np.testing.assert_array_equal(packing.forward[forward], everything)
    np.testing.assert_array_equal(packing.backward[backward], everything)
    # A lane is full: each sentence begins where another ends.
    for lane, begin in zip(packing.lane, packing.begins, strict=True):
        assert begin == 0 or begin in ends[packing.lane == lane]
    assert len(totals) == packing.rows[0] == min(n_lanes, len(lengths))
    assert totals.tolist() == sorted(totals, reverse=True)
    # No lane could give its last sentence to another and end earlier for it.
    assert totals.max() - totals.min() <= max(lengths)
    np.testing.assert_array_equal(
        packing.ends, packing.starts[totals.astype(int) - 1] + range(len(totals))
    )


@given(lengths=LENGTHS, n_lanes=st.integers(1, 12))
def test_restarts_are_where_later_sentences_begin(lengths: list[int], n_lanes: int) -> None:
    packing = Packing(np.array(sorted(lengths, reverse=True)), n_lanes)
    later = packing.begins > 0

    found = [(step, lane) for step, lanes in enumerate(packing.restarts) for lane in lanes]

    wanted = zip(packing.begins[later], packing.lane[later], strict=True)
    assert sorted(found) == sorted(wanted)
