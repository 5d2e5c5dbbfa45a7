"""Clusters of a word's occurrences: principal components, k-means, distances, silhouettes."""

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
    from scipy.linalg import eigh

    # Only the largest are wanted: eigenvalues of the smaller scatter, in double precision since
    # squares lose half the digits, take a tenth of the time of all singular values.
    centered = (features - features.mean(axis=0)).astype(np.float64)
    wide = centered.shape[0] <= centered.shape[1]
    scatter = centered @ centered.T if wide else centered.T @ centered
    size = len(scatter)
    squares, vectors = eigh(scatter, subset_by_index=[max(0, size - count), size - 1])
    singular = np.sqrt(np.maximum(squares[::-1], 0))
    scale = max(float(np.abs(features).max(initial=0)), 1e-12)
    kept = int((singular > 1e-5 * max(float(singular[0]), scale)).sum())
    found = vectors[:, ::-1][:, :kept]
    points = found * singular[:kept] if wide else centered @ found
    # A component and its opposite are the same: fix the sign for equal bytes.
    largest = np.abs(points).argmax(axis=0)
    points = points * np.sign(points[largest, np.arange(kept)])
    return np.ascontiguousarray(points, np.float32)


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


def distances(points: Floats) -> Floats:
    """Return the Euclidean distances [n, n] of points [n, P] among themselves."""
    squares = (points**2).sum(axis=1)
    found = np.sqrt(np.maximum(squares[:, None] + squares[None] - 2 * (points @ points.T), 0))
    np.fill_diagonal(found, 0)
    return np.asarray(found, np.float32)


def silhouettes(apart: Floats, labels: NDArray[np.int64]) -> Floats:
    """Return each point's silhouette: (b - a) / max(a, b) of mean distances, a within, b to next.

    Args:
      apart: [n, n] distances, which serve any number of labellings.
      labels: [n] from 0, every label used.
    """
    member = np.eye(labels.max() + 1, dtype=np.float32)[labels]  # [n, S]
    sizes = member.sum(axis=0)
    sums = apart @ member
    rows = np.arange(len(apart))
    within = sums[rows, labels] / np.maximum(sizes[labels] - 1, 1)
    means = sums / sizes
    means[rows, labels] = np.inf
    nearest = means.min(axis=1)
    scores = (nearest - within) / np.maximum(np.maximum(nearest, within), 1e-12)
    return np.where(sizes[labels] > 1, scores, 0).astype(np.float32)
