"""Clusters: silhouettes are scikit-learn's, k-means finds what is far apart."""

import numpy as np
import pytest

from pipelines.senses.clustering import distances, kmeans, principal_points, silhouettes


def test_silhouettes_equal_those_of_scikit_learn(rng: np.random.Generator) -> None:
    from sklearn.metrics import silhouette_samples

    points = rng.standard_normal((60, 5)).astype(np.float32)
    labels = rng.integers(0, 3, 60)
    labels[0] = 3  # a cluster of one
    np.testing.assert_allclose(
        silhouettes(distances(points), labels), silhouette_samples(points, labels), atol=1e-4
    )


def test_kmeans_finds_points_that_are_far_apart() -> None:
    points = np.array([[0, 0], [0, 1], [9, 0], [9, 1]], np.float32)
    found = kmeans(points, 2)
    assert found.labels[0] == found.labels[1] != found.labels[2] == found.labels[3]
    np.testing.assert_allclose(sorted(found.centers.tolist()), [[0, 0.5], [9, 0.5]])


def test_principal_points_keep_distances_and_leave_out_what_does_not_vary(
    rng: np.random.Generator,
) -> None:
    plane = rng.standard_normal((20, 3)) @ rng.standard_normal((3, 12)) + 5
    points = principal_points(plane.astype(np.float32))
    assert points.shape == (20, 3)
    between = np.linalg.norm(plane[:, None] - plane[None], axis=2)
    np.testing.assert_allclose(
        np.linalg.norm(points[:, None] - points[None], axis=2), between, atol=1e-3
    )
    assert principal_points(np.ones((5, 4), np.float32)).shape == (5, 0)


@pytest.mark.parametrize("shape", [(30, 80), (80, 30)])
def test_principal_points_are_those_of_the_singular_values(
    rng: np.random.Generator, shape: tuple[int, int]
) -> None:
    features = rng.standard_normal(shape).astype(np.float32)
    left, singular, _ = np.linalg.svd(features - features.mean(axis=0), full_matrices=False)
    expected = (left * singular)[:, :16]
    found = principal_points(features)
    np.testing.assert_allclose(np.abs(found), np.abs(expected), atol=1e-3)
