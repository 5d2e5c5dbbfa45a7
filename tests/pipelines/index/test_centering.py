"""Centering: worked examples, what it must leave alone, the round trip through index.json."""

import json

import numpy as np
import pytest

from pipelines.index.centering import Centering, fit_centering, normalize


def test_mean_is_removed_before_normalising() -> None:
    # Mean (1, 2); (4, 6) - (1, 2) = (3, 4), of length 5.
    centering = fit_centering(
        np.array([[0.0, 0.0], [1.0, 1.0], [1.0, 3.0]], np.float32), center=True, remove_components=0
    )
    np.testing.assert_allclose(centering.mean, [1, 2])  # the zero vector is no evidence
    np.testing.assert_allclose(
        centering.apply(np.array([[4.0, 6.0]], np.float32)), [[0.6, 0.8]], atol=1e-6
    )


def test_top_component_is_the_direction_of_most_variance(rng: np.random.Generator) -> None:
    sample = rng.standard_normal((2000, 3)) * [10, 1, 1] + 5
    centering = fit_centering(sample.astype(np.float32), center=True, remove_components=1)
    np.testing.assert_allclose(np.abs(centering.components), [[1, 0, 0]], atol=0.02)
    applied = centering.apply(sample.astype(np.float32))
    assert np.abs(applied @ centering.components.T).max() < 1e-4  # rows near the mean are rescaled


def test_components_equal_those_of_scikit_learn(rng: np.random.Generator) -> None:
    from sklearn.decomposition import PCA

    sample = (rng.standard_normal((300, 8)) @ rng.standard_normal((8, 8))).astype(np.float32)
    ours = fit_centering(sample, center=True, remove_components=3).components
    theirs = PCA(3, svd_solver="full").fit(sample).components_
    np.testing.assert_allclose(np.abs((ours * theirs).sum(axis=1)), 1, atol=1e-4)


def test_without_centering_vectors_are_only_normalised(rng: np.random.Generator) -> None:
    vectors = rng.standard_normal((5, 4)).astype(np.float32)
    centering = fit_centering(vectors, center=False, remove_components=0)
    np.testing.assert_allclose(centering.apply(vectors), normalize(vectors), atol=1e-7)


def test_a_zero_vector_stays_zero_and_inputs_are_not_changed() -> None:
    vectors = np.array([[0, 0], [2, 0]], np.float16)
    before = vectors.copy()
    applied = Centering(np.ones(2, np.float32), np.zeros((0, 2), np.float32)).apply(vectors)
    np.testing.assert_array_equal(applied[0], [0, 0])
    np.testing.assert_array_equal(vectors, before)


def test_json_round_trip_is_exact(rng: np.random.Generator) -> None:
    sample = rng.standard_normal((50, 6)).astype(np.float32)
    centering = fit_centering(sample, center=True, remove_components=2)
    again = Centering.from_json(json.loads(json.dumps(centering.to_json())))
    np.testing.assert_array_equal(again.mean, centering.mean)
    np.testing.assert_array_equal(again.components, centering.components)


def test_more_components_than_the_sample_has_are_refused() -> None:
    with pytest.raises(ValueError, match="cannot remove 3 principal components from 2 vectors"):
        fit_centering(np.ones((2, 4), np.float32), center=True, remove_components=3)


def test_another_width_is_refused_with_both_widths() -> None:
    centering = Centering(np.zeros(4, np.float32), np.zeros((0, 4), np.float32))
    with pytest.raises(ValueError, match=r"\[1, 3\] do not fit an index of width 4"):
        centering.apply(np.zeros((1, 3), np.float32))
