"""The neighbours' say: sums of vectors by hand; what shares a neighbour comes up."""

import numpy as np
import pytest

from pipelines.index.centering import normalize
from pipelines.search.neighbours import (
    BAG_WEIGHT,
    NEIGHBOUR_WEIGHT,
    greatest,
    make_table,
    neighbourhood,
    query_s_sense,
)


def test_scores_are_cosines_of_vectors_joined_with_their_neighbours(
    rng: np.random.Generator,
) -> None:
    # Of vectors as long as the score's own: 1 + the weight of the words around.
    size = np.sqrt(1 + BAG_WEIGHT).astype(np.float32)
    vectors = size * normalize(rng.standard_normal((60, 8)).astype(np.float32))
    query = size * normalize(rng.standard_normal((1, 8)).astype(np.float32))[0]
    scores = vectors @ vectors.T
    none = np.zeros((60, 1), np.float32)
    table = make_table(np.arange(60), scores, none, none[0])

    def joined(vector: np.ndarray, by: np.ndarray) -> np.ndarray:
        near = np.argsort(-by, kind="stable")[: neighbourhood(60)]
        return normalize((vector + NEIGHBOUR_WEIGHT * vectors[near].mean(axis=0))[None])[0]

    others = scores - 99 * np.eye(60)
    sums = np.stack([joined(vector, by) for vector, by in zip(vectors, others, strict=True)])
    expected = sums @ joined(query, vectors @ query)
    np.testing.assert_allclose(table.rank(vectors @ query), expected, atol=1e-5)


def test_what_is_near_to_the_nearest_comes_up() -> None:
    # Two bundles; of the last two rows, which the query knows nothing of, one is in its bundle.
    bundle = np.repeat([0, 1], 6)
    scores = np.where(bundle[:, None] == bundle[None], 0.8, 0.0).astype(np.float32)
    np.fill_diagonal(scores, 1 + BAG_WEIGHT)
    none = np.zeros((12, 1), np.float32)
    table = make_table(np.arange(12), scores, none, none[0])
    query = np.where(bundle == 0, 0.6, 0.1).astype(np.float32)
    query[[5, 11]] = 0.0
    ranked = table.rank(query)
    assert ranked[5] > ranked[11]
    assert set(np.argsort(-ranked)[:6]) == set(range(6))


@pytest.mark.parametrize("count", [2, 3, 5])
def test_a_few_occurrences_can_be_ranked(count: int, rng: np.random.Generator) -> None:
    vectors = normalize(rng.standard_normal((count, 4)).astype(np.float32))
    none = np.zeros((count, 1), np.float32)
    table = make_table(np.arange(count), vectors @ vectors.T, none, none[0])
    ranked = table.rank(vectors @ vectors[0])
    assert np.isfinite(ranked).all()
    assert ranked.shape == (count,)


def test_the_query_has_the_sense_of_most_of_its_nearest() -> None:
    # A quarter of them is near: the first three of twelve.
    scores = np.array([0.95, 0.5, 0.5, *[0.1] * 9], np.float32)
    far = [2] * 9
    assert query_s_sense(scores, np.array([1, 2, 2, *far], np.int32)) == 2
    assert query_s_sense(scores, np.array([1, 1, 2, *far], np.int32)) == 1
    assert query_s_sense(scores, np.array([0, 0, 1, *far], np.int32)) == 1
    assert query_s_sense(scores, np.array([0, 0, 0, *far], np.int32)) == 0


def test_the_greatest_of_each_row_are_those_of_a_stable_sort(rng: np.random.Generator) -> None:
    scores = rng.integers(0, 6, (40, 40)).astype(np.float32)  # many are equal
    np.fill_diagonal(scores, -np.inf)
    whole = np.argsort(-scores, axis=1, kind="stable")
    for count in (1, 7, 39):
        np.testing.assert_array_equal(greatest(scores, count), whole[:, :count])
