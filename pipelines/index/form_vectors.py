"""A vector of each word: the mean of its occurrences in the index, so that no model is needed."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from pipelines.index.centering import normalize
from pipelines.index.exact import Floats
from pipelines.index.form_table import FormTable

_MOST = 64  # occurrences that a form's mean is taken of
KEPT_BYTES = 192 << 20
_UNKNOWN = np.zeros(0, np.float32)


class FormVectors:
    """Vectors [D] of casefolded words, of length 1, read from an index and kept.

    Args:
      forms: where the words stand.
      rows: returns token vectors [n, D] of a shard at some positions.
      dim: D.
      kept_bytes: of the vectors kept.
    """

    def __init__(
        self,
        forms: FormTable,
        rows: Callable[[str, NDArray[np.int64]], Floats],
        dim: int,
        kept_bytes: int = KEPT_BYTES,
    ) -> None:
        self._forms, self._rows, self._dim = forms, rows, dim
        self._kept = max(1, kept_bytes // (4 * dim))
        self._known: OrderedDict[str, Floats | None] = OrderedDict()
        self._lock = threading.Lock()

    def of(self, words: Sequence[str]) -> dict[str, Floats]:
        """Return the vectors of those words that the index has."""
        found = {}
        for word in words:
            vector = self._known.get(word, _UNKNOWN)
            if vector is _UNKNOWN:
                vector = self._measure(word)
            if vector is not None:
                found[word] = vector
        return found

    def _measure(self, word: str) -> Floats | None:
        vector = self._mean(word)
        with self._lock:
            self._known[word] = vector
            if len(self._known) > self._kept:
                self._known.popitem(last=False)
        return vector

    def _mean(self, word: str) -> Floats | None:
        ranges = self._forms.ranges(word)
        total = sum(stretch.rows for stretch in ranges)
        if not total:
            return None
        step = max(1, -(-total // _MOST))
        sums = np.zeros(self._dim)
        for stretch in ranges:
            where = np.arange(stretch.first, stretch.first + stretch.rows, step)
            sums += self._rows(stretch.shard, where).sum(axis=0)
        return np.asarray(normalize(sums[None].astype(np.float32))[0])
