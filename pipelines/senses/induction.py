"""Sense induction: how many senses a word's occurrences fall into, and which is whose.

The occurrences' vectors are centred on their own mean, reduced to their principal components, and
clustered by k-means for each number of senses. A number is taken seriously if

* two halves of the occurrences, drawn at random, lead to nearly the same senses (stability: Lange,
  Roth, Braun, Buhmann 2004), measured by the adjusted Rand index; noise is cut anew each time; and
* its mean silhouette (Rousseeuw 1987) beats what the same clustering finds in draws from one
  Gaussian of the same covariance, where there is nothing to find (the idea of the gap statistic,
  Tibshirani, Walther, Hastie 2001): a long cloud is cut alike each time, but is one.

Of the numbers as stable as the best, the one with the best silhouette wins; if none is left, the
word has one sense. On 22 words with gold senses this gave 2.3 senses a word (gold: 3.5) where the
silhouette alone gave 5. Which occurrence has which sense is then found by clustering smoothed
vectors, if there are such: smoothing makes senses clearer, but finds some in noise, so that it has
no say in their number.
"""

from dataclasses import dataclass, field

import faiss
import numpy as np
from numpy.typing import NDArray

from pipelines.index.exact import Floats, threads_for

MIN_OCCURRENCES = 30
MAX_SENSES = 6
SAMPLE = 800
COMPONENTS = 16
NULL_DRAWS = 3
MIN_GAIN = 0.012
MIN_STABILITY = 0.5
STABILITY_MARGIN = 0.1
SPLITS = 4
MIN_SENSE = 4
MIN_SENSE_SHARE = 0.02


@dataclass(frozen=True, kw_only=True, eq=False)
class Induction:
    """Senses found in a sample of vectors, as a rule that puts any vector into one.

    Attributes:
      weights: [S, D] float32.
      bias: [S] float32; the sense of v is argmax(weights @ v + bias), senses from the largest.
      silhouettes: [S] float32, mean of each sense's sample; 0 where there is one sense.
      gain: mean silhouette above that of structureless draws; 0 where there is one sense.
      labels: [n] the senses of the vectors it was found in, from 1; empty if those were sampled, or
        if it was read from a file.
    """

    weights: Floats
    bias: Floats
    silhouettes: Floats
    gain: float
    labels: NDArray[np.int32] = field(default_factory=lambda: np.zeros(0, np.int32))

    @property
    def senses(self) -> int:
        """How many senses there are."""
        return len(self.bias)

    def assign(self, vectors: Floats) -> NDArray[np.int32]:
        """Return the sense of each vector [n, D], numbered from 1."""
        scores = vectors @ self.weights.T + self.bias
        return (scores.argmax(axis=1) + 1).astype(np.int32)


def induce(vectors: Floats, *, smoothed: Floats | None = None, seed: int = 0) -> Induction:
    """Find the senses of a word.

    Args:
      vectors: [n, D] float32, of its occurrences; a sample of SAMPLE is drawn from more.
      smoothed: [n, D] the same, each averaged with its neighbours; not with more than SAMPLE.
      seed: of the sample, the k-means starts and the structureless draws.
    """
    rng = np.random.default_rng(seed)
    sampled = len(vectors) > SAMPLE
    if sampled:
        vectors = vectors[np.sort(rng.choice(len(vectors), SAMPLE, replace=False))]
    one = Induction(
        weights=np.zeros((1, vectors.shape[1]), np.float32),
        bias=np.zeros(1, np.float32),
        silhouettes=np.zeros(1, np.float32),
        gain=0.0,
        labels=np.ones(0 if sampled else len(vectors), np.int32),
    )
    if len(vectors) < MIN_OCCURRENCES:
        return one
    mean = vectors.mean(axis=0)
    points, components = _principal(vectors - mean)
    if not len(components):
        return one
    best = _best_clustering(points, seed, rng)
    if best is None:
        return one
    labels, centers, scores, gain = best
    if smoothed is not None and not sampled:
        labels, centers, scores = _smoothed_labels(points, smoothed, best, seed)
    order = np.argsort(-np.bincount(labels), kind="stable")
    weights = (centers @ components)[order]
    # |p - c|^2 is least where c.p - |c|^2 / 2 is greatest, and p = components (v - mean).
    bias = -(weights @ mean) - 0.5 * (centers[order] ** 2).sum(axis=1)
    return Induction(
        weights=weights.astype(np.float32),
        bias=bias.astype(np.float32),
        silhouettes=np.array([scores[labels == k].mean() for k in order], np.float32),
        gain=gain,
        labels=np.zeros(0, np.int32) if sampled else (order.argsort()[labels] + 1).astype(np.int32),
    )


