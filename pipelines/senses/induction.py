"""Sense induction: whether a word has one sense or several, and which occurrence has which.

1. Several? `split_test` compares how well the occurrences fall apart with words of one sense.
2. If so, features averaged with those of their neighbours (smoothing makes senses clearer, but
   finds some in noise, so that it has no say in the first question) are clustered by k-means.
3. How many? Of few occurrences the number with the best silhouette (Rousseeuw 1987), less a little
   for each sense. Of more, a number is taken seriously if two halves of the occurrences, drawn at
   random, lead to nearly the same senses (stability: Lange, Roth, Braun, Buhmann 2004); of those as
   stable as the best, the one whose silhouette is furthest above that of draws from one Gaussian
   (the idea of the gap statistic, Tibshirani, Walther, Hastie 2001).
"""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from pipelines.index.exact import Floats
from pipelines.search.similarity import around_mean
from pipelines.senses.clustering import Clusters, distances, kmeans, principal_points, silhouettes
from pipelines.senses.constants import SenseConstants
from pipelines.senses.features import Features, Sample, smooth, whole_features
from pipelines.senses.options import MIN_OCCURRENCES, SenseOptions, needed_surety
from pipelines.senses.split_test import (
    MAX_TESTED,
    SingleSenseTable,
    cohesion_of,
    measure_split,
)

SAMPLE = 800
FEW = 30  # up to so many occurrences halves are too small to be compared
LEAST = 3
SILHOUETTE_PENALTY = 0.01
_TESTS = 3
_NULL_DRAWS = 10
_SPLITS = 10
STABILITY_MARGIN = 0.1


@dataclass(frozen=True, kw_only=True, eq=False)
class Induction:
    """Senses found in a sample of occurrences, as a rule that puts any occurrence into one.

    Attributes:
      features: of vectors; what the rule is about.
      weights: [S, R] float32.
      bias: [S] float32; the sense of f is argmax(weights @ f + bias), senses from the largest.
      silhouettes: [S] float32, mean of each sense's sample; 0 where there is one sense.
      surety: share of single-sense words with as many occurrences that look less split, 0 to 1;
        None where there are too few occurrences to tell.
      labels: [n] the senses of the sample, from 1; empty if it was read from a file.
    """

    features: Features
    weights: Floats
    bias: Floats
    silhouettes: Floats
    surety: float | None
    labels: NDArray[np.int32] = field(default_factory=lambda: np.zeros(0, np.int32))

    @property
    def senses(self) -> int:
        """How many senses there are."""
        return len(self.bias)

    def assign(self, tokens: Floats, sentences: Floats) -> NDArray[np.int32]:
        """Return the sense of each occurrence by vectors [n, D], numbered from 1."""
        scores = self.features(tokens, sentences) @ self.weights.T + self.bias
        return (scores.argmax(axis=1) + 1).astype(np.int32)


def induce(
    sample: Sample,
    constants: SenseConstants,
    options: SenseOptions | None = None,
    *,
    seed: int = 0,
) -> Induction:
    """Find the senses of a word.

    Args:
      sample: of its occurrences.
      constants: of the model.
      options: what to tell apart.
      seed: of the test's draws, the k-means starts and the structureless draws.
    """
    options = options or SenseOptions()
    features = Features.of_sample(sample.tokens, sample.sentences, constants.directions)
    own = features(sample.tokens, sample.sentences)
    surety, clusters = None, None
    if len(sample) >= MIN_OCCURRENCES:
        surety = split_surety(sample, constants, seed=seed)
    several = surety is not None and surety >= needed_surety(len(sample))
    if options.at_most > 1 and (options.force or several):
        clusters = partition(sample, constants.directions, options, seed=seed)
    if clusters is None:
        clusters = np.zeros(len(sample), np.int64)
    count = int(clusters.max(initial=0)) + 1
    order = np.argsort(-np.bincount(clusters, minlength=count), kind="stable")
    centers = np.zeros((count, own.shape[1]), np.float32)
    for place, cluster in enumerate(order):
        if count > 1:
            centers[place] = own[clusters == cluster].mean(axis=0)
    fits = np.zeros(len(sample), np.float32)
    if count > 1:
        fits = silhouettes(distances(own), clusters)
    return Induction(
        features=features,
        # |f - c|^2 is least where c.f - |c|^2 / 2 is greatest.
        weights=centers,
        bias=np.asarray(-0.5 * (centers**2).sum(axis=1), np.float32),
        silhouettes=np.array(
            [fits[clusters == k].mean() if count > 1 else 0.0 for k in order], np.float32
        ),
        surety=surety,
        labels=(order.argsort()[clusters] + 1).astype(np.int32),
    )


