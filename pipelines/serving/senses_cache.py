"""A cache of the senses of words that were searched lately."""

import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from pipelines.senses.service import word_senses
from pipelines.senses.store import WordSenses

# Occurrences whose ids and senses are kept, 12 bytes each: 60 MB.
MAX_OCCURRENCES = 5_000_000

_Key = tuple[str, tuple[str, ...], tuple[str, ...]]


class SensesCache:
    """Keeps senses by word and index; a word that several requests ask for is induced once.

    Args:
      tell: what is asked for senses that are not kept.
      max_occurrences: of all words kept together.
    """

    def __init__(
        self,
        tell: Callable[[Any, Any], WordSenses] = word_senses,
        max_occurrences: int = MAX_OCCURRENCES,
    ) -> None:
        self._tell, self._max = tell, max_occurrences
        self._kept: OrderedDict[_Key, WordSenses] = OrderedDict()
        self._occurrences = 0
        self._locks: dict[_Key, threading.Lock] = {}
        self._lock = threading.Lock()

    def holds(self, index: Any, forms: Any) -> bool:
        """Say whether the senses of a word's forms can be told without waiting."""
        with self._lock:
            return _key_of(index, forms) in self._kept

    def __call__(self, index: Any, forms: Any) -> WordSenses:
        """Return the senses of a word's forms in an open index."""
        key = _key_of(index, forms)
        with self._lock:
            found = self._look_up(key)
            if found is not None:
                return found
            mine = self._locks.setdefault(key, threading.Lock())
        with mine:
            with self._lock:
                found = self._look_up(key)
            if found is None:
                found = self._tell(index, forms)
                self._keep(key, found)
        return found

    def _look_up(self, key: _Key) -> WordSenses | None:
        if key in self._kept:
            self._kept.move_to_end(key)
        return self._kept.get(key)

    def _keep(self, key: _Key, found: WordSenses) -> None:
        with self._lock:
            self._kept[key] = found
            self._occurrences += len(found.vector_ids)
            self._locks.pop(key, None)
            while self._occurrences > self._max and len(self._kept) > 1:
                _, oldest = self._kept.popitem(last=False)
                self._occurrences -= len(oldest.vector_ids)


def _key_of(index: Any, forms: Any) -> _Key:
    return (
        index.manifest.index_id,
        tuple(index.corpus.snapshot.tombstones),
        tuple(sorted(forms.counts)),
    )
