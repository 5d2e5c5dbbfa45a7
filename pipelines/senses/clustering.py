"""Clusters of a word's occurrences: principal components, k-means, silhouettes."""

from typing import NamedTuple

import faiss
import numpy as np
from numpy.typing import NDArray

from pipelines.index.exact import Floats, threads_for

COMPONENTS = 16


class Clusters(NamedTuple):
    """Labels [n] from 0 and centers [k, P]."""

    labels: NDArray[np.int64]
    centers: Floats


def principal_points(features: Floats, count: int = COMPONENTS) -> Floats:
    """Return features [n, F] around their mean, in up to `count` principal components [n, P].

    Components without variance are left out, so that P is 0 where all are alike.
    """
    centered = features - features.mean(axis=0)
    left, singular, _ = np.linalg.svd(centered, full_matrices=False)
    scale = max(float(np.abs(features).max(initial=0)), 1e-12)
    real = singular > 1e-5 * max(float(singular[0]), scale)
    kept = min(count, int(real.sum()))
    return np.ascontiguousarray(left[:, :kept] * singular[:kept], np.float32)


def kmeans(points: Floats, count: int, seed: int = 0) -> Clusters:
    """Cluster points [n, P] into `count`, the best of five starts (k-means++)."""
    found = faiss.Kmeans(
        points.shape[1],
        count,
        niter=15,
        nredo=5,
        seed=seed,
        min_points_per_centroid=1,
        init_method=faiss.ClusteringInitMethod_KMEANS_PLUS_PLUS,
    )
    with threads_for(1):  # so few points are clustered sooner than threads wake
        found.train(np.ascontiguousarray(points))
        _, labels = found.index.search(np.ascontiguousarray(points), 1)
    return Clusters(labels[:, 0], found.centroids)


def silhouettes(points: Floats, labels: NDArray[np.int64]) -> Floats:
    """Return each point's silhouette: (b - a) / max(a, b) of mean distances, a within, b to next.

    Args:
      points: [n, P]; n is small enough for an n x n matrix.
      labels: [n] from 0, every label used.
    """
    squares = (points**2).sum(axis=1)
    distances = np.sqrt(np.maximum(squares[:, None] + squares[None] - 2 * (points @ points.T), 0))
    np.fill_diagonal(distances, 0)
    member = np.eye(labels.max() + 1, dtype=np.float32)[labels]  # [n, S]
    sizes = member.sum(axis=0)
    sums = distances @ member
    rows = np.arange(len(points))
    within = sums[rows, labels] / np.maximum(sizes[labels] - 1, 1)
    means = sums / sizes
    means[rows, labels] = np.inf
    nearest = means.min(axis=1)
    scores = (nearest - within) / np.maximum(np.maximum(nearest, within), 1e-12)
    return np.where(sizes[labels] > 1, scores, 0).astype(np.float32)
