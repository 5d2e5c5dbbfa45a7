"""Compute the scores of one evaluation set from its vectors."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipelines.evaluation import metrics
from pipelines.evaluation.sets import UsagePairs
from pipelines.index.centering import fit_centering

Vectors = npt.NDArray[np.float32]
Measured = dict[str, float]

NEIGHBOURS = 10


@dataclass(frozen=True, kw_only=True)
class WordScores:
    """Scores of one word.

    Attributes:
      means: each metric for this word; no accuracy if none of its occurrences is held out.
      same_sense: the rankings, one per occurrence, which the micro means are taken from.
    """

    means: Measured
    same_sense: metrics.SameSense


def score_word(
    vectors: Vectors, senses: metrics.Labels, held_out: npt.NDArray[np.bool_]
) -> WordScores:
    """Score the occurrences of one word: [n, D], [n] senses, [n] bool. See evaluation.py."""
    means: Measured = {}
    if held_out.any() and not held_out.all():
        gold, kept = senses[held_out], senses[~held_out]
        predicted = metrics.nearest_centroids(vectors[~held_out], kept, vectors[held_out])
        blind = metrics.nearest_centroids(
            np.ones((len(kept), 1), np.float32), kept, np.ones((len(gold), 1), np.float32)
        )
        means["accuracy"] = metrics.accuracy(gold, predicted)
        means["macro_f1"] = metrics.macro_f1(gold, predicted)
        means["majority_accuracy"] = metrics.accuracy(gold, blind)
        means["majority_macro_f1"] = metrics.macro_f1(gold, blind)
    ranked = metrics.same_sense_neighbours(vectors, senses, NEIGHBOURS)
    for metric, values in _rankings(ranked).items():
        means[metric] = metrics.mean_over_senses(values, ranked.senses)
    return WordScores(means=means, same_sense=ranked)


def mean_over_words(words: Sequence[WordScores]) -> Measured:
    """Mean of each metric over the words that have it, and the micro means."""
    names = dict.fromkeys(metric for word in words for metric in word.means)
    means = {
        name: float(np.mean([word.means[name] for word in words if name in word.means]))
        for name in names
    }
    rankings = [_rankings(word.same_sense) for word in words]
    for name in rankings[0] if rankings else ():
        pooled = np.concatenate([each[name] for each in rankings])
        means[f"{name}_micro"] = float(pooled.mean())
    return means


def _rankings(ranked: metrics.SameSense) -> dict[str, metrics.Floats]:
    return {
        f"precision_at_{NEIGHBOURS}": ranked.precision_at_k,
        "map": ranked.average_precision,
        f"chance_precision_at_{NEIGHBOURS}": ranked.chance_precision,
        "chance_map": ranked.chance_average_precision,
    }


def score_usages(cosines: metrics.Floats, pairs: UsagePairs) -> Measured:
    """Score cosines of pairs.pairs followed by those of pairs.train."""
    scored, trained = cosines[: len(pairs.pairs)], cosines[len(pairs.pairs) :]
    gold = np.array([pair.gold for pair in pairs.pairs])
    if pairs.graded:
        return {"spearman": metrics.spearman(scored, gold)}
    same = gold == 1
    if pairs.train:
        threshold = metrics.best_threshold(trained, np.array([p.gold == 1 for p in pairs.train]))
        found = metrics.accuracy(same, scored >= threshold)
    else:
        found = _accuracy_by_halves(scored, same, [pair.id for pair in pairs.pairs])
    return {"accuracy": found, "majority_accuracy": max(float(same.mean()), float(1 - same.mean()))}


def score_similarities(cosines: metrics.Floats, gold: Sequence[float]) -> Measured:
    """Score cosines of sentence pairs; where gold says only yes or no, as a classifier too."""
    found = {"spearman": metrics.spearman(cosines, gold)}
    labels = np.asarray(gold)
    if np.isin(labels, (0, 1)).all():
        names = [str(number) for number in range(len(gold))]
        found["auc"] = metrics.area_under_curve(cosines, labels == 1)
        found["accuracy"] = _accuracy_by_halves(cosines, labels == 1, names)
    return found


def _accuracy_by_halves(
    scores: metrics.Floats, same: npt.NDArray[np.bool_], names: Sequence[str]
) -> float:
    """Accuracy at a threshold tuned on one half for the other and the reverse; names decide."""
    half = np.array([hashlib.sha256(name.encode()).digest()[0] < 128 for name in names])
    predicted = np.empty(len(same), dtype=bool)
    for part in (half, ~half):
        predicted[part] = scores[part] >= metrics.best_threshold(scores[~part], same[~part])
    return metrics.accuracy(same, predicted)


def score_retrieval(similarity: Vectors, gains: Sequence[dict[int, float]]) -> Measured:
    """Score rankings of documents by similarity [queries, documents]; ties in document order."""
    found = []
    for row, judged in zip(similarity, gains, strict=True):
        of_document = np.zeros(similarity.shape[1])
        of_document[list(judged)] = list(judged.values())
        found.append(metrics.score_ranking(of_document[np.argsort(-row, kind="stable")]))
    return {
        "map": float(np.mean([each.average_precision for each in found])),
        "ndcg_at_10": float(np.mean([each.ndcg for each in found])),
        "recall_at_100": float(np.mean([each.recall for each in found])),
    }


def words_with_senses(
    words: metrics.Labels, senses: metrics.Labels
) -> dict[str, npt.NDArray[np.int64]]:
    """Rows of each word that has at least two senses with at least two occurrences each."""
    found = {}
    for word in dict.fromkeys(words.tolist()):
        rows = np.flatnonzero(words == word)
        _, counts = np.unique(senses[rows], return_counts=True)
        if np.sum(counts > 1) > 1:
            found[str(word)] = rows
    return found


def around_own_mean(vectors: Vectors) -> Vectors:
    """Take the rows' own mean out and scale them to length one."""
    return fit_centering(vectors, center=True, remove_components=0).apply(vectors)


def segment_means(vectors: Vectors, lengths: npt.NDArray[np.int64]) -> Vectors:
    """Mean of each run of rows, [n, D] -> [texts, D]; zero for an empty run."""
    result = np.zeros((len(lengths), vectors.shape[1]), dtype=np.float32)
    filled = lengths > 0
    starts = (np.cumsum(lengths) - lengths)[filled]
    result[filled] = np.add.reduceat(vectors, starts, axis=0) / lengths[filled][:, None]
    return result
