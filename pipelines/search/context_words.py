"""Compare the words around the query's word with those around each occurrence. No Beam.

Vectors know that `loan` and `mortgage` are alike; that two sentences share a rare word, words know
better. The score is the cosine of the sentences' TF-IDF vectors, each word counted once, without
the word itself:

    sum of idf(w)^2 over w in both / (|query| |line|)

where a line's length |line| is estimated from its number of tokens, as if its words were as rare as
the query's. So the index needs no vectors of words: the positions of each form, which it has, are
an inverted index. idf is that of BM25 (Robertson and Zaragoza 2009, eq. 3.3).
"""

import threading
from collections import OrderedDict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipelines.index.exact import Floats
from pipelines.index.form_table import FormRange
from pipelines.index.reader import OpenIndex, OpenShard

_KEPT_WORDS = 4096
_KEPT_BYTES = 64 << 20  # of the lines that words stand in


@dataclass(frozen=True, kw_only=True)
class ContextWeights:
    """What a query's context words are worth: casefolded word -> weight.

    A line's score is the sum of the weights of its words, over the root of its number of tokens.
    """

    weights: Mapping[str, float]

    @staticmethod
    def rocchio(
        like: Sequence["ContextWeights"], unlike: Sequence["ContextWeights"], negative: float
    ) -> "ContextWeights":
        """Return the mean of some contexts, less a share of the mean of others."""
        weights: dict[str, float] = {}
        for contexts, share in ((like, 1.0), (unlike, -negative)):
            for context in contexts:
                for word, weight in context.weights.items():
                    weights[word] = weights.get(word, 0.0) + share * weight / len(contexts)
        return ContextWeights(weights=weights)


class _Known(NamedTuple):
    ranges: tuple[FormRange, ...]
    idf: float


class ContextWords:
    """Scores occurrences by the words around them.

    Args:
      index: the open index.
    """

    def __init__(self, index: OpenIndex) -> None:
        self._index = index
        self._lines = sum(shard.shard.rows["sentences"] for shard in index.shards.values())
        self._known: OrderedDict[str, _Known] = OrderedDict()
        self._lines_of: OrderedDict[tuple[str, str], NDArray[np.int32]] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()

    def of(self, tokens: Sequence[str], own: Collection[str]) -> ContextWeights:
        """Weigh the words of a sentence.

        Those that the index does not have, such as stop words by default, weigh nothing.

        Args:
          tokens: of the sentence.
          own: casefolded spellings of the word itself.
        """
        words = sorted({self._index.folded(token) for token in tokens} - set(own))
        known = {word: self._look_up(word) for word in words}
        squares = {word: found.idf**2 for word, found in known.items() if found.ranges}
        total = sum(squares.values())
        root = float(np.sqrt(len(tokens)))
        return ContextWeights(
            weights={word: root * value / total for word, value in squares.items()}
        )

    def _look_up(self, word: str) -> _Known:
        """Return where a casefolded word stands, and its idf."""
        with self._lock:
            known = self._known.get(word)
            if known is None:
                ranges = tuple(self._index.forms.ranges(word))
                count = min(self._lines, sum(stretch.rows for stretch in ranges))
                idf = float(np.log1p((self._lines - count + 0.5) / (count + 0.5)))
                known = self._known[word] = _Known(ranges, idf)
                if len(self._known) > _KEPT_WORDS:
                    self._known.popitem(last=False)
            return known

    def scores(
        self, shard: OpenShard, positions: NDArray[np.int64], context: ContextWeights
    ) -> Floats:
        """Score occurrences at some positions of a shard, [n], about 0 to 1."""
        lines, inverse = _distinct(shard.keys["sentence"][positions])
        sums = np.zeros(len(lines), np.float64)
        if len(lines):
            for word, weight in context.weights.items():
                sums[self._having(word, shard, lines)] += weight
            sums /= np.sqrt(np.maximum(shard.lengths[lines], 1))
        return np.minimum(sums, 1).astype(np.float32)[inverse]

    def _having(self, word: str, shard: OpenShard, lines: NDArray[np.int32]) -> NDArray[np.int64]:
        """Return which of some lines, in ascending order, have a word: the fewer are looked up."""
        found = self._lines_with(word, shard)
        if len(found) > len(lines):
            places = np.searchsorted(found, lines)
            places[places == len(found)] = 0
            return np.flatnonzero(found[places] == lines)
        places = np.searchsorted(lines, found)
        places[places == len(lines)] = 0
        return np.asarray(places[lines[places] == found])

    def _lines_with(self, word: str, shard: OpenShard) -> NDArray[np.int32]:
        """Return the lines of a shard that have a word, in ascending order."""
        key = (word, shard.shard.shard)
        with self._lock:
            if key in self._lines_of:
                self._lines_of.move_to_end(key)
                return self._lines_of[key]
        found = np.unique(
            np.concatenate(
                [
                    np.zeros(0, np.int32),
                    *(
                        shard.keys["sentence"][stretch.first : stretch.first + stretch.rows]
                        for stretch in self._look_up(word).ranges
                        if stretch.shard == shard.shard.shard
                    ),
                ]
            )
        )
        with self._lock:
            if key not in self._lines_of:
                self._lines_of[key] = found
                self._bytes += found.nbytes
            while self._bytes > _KEPT_BYTES and len(self._lines_of) > 1:
                self._bytes -= self._lines_of.popitem(last=False)[1].nbytes
        return found

    def scores_of(self, sentences: Sequence[Sequence[str]], context: ContextWeights) -> Floats:
        """Score sentences given as tokens, [n]."""
        sums = [
            sum(context.weights.get(word, 0.0) for word in {self._index.folded(t) for t in tokens})
            / max(1, len(tokens)) ** 0.5
            for tokens in sentences
        ]
        return np.minimum(np.array(sums, np.float32), 1)


def _distinct(lines: NDArray[np.int32]) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """Return distinct lines, ascending, and for each line given its row among them."""
    steps = np.diff(lines)
    if (steps >= 0).all():  # as occurrences of one form are: nothing to sort
        new = np.concatenate([[True], steps > 0])[: len(lines)]
        return lines[new], np.cumsum(new) - 1
    return np.unique(lines, return_inverse=True)
