"""Decide between one sense and several, by comparison with words of one sense.

Three measures of a cut in k, each larger the clearer the cut:

  gap         log of the ratio of the (k-1)-th and the k-th eigenvalue of the scatter
  opposition  minus the mean product of the clusters' means (k-means)
  modularity  of the clusters on the graph of nearest neighbours (Newman 2006)

and one of no cut:

  cohesion    mean cosine of the occurrences' vectors with each other; the more senses a word has,
              the less its vectors are alike (Ethayarajh 2019; Gari Soler, Apidianaki 2021)

Any cloud can be cut, and how clear its best cut looks depends on how many points it has. So each
measure is compared with what words of one sense have at the same number of occurrences, as a robust
z-score; the best sum over k counts, less COHESION_SHARE of cohesion's, as the share of those words
that stay below it. More than two senses are looked for where there are occurrences enough.
Of 0, 1/8, 1/4 and 1/2 for COHESION_SHARE, 1/8 and 1/4 are the best on SemCor's lemmas (development
half), alike within the error; no other labelled example has a part in this.

How alike vectors are differs from model to model, so that cohesion has a part only where the table
is the model's own.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipelines.index.centering import normalize
from pipelines.index.exact import Floats
from pipelines.senses.clustering import kmeans, principal_points

CUTS = (2, 3, 4)
MEASURES = ("gap", "opposition", "modularity")
MAX_TESTED = 150
_PER_SENSE = 20  # occurrences for each sense of a cut that is looked for
COHESION_SHARE = 0.25
_LOWEST = (0.0, -1.0, 0.0)  # what is measured where there is nothing to cut


@dataclass(frozen=True, kw_only=True, eq=False)
class SingleSenseTable:
    """What the measures are for words of one sense.

    Attributes:
      sizes: [N] float32 ascending, numbers of occurrences.
      means, deviations: [N, K, 3] float32 of each cut's measures at that size; the median, and the
        median distance from it as a standard deviation.
      spreads: [N, K] float32, standard deviation of the sum of a cut's z-scores.
      quantiles: [N, Q] float32 ascending, of the best cut's score, evenly spaced from 0 to 1.
      cohesions: [N, 2] float32, cohesion's median and its deviation, as of the measures; None
        leaves cohesion out.
    """

    sizes: Floats
    means: Floats
    deviations: Floats
    spreads: Floats
    quantiles: Floats
    cohesions: Floats | None = None

    def surety(self, measures: Floats, count: int, cohesion: float = 0.0) -> float:
        """Return the share of single-sense words with as many occurrences that look less split.

        Beyond the sizes of the table its ends count.

        Args:
          measures: [K, 3] of `measure_split`.
          count: how many occurrences they were measured on.
          cohesion: of these occurrences.
        """
        at = float(np.interp(np.log(max(count, 1)), np.log(self.sizes), np.arange(len(self.sizes))))
        low, share = int(at), at - int(at)
        high = min(low + 1, len(self.sizes) - 1)

        def between(rows: Floats) -> Floats:
            return np.asarray((1 - share) * rows[low] + share * rows[high])

        score = best_score(
            measures, between(self.means), between(self.deviations), between(self.spreads), count
        )
        if self.cohesions is not None:
            score = score - cohesion_score(cohesion, between(self.cohesions))
        quantiles = between(self.quantiles)
        return float(np.interp(score, quantiles, np.linspace(0, 1, len(quantiles))))


def best_score(
    measures: Floats, means: Floats, deviations: Floats, spreads: Floats, count: int
) -> Floats:
    """Return the sum of z-scores of the best cut; shapes [..., K, 3], [K, 3], [K, 3], [K]."""
    scores = ((measures - means) / deviations).sum(axis=-1) / spreads
    looked_for = max(1, min(len(CUTS), count // _PER_SENSE - 1))
    return np.asarray(scores[..., :looked_for].max(axis=-1))


def cohesion_score(cohesion: float | Floats, usual: Floats) -> Floats:
    """Return the part of cohesion in a score; `usual` is the median and deviation, [2]."""
    return np.asarray(COHESION_SHARE * (cohesion - usual[0]) / usual[1])


def cohesion_of(tokens: Floats) -> float:
    """Return the mean cosine of different rows of vectors [n, D] of length 1; 1 where n is 1."""
    count = len(tokens)
    if count < 2:
        return 1.0
    total = tokens.sum(axis=0, dtype=np.float64)
    return float((total @ total - count) / (count * (count - 1)))


def measure_split(features: Floats) -> Floats:
    """Return the measures [K, 3] of features [n, F] of length 1, n at least 4.

    Where occurrences differ in fewer directions than a cut needs, its measures are the lowest.
    """
    centered = features - features.mean(axis=0)
    points = principal_points(features)
    spectrum = (points**2).sum(axis=0)
    graph = _neighbour_graph(centered) if points.shape[1] else np.zeros((0, 0), np.float32)
    found = np.tile(np.array(_LOWEST, np.float32), (len(CUTS), 1))
    for place, count in enumerate(CUTS):
        if points.shape[1] < count:
            break
        labels = kmeans(points, count).labels
        present = np.unique(labels)
        means = np.stack([features[labels == cluster].mean(axis=0) for cluster in present])
        products = (means @ means.T)[~np.eye(len(present), dtype=bool)]
        found[place] = (
            np.log(spectrum[count - 2] / max(spectrum[count - 1], 1e-12)),
            -products.mean() if len(products) else -1.0,
            _modularity(graph, labels),
        )
    return found


def _neighbour_graph(centered: Floats) -> Floats:
    """Return the weights [n, n] of the edges between each point and its n / 6 nearest."""
    count = len(centered)
    directions = normalize(centered.astype(np.float32))
    near = directions @ directions.T
    np.fill_diagonal(near, -np.inf)
    nearest = np.argsort(-near, axis=1, kind="stable")[:, : max(2, count // 6)]
    edges = np.zeros((count, count), np.float32)
    edges[np.arange(count)[:, None], nearest] = 1
    return np.asarray((edges + edges.T) / 2, np.float32)


def _modularity(edges: Floats, labels: NDArray[np.int64]) -> float:
    degrees = edges.sum(axis=1)
    total = float(degrees.sum())
    found = 0.0
    for cluster in np.unique(labels):
        mine = labels == cluster
        found += float(edges[np.ix_(mine, mine)].sum()) / total
        found -= (float(degrees[mine].sum()) / total) ** 2
    return found