_Clustering = tuple[NDArray[np.int64], Floats, Floats, float]


def _best_clustering(points: Floats, seed: int, rng: np.random.Generator) -> _Clustering | None:
    """Return labels, centers, silhouettes and gain of the number of senses to believe in."""
    nulls = [_like(points, rng) for _ in range(NULL_DRAWS)]
    halves = [np.array_split(rng.permutation(len(points)), 2) for _ in range(SPLITS)]
    found: list[tuple[float, _Clustering]] = []
    for count in range(2, MAX_SENSES + 1):
        labels, centers = _kmeans(points, count, seed)
        sizes = np.bincount(labels, minlength=count)
        if sizes.min() < max(MIN_SENSE, MIN_SENSE_SHARE * len(points)):
            continue
        scores = silhouettes(points, labels)
        null = [silhouettes(draw, _kmeans(draw, count, seed)[0]).mean() for draw in nulls]
        gain = float(scores.mean() - np.mean(null))
        if gain > MIN_GAIN:
            stability = float(np.mean([_agreement(points, two, count, seed) for two in halves]))
            found.append((stability, (labels, centers, scores, gain)))
    if not found:
        return None
    least = max(MIN_STABILITY, max(stability for stability, _ in found) - STABILITY_MARGIN)
    stable = [clustering for stability, clustering in found if stability >= least]
    return max(stable, key=lambda clustering: clustering[3]) if stable else None


def _smoothed_labels(
    points: Floats, smoothed: Floats, found: _Clustering, seed: int
) -> tuple[NDArray[np.int64], Floats, Floats]:
    """Cluster smoothed vectors into as many senses; centers and silhouettes are those of points.

    Where that leaves a sense too small, the clustering found stays.
    """
    labels, centers, scores, _ = found
    count = len(centers)
    again, _ = _kmeans(_principal(smoothed - smoothed.mean(axis=0))[0], count, seed)
    sizes = np.bincount(again, minlength=count)
    if sizes.min() < max(MIN_SENSE, MIN_SENSE_SHARE * len(points)):
        return labels, centers, scores
    means = np.stack([points[again == sense].mean(axis=0) for sense in range(count)])
    return again, means, silhouettes(points, again)


def _agreement(points: Floats, halves: list[NDArray[np.int64]], count: int, seed: int) -> float:
    """Cluster two halves apart, and compare what each makes of all points."""
    first, second = (
        ((points[:, None] - _kmeans(points[half], count, seed)[1]) ** 2).sum(axis=2).argmin(axis=1)
        for half in halves
    )
    return adjusted_rand(first, second)


def adjusted_rand(first: NDArray[np.int64], second: NDArray[np.int64]) -> float:
    """Return the adjusted Rand index of two clusterings (Hubert and Arabie 1985): 1 if equal."""
    table = np.zeros((first.max() + 1, second.max() + 1))
    np.add.at(table, (first, second), 1)
    together = _pairs(table).sum()
    rows, columns = _pairs(table.sum(axis=1)).sum(), _pairs(table.sum(axis=0)).sum()
    expected = rows * columns / _pairs(np.array(float(len(first))))
    most = (rows + columns) / 2
    return 1.0 if most == expected else float((together - expected) / (most - expected))


def _pairs(counts: NDArray[np.float64]) -> NDArray[np.float64]:
    return counts * (counts - 1) / 2


def _principal(centered: Floats) -> tuple[Floats, Floats]:
    """Return points [n, P] and components [P, D], those without variance left out."""
    _, singular, rows = np.linalg.svd(centered, full_matrices=False)
    kept = min(COMPONENTS, int((singular > 1e-5 * max(singular[0], 1e-12)).sum()))
    components = rows[:kept].astype(np.float32)
    return (centered @ components.T).astype(np.float32), components


def _like(points: Floats, rng: np.random.Generator) -> Floats:
    """Draw as many points from one Gaussian of the same covariance (diagonal in this basis)."""
    draws = rng.standard_normal(points.shape) * points.std(axis=0)
    return draws.astype(np.float32)


def _kmeans(points: Floats, count: int, seed: int) -> tuple[NDArray[np.int64], Floats]:
    kmeans = faiss.Kmeans(
        points.shape[1],
        count,
        niter=15,
        nredo=5,
        seed=seed,
        min_points_per_centroid=1,
        init_method=faiss.ClusteringInitMethod_KMEANS_PLUS_PLUS,
    )
    with threads_for(1):  # so few points are clustered sooner than threads wake
        kmeans.train(np.ascontiguousarray(points))
        _, labels = kmeans.index.search(np.ascontiguousarray(points), 1)
    return labels[:, 0], kmeans.centroids


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
