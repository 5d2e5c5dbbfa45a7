"""The words around an occurrence as one vector: a weighted mean of the vectors of their forms.

The vector of a form is the mean of its occurrences in the index, so that no model is needed, and a
language has no part in it.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from pipelines.index.centering import normalize
from pipelines.index.exact import Floats
from pipelines.index.reader import OpenIndex

_MOST = 64  # occurrences that a form's mean is taken of
_KEPT = 20_000


def weighted_bag(
    words: Sequence[str], vectors: Mapping[str, Floats], idf: Mapping[str, float]
) -> Floats | None:
    """Return the mean [D] of words' vectors by idf, of length 1; None if none is known."""
    known = [word for word in words if word in vectors]
    if not known:
        return None
    total = np.sum([idf[word] * vectors[word] for word in known], axis=0)
    return np.asarray(normalize(total[None].astype(np.float32))[0])


class FormVectors:
    """Vectors [D] of casefolded words, of length 1, read from an index and kept.

    Args:
      index: the open index.
    """

    def __init__(self, index: OpenIndex) -> None:
        self._index = index
        self._known: dict[str, Floats | None] = {}

    def of(self, words: Sequence[str]) -> dict[str, Floats]:
        """Return the vectors of those words that the index has."""
        found = {}
        for word in words:
            if word not in self._known:
                if len(self._known) >= _KEPT:
                    self._known.clear()
                self._known[word] = self._measure(word)
            vector = self._known[word]
            if vector is not None:
                found[word] = vector
        return found

    def _measure(self, word: str) -> Floats | None:
        ranges = self._index.forms.ranges(word)
        total = sum(stretch.rows for stretch in ranges)
        if not total:
            return None
        step = max(1, -(-total // _MOST))
        sums = np.zeros(self._index.manifest.dim)
        for stretch in ranges:
            where = np.arange(stretch.first, stretch.first + stretch.rows, step)
            sums += self._index.shards[stretch.shard].tokens.vectors(where).sum(axis=0)
        return np.asarray(normalize(sums[None].astype(np.float32))[0])
