"""Batches' arrays find the places of their sentences, with and without a thread."""

import numpy as np
import pytest
import torch

from elmo_infer.results import EmbedResult
from elmo_infer.scattering import Scattering


def empty_result(lengths: list[int], dim: int) -> EmbedResult:
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    return EmbedResult(
        token_vectors=np.full((offsets[-1], dim), np.nan, dtype=np.float32),
        offsets=offsets,
        sentence_vectors=np.zeros((len(lengths), dim), dtype=np.float32),
        attention=np.full(offsets[-1], np.nan, dtype=np.float32),
    )


# A thread copies where the device is not the CPU; "meta" is such a one on any machine.
@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_every_row_gets_to_its_place(device: str) -> None:
    rng = np.random.default_rng(3)
    lengths = rng.integers(0, 7, 40).tolist()
    result = empty_result(lengths, dim=3)
    expected = rng.normal(size=result.token_vectors.shape).astype(np.float32)
    weights = rng.random(len(expected)).astype(np.float32)
    order = rng.permutation(len(lengths))
    with Scattering(result, torch.device(device)) as scatter:
        for batch in np.array_split(order, 6):
            rows = np.concatenate(
                [np.arange(result.offsets[one], result.offsets[one + 1]) for one in batch]
            )
            pooled = np.repeat(batch[:, None], 3, axis=1).astype(np.float32)
            scatter(batch, expected[rows], pooled, weights[rows])
    np.testing.assert_array_equal(result.token_vectors, expected)
    np.testing.assert_array_equal(result.attention, weights)
    np.testing.assert_array_equal(result.sentence_vectors[:, 0], np.arange(len(lengths)))


def test_what_fails_in_the_thread_is_raised() -> None:
    result = empty_result([2, 2], dim=3)
    with (
        pytest.raises(RuntimeError, match="index_copy_"),
        Scattering(result, torch.device("meta")) as scatter,
    ):
        scatter(np.array([0, 1]), np.zeros((4, 2)), np.zeros((2, 3)), np.zeros(4))
