"""Batches of a training text: every sentence once, resumed where they stopped."""

from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from elmo_infer.training.batches import epochs_of_batches, plan_equal_length_batches
from elmo_infer.training.token_store import build_token_store

DOCUMENTS = [
    [["The", "cat", "sat", "."], ["The", "dog", "ran", "far", "away", "."]],
    [["A", "cat", "ran", "."]],
]


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(0, 30), max_size=60), st.integers(1, 64))
def test_every_sentence_is_in_exactly_one_batch_of_its_length(
    lengths: list[int], max_tokens: int
) -> None:
    array = np.array(lengths, dtype=np.int64)
    batches = plan_equal_length_batches(array, max_tokens, np.random.default_rng(0))
    used = sorted(int(index) for batch in batches for index in batch)
    assert used == [index for index, length in enumerate(lengths) if length >= 2]
    for batch in batches:
        assert len(set(array[batch])) == 1
        assert len(batch) == 1 or array[batch].sum() <= max_tokens


def test_skipped_batches_are_those_that_came_first(tmp_path: Path) -> None:
    store = build_token_store(DOCUMENTS * 5, tmp_path)
    whole = epochs_of_batches(store, 8, seed=2)
    expected = [next(whole)[1].tolist() for _ in range(60)]
    resumed = epochs_of_batches(store, 8, seed=2, skip=37)
    assert [next(resumed)[1].tolist() for _ in range(23)] == expected[37:]
