"""Scores of a word's occurrences, as the settings of the index combine them."""

import threading
from collections import OrderedDict
from dataclasses import dataclass, field

import numpy as np
import pyarrow.compute as pc
from numpy.typing import NDArray

from pipelines.index.centering import normalize, shrunk_mean
from pipelines.index.exact import Floats
from pipelines.index.form_table import FormRange
from pipelines.index.reader import OpenIndex, OpenShard
from pipelines.search.context_words import ContextWeights, ContextWords
from pipelines.search.occurrences import Positions, Scanned, WordForms

_MEAN_ROWS = 4096
_KEPT_MEANS = 1024
# Rows that are scored together: their vectors, 0.8 MB, stay in a core's cache.
_BLOCK_ROWS = 512


@dataclass(frozen=True, kw_only=True, eq=False)
class Target:
    """What is looked for: vectors of the query, centred, of length 1, and the words around it."""

    table: str
    vector: Floats
    sentence_vector: Floats | None
    context: ContextWeights | None = None
    excluded: frozenset[int] = field(default_factory=frozenset)


class Scorer:
    """Scores occurrences: cosine with the query, perhaps around the word's mean, and perhaps
    together with the cosine of the sentences and the words around.
    """

    def __init__(self, index: OpenIndex, context_words: ContextWords) -> None:
        self._index = index
        self._context_words = context_words
        self._means: OrderedDict[tuple[FormRange, ...], Floats] = OrderedDict()
        self._lock = threading.Lock()

    def weighs_sentences(self, target: Target) -> bool:
        """Say whether sentences have a part in the score."""
        weight = self._index.manifest.settings["sentence_weight"]
        return bool(weight) and target.sentence_vector is not None

    @property
    def context_weight(self) -> float:
        """The words' share of the score; an index from before they had one has none."""
        return float(self._index.manifest.settings.get("context_weight", 0))

    def word_mean(self, forms: WordForms) -> Floats | None:
        """Return what a word's vectors share [D], if the index compares around it.

        Their mean, drawn towards zero where there are few: the mean of one occurrence would leave
        nothing of it.
        """
        if not self._index.manifest.settings["word_center"] or not forms.indexed:
            return None
        with self._lock:
            mean = self._means.get(forms.ranges)
            if mean is None:
                mean = self._means[forms.ranges] = self._measure_mean(forms)
                if len(self._means) > _KEPT_MEANS:
                    self._means.popitem(last=False)
            return mean

    def _measure_mean(self, forms: WordForms) -> Floats:
        sums = np.zeros(self._index.manifest.dim)
        count = 0
        step = max(1, forms.indexed // _MEAN_ROWS)
        # Deleted ones count too: after `compact` all that the index has may be, and scores stay.
        for stretch in forms.ranges:
            shard = self._index.shards[stretch.shard]
            where = np.arange(stretch.first, stretch.first + stretch.rows, step)
            vectors = shard.tokens.vectors(where)
            sums += vectors.sum(axis=0)
            count += len(vectors)
        return shrunk_mean(sums, count)

    def best(
        self,
        shard: OpenShard,
        where: Positions,
        target: Target,
        mean: Floats | None,
        wanted: int,
    ) -> tuple[Floats, NDArray[np.int64]]:
        """Return the best scores and positions of some places, best first."""
        if self._by_vectors_alone(target, mean):
            scores, found = shard.tokens.search(target.vector[None], wanted, where)
            return scores[0], found[0]
        scores = self.scores(shard, where, target, mean)
        rows = best_rows(scores, wanted)
        positions = rows + where.start if isinstance(where, slice) else where[rows]
        return scores[rows], positions

    def scores(
        self, shard: OpenShard, where: Positions, target: Target, mean: Floats | None
    ) -> Floats:
        """Return the scores of some places, in their order [n]."""
        positions = np.arange(where.start, where.stop) if isinstance(where, slice) else where
        if self._by_vectors_alone(target, mean):
            best, found = shard.tokens.search(target.vector[None], len(positions), where)
            return np.asarray(best[0][np.argsort(found[0], kind="stable")])
        weighted = self.weighs_sentences(target)
        scores = np.empty(len(positions), np.float32)
        for first in range(0, len(positions), _BLOCK_ROWS):
            rows = slice(first, first + _BLOCK_ROWS)
            block = positions[rows]
            # A stretch of rows is read where it is; others are copied together first.
            stretch = slice(int(block[0]), int(block[-1]) + 1)
            sentences = shard.keys["sentence"][block].astype(np.int64) if weighted else None
            scores[rows] = self.combined(
                shard.tokens.vectors(stretch if isinstance(where, slice) else block),
                None if sentences is None else shard.sentences.vectors(sentences),
                target,
                mean,
            )
        context = self._words_of(target)
        if context is None:
            return scores
        return self._with_context(scores, self._context_words.scores(shard, positions, context))

    def _by_vectors_alone(self, target: Target, mean: Floats | None) -> bool:
        """Say whether FAISS's own search of the vectors has the scores."""
        if mean is not None or self.weighs_sentences(target):
            return False
        return self._words_of(target) is None

    def _words_of(self, target: Target) -> ContextWeights | None:
        """The words that have a part in the score; a query of one word has none."""
        context = target.context
        return context if self.context_weight and context and context.weights else None

    def _with_context(self, scores: Floats, words: Floats) -> Floats:
        weight = self.context_weight
        return ((1 - weight) * scores + weight * words).astype(np.float32)

    def scanned(self, scanned: Scanned, target: Target, mean: Floats | None) -> Floats:
        """Score occurrences of a segment that the index does not cover; returns [n]."""
        weighted = self.weighs_sentences(target)
        context = self._words_of(target)
        sentences, tokens = self.sentences_of(scanned) if weighted or context else (None, [])
        scores = self.combined(scanned.vectors, sentences if weighted else None, target, mean)
        if context is None:
            return scores
        return self._with_context(scores, self._context_words.scores_of(tokens, context))

    def combined(
        self, tokens: Floats, sentences: Floats | None, target: Target, mean: Floats | None
    ) -> Floats:
        """Score tokens [n, D] by vectors, as the index's settings say; returns [n]."""
        if mean is None:
            scores = _dots(tokens, target.vector)
        else:
            # |u - m|^2 = u.u - 2 u.m + m.m: no copy of the vectors around their mean.
            query = normalize((target.vector - mean)[None])[0]
            squares = np.einsum("nd,nd->n", tokens, tokens) - 2 * _dots(tokens, mean) + mean @ mean
            lengths = np.sqrt(np.maximum(squares, 1e-12))
            scores = (_dots(tokens, query) - mean @ query) / lengths
        if sentences is not None and target.sentence_vector is not None:
            weight = self._index.manifest.settings["sentence_weight"]
            scores = (1 - weight) * scores + weight * _dots(sentences, target.sentence_vector)
        return scores.astype(np.float32)

    def sentences_of(self, scanned: Scanned) -> tuple[Floats, list[list[str]]]:
        """Return of each scanned token's sentence the centred vector [n, D] and the tokens."""
        columns = ["doc_id", "sentence_index", "vector", "tokens"]
        found: dict[tuple[str, int], tuple[Floats, list[str]]] = {}
        wanted = scanned.rows.column("doc_id").unique()
        for batch in self._index.corpus.read("sentences", columns, [scanned.segment_id]):
            batch = batch.filter(pc.is_in(batch.column("doc_id"), wanted))
            vectors = batch.column("vector").flatten().to_numpy(zero_copy_only=False)
            vectors = vectors.reshape(batch.num_rows, -1)
            keys = zip(
                batch.column("doc_id").to_pylist(),
                batch.column("sentence_index").to_pylist(),
                strict=True,
            )
            centered = self._index.centering["sentences"].apply(vectors)
            values = zip(centered, batch.column("tokens").to_pylist(), strict=True)
            found |= dict(zip(keys, values, strict=True))
        keys = zip(
            scanned.rows.column("doc_id").to_pylist(),
            scanned.rows.column("sentence_index").to_pylist(),
            strict=True,
        )
        chosen = [found[key] for key in keys]
        return np.stack([vector for vector, _ in chosen]), [tokens for _, tokens in chosen]


def _dots(vectors: Floats, query: Floats) -> Floats:
    """Return the products of rows [n, D] with a query [D]; in one thread, whose waking takes longer
    than so few products where the machine is busy.
    """
    return np.einsum("nd,d->n", vectors, query)


def best_rows(scores: Floats, wanted: int) -> NDArray[np.int64]:
    """Return the rows of the best scores, best first, of equal ones the first."""
    rows = np.arange(len(scores))
    if wanted < len(scores) // 2:  # most need no place in the order
        rows = np.flatnonzero(scores >= np.partition(scores, -wanted)[-wanted])
    return np.asarray(rows[np.argsort(-scores[rows], kind="stable")[:wanted]])