def split_surety(sample: Sample, constants: SenseConstants, *, seed: int = 0) -> float:
    """Return the share of single-sense words of like n that fall apart less; see `split_test`.

    Of more than MAX_TESTED occurrences so many are drawn, a few times.
    """
    table: SingleSenseTable = constants.table
    if len(sample) <= MAX_TESTED:
        measures = measure_split(whole_features(sample, constants.directions))
        return table.surety(measures, len(sample), cohesion_of(sample.tokens))
    rng = np.random.default_rng(seed)
    draws = [
        np.sort(rng.choice(len(sample), MAX_TESTED, replace=False)).astype(np.int64)
        for _ in range(_TESTS)
    ]
    found = [measure_split(whole_features(sample.take(d), constants.directions)) for d in draws]
    return table.surety(np.mean(found, axis=0), MAX_TESTED, cohesion_of(sample.tokens))


def partition(
    sample: Sample, directions: Floats | None, options: SenseOptions, *, seed: int = 0
) -> NDArray[np.int64] | None:
    """Return the cluster of each occurrence [n], from 0; None if no cut leaves senses large enough.

    With `options.force` any cut will do, if the occurrences differ at all.
    """
    count = len(sample)
    whole = whole_features(sample, directions)
    points = principal_points(smooth(whole, sample.scores)) if count > 1 else whole[:, :0]
    if not points.shape[1]:
        return None
    least = max(LEAST, int(np.ceil(options.min_share * count)))
    candidates = {
        number: found.labels
        for number in range(2, min(options.at_most, count) + 1)
        if _sizes(found := kmeans(points, number, seed)).min() >= least
    }
    if not candidates:
        return kmeans(points, 2, seed).labels if options.force else None
    chosen = None
    if count > FEW:
        plain = np.concatenate([around_mean(sample.tokens), sample.sentences], axis=1)
        chosen = _stable_number(principal_points(plain), sorted(candidates), seed)
    if chosen is None:
        unsmoothed = distances(principal_points(whole))

        def silhouette(number: int) -> float:
            mean = float(silhouettes(unsmoothed, candidates[number]).mean())
            return mean - SILHOUETTE_PENALTY * number

        chosen = max(sorted(candidates), key=silhouette)
    return candidates[chosen]


def _sizes(found: Clusters) -> NDArray[np.int64]:
    return np.bincount(found.labels, minlength=len(found.centers))


def _stable_number(points: Floats, numbers: list[int], seed: int) -> int | None:
    """Return the number of clusters to believe in; None if none stands out from a Gaussian's."""
    rng = np.random.default_rng(seed)
    nulls = [_like(points, rng) for _ in range(_NULL_DRAWS)]
    apart, nulls_apart = distances(points), [distances(null) for null in nulls]
    halves = [np.array_split(rng.permutation(len(points)), 2) for _ in range(_SPLITS)]
    found: dict[int, tuple[float, float]] = {}
    for number in numbers:
        clusters = kmeans(points, number, seed)
        if not _sizes(clusters).all():
            continue
        null = [
            silhouettes(far, kmeans(drawn, number, seed).labels).mean()
            for drawn, far in zip(nulls, nulls_apart, strict=True)
        ]
        gain = float(silhouettes(apart, clusters.labels).mean() - np.mean(null))
        stability = float(np.mean([_agreement(points, two, number, seed) for two in halves]))
        found[number] = stability, gain
    if not found:
        return None
    least = max(stability for stability, _ in found.values()) - STABILITY_MARGIN
    stable = [number for number, (stability, _) in found.items() if stability >= least]
    return max(stable, key=lambda number: found[number][1])


def _agreement(points: Floats, halves: list[NDArray[np.int64]], count: int, seed: int) -> float:
    """Cluster two halves apart, and compare what each makes of all points."""
    first, second = (
        ((points[:, None] - kmeans(points[half], count, seed).centers) ** 2)
        .sum(axis=2)
        .argmin(axis=1)
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


def _like(points: Floats, rng: np.random.Generator) -> Floats:
    """Draw as many points from one Gaussian of the same covariance (diagonal in this basis)."""
    draws = rng.standard_normal(points.shape) * points.std(axis=0)
    return draws.astype(np.float32)
