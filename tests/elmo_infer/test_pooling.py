"""Pooling against loops over sentences in NumPy, and by hand."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from elmo_infer.pooling import attention_pool, max_pool, mean_pool, mix_layers


def softmax(scores: np.ndarray) -> np.ndarray:
    exponentials = np.exp(scores - scores.max(initial=-np.inf))
    return exponentials / exponentials.sum()


def split(values: np.ndarray, lengths: list[int]) -> list[np.ndarray]:
    return np.split(values, np.cumsum(lengths)[:-1])


@given(
    lengths=st.lists(st.integers(0, 6), min_size=1, max_size=8),
    own=st.sampled_from(["mean", "one", "each"]),
    seed=st.integers(0, 99),
)
def test_attention_equals_a_loop(sum_bound, lengths: list[int], own: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    vectors = rng.standard_normal((sum(lengths), 4)).astype(np.float32)
    queries = rng.standard_normal((len(lengths), 4)).astype(np.float32)
    given_queries = {"mean": None, "one": torch.from_numpy(queries[0])}.get(
        own, torch.from_numpy(queries)
    )

    pooled, attention = attention_pool(torch.from_numpy(vectors), np.array(lengths), given_queries)

    for index, tokens in enumerate(split(vectors, lengths)):
        if not len(tokens):
            assert pooled[index].tolist() == [0.0] * 4
            continue
        query = {"mean": tokens.mean(axis=0), "one": queries[0]}.get(own, queries[index])
        weights = softmax(tokens @ query / 2.0)
        # A score's rounding is the relative error of its exponential: weights are at most 1.
        bound = sum_bound(4 + 6, scale=max(1.0, float(np.abs(tokens @ query).max())))
        size = max(1.0, float(np.abs(tokens).max()))
        np.testing.assert_allclose(pooled[index], weights @ tokens, atol=len(tokens) * size * bound)
        found = split(attention.numpy(), lengths)[index]
        np.testing.assert_allclose(found, weights, atol=bound)


@given(lengths=st.lists(st.integers(0, 6), min_size=1, max_size=8), seed=st.integers(0, 99))
def test_mean_and_max_equal_loops(lengths: list[int], seed: int) -> None:
    vectors = np.random.default_rng(seed).integers(-2, 3, (sum(lengths), 4)).astype(np.float32)

    mean, shares = mean_pool(torch.from_numpy(vectors), np.array(lengths))
    peak, wins = max_pool(torch.from_numpy(vectors), np.array(lengths))

    for index, tokens in enumerate(split(vectors, lengths)):
        if not len(tokens):
            assert not mean[index].any()
            assert not peak[index].any()
            continue
        np.testing.assert_allclose(mean[index], tokens.mean(axis=0), atol=1e-6)
        np.testing.assert_allclose(split(shares.numpy(), lengths)[index], 1 / len(tokens))
        np.testing.assert_array_equal(peak[index], tokens.max(axis=0))
        counts = np.bincount(tokens.argmax(axis=0), minlength=len(tokens))
        np.testing.assert_allclose(split(wins.numpy(), lengths)[index], counts / 4)


def test_attention_by_hand() -> None:
    # Scores q.v / sqrt(1): 0 and ln 3, so the weights are 1/4 and 3/4.
    vectors = torch.tensor([[0.0], [float(np.log(3.0))]])

    pooled, attention = attention_pool(vectors, np.array([2]), torch.tensor([1.0]))

    np.testing.assert_allclose(attention, [0.25, 0.75], atol=1e-6)
    np.testing.assert_allclose(pooled, [[0.75 * np.log(3.0)]], atol=1e-6)


def test_large_scores_do_not_overflow() -> None:
    vectors = torch.tensor([[1e4], [1e4 - 1.0]])

    _, attention = attention_pool(vectors, np.array([2]), torch.tensor([1e4]))

    assert attention.tolist() == [1.0, 0.0]


@pytest.mark.parametrize("pool", [mean_pool, max_pool, lambda v, n: attention_pool(v, n, None)])
def test_inputs_are_left_alone_and_sums_are_float32(pool) -> None:
    vectors = torch.randn(5, 3, generator=torch.Generator().manual_seed(0)).bfloat16()
    before = vectors.clone()

    pooled, attention = pool(vectors, np.array([3, 2]))

    assert torch.equal(vectors, before)
    assert pooled.dtype == attention.dtype == torch.float32


def test_shapes_that_do_not_agree() -> None:
    vectors = torch.zeros(3, 2)

    with pytest.raises(ValueError, match=r"shape \(3, 2\) and lengths sum to 4"):
        mean_pool(vectors, np.array([4]))
    with pytest.raises(ValueError, match=r"queries have shape \(5,\); expected \(2,\) or \(1, 2\)"):
        attention_pool(vectors, np.array([3]), torch.zeros(5))


def test_mix_by_hand() -> None:
    layers = [torch.tensor([[1.0]]), torch.tensor([[10.0]]), torch.tensor([[float("nan")]])]

    assert mix_layers(layers, (2.0, 0.5, 0.0)).tolist() == [[7.0]]
    assert layers[0].tolist() == [[1.0]]
