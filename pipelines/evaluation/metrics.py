"""Scores of vectors against gold labels: pure functions of arrays, without torch.

Ranking scores are tie-aware: items of equal similarity count with the mean over all their orders
(McSherry and Najork 2008, "Computing information retrieval performance measures efficiently in
the presence of tied scores"). A static encoder gives every occurrence of a form the same vector;
only so does it score exactly chance and not the luck of the input order.
"""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from threadpoolctl import threadpool_limits

Vectors = npt.NDArray[np.float32]
Floats = npt.NDArray[np.float64]
Labels = npt.NDArray[Any]
Places = npt.NDArray[np.int64]

# Cosines closer than this are a tie: above float32's rounding of a 1024-term sum, far below any
# difference that means something.
SIMILARITY_STEP = 1e-6


def unit_rows(vectors: Vectors) -> Vectors:
    """Scale each row of [n, D] to length one; a zero row stays zero."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.where(lengths > 0, lengths, 1), dtype=np.float32)


def paired_cosines(left: Vectors, right: Vectors) -> Floats:
    """Cosine of row i of `left` [n, D] with row i of `right` [n, D]; 0 where a row is zero."""
    return np.einsum("nd,nd->n", unit_rows(left), unit_rows(right), dtype=np.float64)


# --- classification -------------------------------------------------------------------------------


def nearest_centroids(
    train_vectors: Vectors, train_labels: Labels, test_vectors: Vectors
) -> Labels:
    """Label each test row with the label of the centroid of highest cosine.

    A centroid is the mean of its label's training rows, of which there must be at least one per
    label. Among tied centroids the label most frequent in training wins, so that vectors that
    tell nothing apart give the most-frequent-sense baseline.

    Args:
      train_vectors: [n, D] float32.
      train_labels: [n].
      test_vectors: [m, D] float32.

    Returns:
      [m], of train_labels' dtype.
    """
    labels, inverse, counts = np.unique(train_labels, return_inverse=True, return_counts=True)
    member = (np.arange(len(labels))[:, None] == inverse).astype(np.float64)  # [labels, n]
    sums = member @ train_vectors.astype(np.float64)
    centroids = unit_rows((sums / counts[:, None]).astype(np.float32))
    similarity = unit_rows(test_vectors) @ centroids.T  # [m, labels]
    by_frequency = np.argsort(-counts, kind="stable")
    # argmax takes the first of equals, here the most frequent.
    best = np.argmax(np.round(similarity / SIMILARITY_STEP)[:, by_frequency], axis=1)
    return np.asarray(labels[by_frequency[best]])


def accuracy(gold: Labels, predicted: Labels) -> float:
    """Share of rows where the two agree."""
    return float(np.mean(np.asarray(gold) == np.asarray(predicted)))


def macro_f1(gold: Labels, predicted: Labels) -> float:
    """Mean of the labels' F1, over the labels found in `gold` or in `predicted`.

    F1 of a label is 2 tp / (2 tp + fp + fn).
    """
    scores = []
    for label in np.union1d(gold, predicted):
        in_gold, in_predicted = gold == label, predicted == label
        scores.append(2 * np.sum(in_gold & in_predicted) / (in_gold.sum() + in_predicted.sum()))
    return float(np.mean(scores))


def best_threshold(scores: Floats, labels: Labels) -> float:
    """Return the threshold t for which `scores >= t` agrees with the boolean `labels` most often.

    Thresholds tried are the midpoints between neighbouring distinct scores and the two ends; of
    equally good ones the lowest is taken.
    """
    order = np.argsort(scores, kind="stable")
    ordered, positive = np.asarray(scores)[order], np.asarray(labels, dtype=bool)[order]
    # With the cut before position i: correct = negatives before i + positives from i on.
    negatives_before = np.concatenate([[0], np.cumsum(~positive)])
    positives_after = positive.sum() - np.concatenate([[0], np.cumsum(positive)])
    correct = negatives_before + positives_after
    allowed = np.concatenate([[True], ordered[1:] != ordered[:-1], [True]])
    cut = int(np.argmax(np.where(allowed, correct, -1)))
    if cut == 0:
        return float("-inf")
    if cut == len(ordered):
        return float("inf")
    return float((ordered[cut - 1] + ordered[cut]) / 2)


# --- correlation ----------------------------------------------------------------------------------


def mean_ranks(values: Sequence[float] | Floats) -> Floats:
    """Ranks from 1; equal values share the mean of their ranks."""
    _, inverse, counts = np.unique(np.asarray(values), return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return np.asarray((last - (counts - 1) / 2)[inverse], dtype=np.float64)


def spearman(left: Sequence[float] | Floats, right: Sequence[float] | Floats) -> float:
    """Spearman's rank correlation, ties at their mean rank; 0 if one side is constant.

    Zero is what a model earns that gives all pairs the same similarity.
    """
    x, y = mean_ranks(left), mean_ranks(right)
    x, y = x - x.mean(), y - y.mean()
    scale = np.sqrt((x @ x) * (y @ y))
    return float(x @ y / scale) if scale else 0.0


def area_under_curve(scores: Sequence[float] | Floats, labels: Labels) -> float:
    """Chance that a positive scores above a negative, a tie counting half (ROC AUC).

    Mann and Whitney's U over the number of such pairs; 0.5 if one of the two kinds is missing.
    """
    positive = np.asarray(labels, dtype=bool)
    pairs = int(positive.sum()) * int((~positive).sum())
    if not pairs:
        return 0.5
    above = mean_ranks(scores)[positive].sum() - positive.sum() * (positive.sum() + 1) / 2
    return float(above / pairs)


# --- ranking --------------------------------------------------------------------------------------


def expected_precisions(keys: npt.NDArray[np.integer[Any]], k: int) -> tuple[Floats, Floats]:
    """Precision@k and average precision of rankings with ties, by their expected values.

    Args:
      keys: [n, m] integers, each row sorted in descending order; `2 * rank_value + relevant`, where
        items of equal rank_value are tied and the lowest bit says whether the item is relevant.
      k: how many items are looked at; at least 1. Precision divides by min(k, m).

    Returns:
      precision_at_k [n] and average_precision [n] float64. A tied group of size s at ranks
      r+1..r+s with g relevant items, after R relevant items, adds g/s times the sum over j = 1..s
      of (R + 1 + (j-1)(g-1)/(s-1)) / (r+j) to the sum that average precision divides by the
      number of relevant items; a row without any has average precision 0.
    """
    n, m = keys.shape
    depth = min(k, m)
    # As the rows stand, tied items come with the relevant ones first. That is exact but for the
    # groups that hold both kinds, of which there are few; those are put right after.
    relevant = (keys & 1).astype(np.int32)
    found = np.cumsum(relevant, axis=1, dtype=np.int32)
    hits = found[:, depth - 1].astype(np.float64) if depth else np.zeros(n)
    summed = (found * relevant / np.arange(1, m + 1)).sum(axis=1)
    totals = found[:, -1] if m else np.zeros(n)
    rows, last_relevant = _mixed_ties(keys)
    if len(rows):
        group = _group_bounds(keys, rows, last_relevant)
        relevant_in = last_relevant + 1 - group[0]
        before = found[rows, last_relevant] - relevant_in
        gained, hit = _spread_ties(*group, relevant_in, before, depth)
        summed += np.bincount(rows, weights=gained, minlength=n)
        hits += np.bincount(rows, weights=hit, minlength=n)
    return hits / max(depth, 1), summed / np.maximum(totals, 1)


def _mixed_ties(keys: npt.NDArray[np.integer[Any]]) -> tuple[Places, Places]:
    """Row and column of the last relevant item of each tied group that holds both kinds."""
    boundary = (keys[:, :-1] ^ keys[:, 1:]) == 1  # 2v + 1 beside 2v
    rows, columns = np.divmod(np.flatnonzero(boundary), max(boundary.shape[1], 1))
    return rows, columns


def _group_bounds(
    keys: npt.NDArray[np.integer[Any]], rows: Places, columns: Places
) -> tuple[Places, Places]:
    """First column, and the one after the last, of the tied group that holds each item."""
    value = keys[rows, columns] | 1
    return _first_at_most(keys, rows, value), _first_at_most(keys, rows, value - 2)


def _first_at_most(
    keys: npt.NDArray[np.integer[Any]], rows: Places, values: npt.NDArray[np.integer[Any]]
) -> Places:
    """Bisect each of the given rows, sorted in descending order, for a value of its own."""
    low = np.zeros(len(rows), dtype=np.int64)
    high = np.full(len(rows), keys.shape[1], dtype=np.int64)
    while (low < high).any():
        middle = (low + high) // 2
        above = (low < high) & (keys[rows, np.minimum(middle, keys.shape[1] - 1)] > values)
        low = np.where(above, middle + 1, low)
        high = np.where(above, high, middle)
    return low


def _spread_ties(
    start: Places, end: Places, relevant: Places, before: Places, depth: int
) -> tuple[Floats, Floats]:
    """What tied groups add to the summed precisions and to the hits, less what they add in order.

    In order, their `relevant` items come first; expected_precisions gives the sum over all orders.
    """
    size = end - start
    harmonic = np.concatenate([[0.0], np.cumsum(1.0 / np.arange(1, end.max() + 1))])
    share: Floats = relevant / size
    inverse_ranks = harmonic[end] - harmonic[start]
    slope = (relevant - 1) / np.maximum(size - 1, 1)
    spread: Floats = share * (
        (before + 1) * inverse_ranks + slope * (size - (start + 1) * inverse_ranks)
    )
    in_order = relevant + (before - start) * (harmonic[start + relevant] - harmonic[start])
    seen = np.clip(depth - start, 0, size)
    hit: Floats = share * seen - np.minimum(seen, relevant)
    return spread - in_order, hit


@dataclass(frozen=True, kw_only=True)
class SameSense:
    """How high each occurrence of a word ranks the others of its own sense.

    Attributes:
      senses: [n] the sense of each occurrence that has at least one other of its sense.
      precision_at_k: [n] share of same-sense occurrences among its k nearest by cosine.
      average_precision: [n] average precision over the whole ranking of the other occurrences.
      chance_precision: [n] what a random ranking gives: (same sense - 1) / (all - 1).
      chance_average_precision: [n] expected average precision of a random ranking.
    """

    senses: Labels
    precision_at_k: Floats
    average_precision: Floats
    chance_precision: Floats
    chance_average_precision: Floats


def same_sense_neighbours(
    vectors: Vectors, senses: Labels, k: int = 10, block_pairs: int = 200_000
) -> SameSense:
    """Rank, for each occurrence of one word, all its other occurrences by cosine.

    Occurrences that are alone in their sense cannot find another and are not asked; they stay in
    the others' pool.

    Args:
      vectors: [n, D] float32, one row per occurrence of the word.
      senses: [n] labels.
      k: neighbours looked at.
      block_pairs: similarities that a core sorts at once; as many as stay in its cache are the
        fastest.
    """
    units = unit_rows(vectors)
    _, codes, counts = np.unique(senses, return_inverse=True, return_counts=True)
    asked = np.flatnonzero(counts[codes] > 1)
    chance = (counts[codes][asked] - 1) / max(len(senses) - 1, 1)
    chance_mean = _chance_average_precision(counts[codes][asked] - 1, len(senses))
    if (units == units[:1]).all():  # static vectors of one form: all are tied
        precision, mean_precision = chance, chance_mean
    else:
        precision, mean_precision = _score_blocks(units, codes, asked, k, block_pairs)
    return SameSense(
        senses=np.asarray(senses)[asked],
        precision_at_k=precision,
        average_precision=mean_precision,
        chance_precision=chance,
        chance_average_precision=chance_mean,
    )


def _score_blocks(
    units: Vectors, codes: Places, asked: Places, k: int, block_pairs: int
) -> tuple[Floats, Floats]:
    """expected_precisions of the asked rows' rankings of all other rows, a block a core."""
    block_rows = max(1, block_pairs // len(units))
    blocks = [asked[low : low + block_rows] for low in range(0, len(asked), block_rows)]
    # NumPy works without Python's lock, and BLAS's own threads would be too many.
    with threadpool_limits(1, "blas"), ThreadPoolExecutor(os.cpu_count()) as pool:
        scored = list(pool.map(lambda rows: _score_block(units, codes, rows, k), blocks))
    empty = np.zeros(0)
    return (
        np.concatenate([empty, *(precision for precision, _ in scored)]),
        np.concatenate([empty, *(mean_precision for _, mean_precision in scored)]),
    )


def _score_block(units: Vectors, codes: Places, rows: Places, k: int) -> tuple[Floats, Floats]:
    similarity = units[rows] @ units.T
    similarity /= SIMILARITY_STEP
    # The sort is the cost: one integer per pair, its lowest bit the relevance.
    keys = np.rint(similarity, out=similarity).astype(np.int32)
    keys *= 2
    keys += codes[rows][:, None] == codes
    keys[np.arange(len(rows)), rows] = np.iinfo(np.int32).min  # never its own neighbour
    keys.sort(axis=1)
    return expected_precisions(np.ascontiguousarray(keys[:, :0:-1]), k)


def _chance_average_precision(others: npt.NDArray[np.int64], occurrences: int) -> Floats:
    """Expected average precision when all `occurrences - 1` others are tied, `others` relevant."""
    if not len(others):
        return np.zeros(0)
    distinct, inverse = np.unique(others, return_inverse=True)
    pool = np.arange(occurrences - 1)
    keys = (pool[None, ::-1] >= occurrences - 1 - distinct[:, None]).astype(np.int64)
    return np.asarray(expected_precisions(keys, 1)[1][inverse])


def mean_over_senses(values: Floats, senses: Labels) -> float:
    """Mean over senses of the mean over each sense's rows: every sense weighs the same."""
    _, codes = np.unique(senses, return_inverse=True)
    return float(np.mean(np.bincount(codes, weights=values) / np.bincount(codes)))


# --- retrieval ------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Retrieval:
    """Scores of one query's ranking: average precision, nDCG and recall at their depths."""

    average_precision: float
    ndcg: float
    recall: float


def score_ranking(
    ranked_gains: Floats, *, ndcg_depth: int = 10, recall_depth: int = 100
) -> Retrieval:
    """Score one ranking of the whole collection.

    nDCG as in Järvelin and Kekäläinen (2002) with linear gain: the sum of gain / log2(rank + 1)
    over the first `ndcg_depth` ranks, divided by that of the best possible ranking.

    Args:
      ranked_gains: [documents] gain of the document at each rank; 0 = not relevant.
      ndcg_depth: ranks that nDCG looks at.
      recall_depth: ranks that recall looks at.

    Raises:
      ValueError: if no document is relevant.
    """
    gains = np.asarray(ranked_gains, dtype=np.float64)
    relevant = gains > 0
    total = int(relevant.sum())
    if not total:
        raise ValueError("a query without relevant documents has no score; leave it out")
    ranks = np.flatnonzero(relevant) + 1
    discounts = 1 / np.log2(np.arange(2, len(gains) + 2))
    depth = min(ndcg_depth, len(gains))
    ideal = np.sort(gains)[::-1]
    return Retrieval(
        average_precision=float(np.mean(np.arange(1, total + 1) / ranks)),
        ndcg=float(gains[:depth] @ discounts[:depth] / (ideal[:depth] @ discounts[:depth])),
        recall=float(relevant[:recall_depth].sum() / total),
    )
