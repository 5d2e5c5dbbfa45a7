"""How near induced senses are to gold ones: B-cubed, and the fuzzy measures of SemEval-2013.

A clustering of n occurrences is an array of memberships [n, K] between 0 and 1; a hard one has a
single 1 in each row. Pure functions of arrays.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Labels = npt.NDArray[np.int64]

_LEVELS = 10  # of weights that the entropies tell apart


def memberships(rows: Sequence[Mapping[str, float]]) -> Floats:
    """Return the memberships [n, K] of rows of senses with weights; senses in sorted order."""
    names = sorted({name for row in rows for name in row})
    found = np.zeros((len(rows), len(names)))
    for place, row in enumerate(rows):
        for name, weight in row.items():
            found[place, names.index(name)] = weight
    return found


def bcubed_f(gold: Labels, induced: Labels) -> float:
    """Return B-cubed F of hard labels [n] (Bagga, Baldwin 1998): of the means of both sides.

    Precision of an occurrence is the share of its induced cluster that has its gold sense, recall
    the share of its gold sense that is in its induced cluster.
    """
    table = np.zeros((int(gold.max()) + 1, int(induced.max()) + 1))
    np.add.at(table, (gold, induced), 1)
    squares = table**2
    precision = (squares.sum(axis=0) / np.maximum(table.sum(axis=0), 1)).sum() / len(gold)
    recall = (squares.sum(axis=1) / np.maximum(table.sum(axis=1), 1)).sum() / len(gold)
    return float(2 * precision * recall / (precision + recall))


def fuzzy_bcubed(gold: Floats, induced: Floats) -> float:
    """Return fuzzy B-cubed F (Jurgens, Klapaftis 2013, section 4.2).

    C(i, j) is the sum over the clusters that i and j share of 1 - |w(i) - w(j)|; precision is the
    mean over i, and over the j that share an induced cluster with i, of min(C gold, C induced) /
    C induced, and recall the reverse.
    """
    of_gold, of_induced = _shared(gold), _shared(induced)
    least = np.minimum(of_gold, of_induced)
    precision, recall = (_mean_of_rows(least, c) for c in (of_induced, of_gold))
    return 0.0 if precision + recall == 0 else 2 * precision * recall / (precision + recall)


def _shared(weights: Floats) -> Floats:
    both = (weights[:, None] > 0) & (weights[None] > 0)
    return np.asarray((both * (1 - np.abs(weights[:, None] - weights[None]))).sum(axis=2))


def _mean_of_rows(least: Floats, whole: Floats) -> float:
    """Return the mean over rows of the mean of least / whole where whole is above 0."""
    present = whole > 0
    shares = np.divide(least, whole, out=np.zeros_like(least), where=present)
    return float((shares.sum(axis=1) / np.maximum(present.sum(axis=1), 1)).mean())


def fuzzy_nmi(gold: Floats, induced: Floats) -> float:
    """Return normalised mutual information of overlapping clusters, between 0 and 1.

    As Lancichinetti, Fortunato, Kertesz (2009) define conditional entropies of covers, a cluster
    being a random variable of its members' weights (in tenths), and divided by the larger entropy
    (McDaid, Greene, Hurley 2011); so SemEval-2013 has it.
    """
    x, y = (np.rint(weights * _LEVELS).astype(np.int64) for weights in (gold, induced))
    h_x = sum(_entropy(x[:, k]) for k in range(x.shape[1]))
    h_y = sum(_entropy(y[:, k]) for k in range(y.shape[1]))
    if max(h_x, h_y) <= 0:
        return 0.0
    shared = 0.5 * (h_x - _conditional(x, y) + h_y - _conditional(y, x))
    return float(max(0.0, shared) / max(h_x, h_y))


def _entropy(values: Labels) -> float:
    shares = np.unique(values, return_counts=True)[1] / len(values)
    return float(-(shares * np.log2(shares)).sum())


def _conditional(x: Labels, y: Labels) -> float:
    """Return the sum over clusters of x of the least entropy that is left where one of y is known.

    A cluster of y counts only if it agrees with that of x more than with its complement.
    """
    total = 0.0
    for k in range(x.shape[1]):
        own = _entropy(x[:, k])
        left = own
        for other in range(y.shape[1]):
            if _complementary(x[:, k], y[:, other]):
                continue
            joint = _entropy(x[:, k] * (_LEVELS + 1) + y[:, other])
            left = min(left, joint - _entropy(y[:, other]))
        total += left
    return total


def _complementary(a: Labels, b: Labels) -> bool:
    """Whether equal presence tells less than unequal: h(0,0) + h(1,1) < h(0,1) + h(1,0)."""
    p, q = a > 0, b > 0

    def h(cell: npt.NDArray[np.bool_]) -> float:
        share = float(cell.mean())
        return -share * float(np.log2(share)) if share else 0.0

    return h(p & q) + h(~p & ~q) < h(p & ~q) + h(~p & q)


def bootstrap_interval(
    values: Floats, *, draws: int = 10_000, seed: int = 0
) -> tuple[float, float]:
    """Return the 95 % interval of the mean of values [n], drawn again with replacement."""
    rng = np.random.default_rng(seed)
    means = [values[rng.integers(len(values), size=len(values))].mean() for _ in range(draws)]
    low, high = np.quantile(means, [0.025, 0.975])
    return float(low), float(high)
