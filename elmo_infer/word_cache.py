"""A cache of context-free vectors of word types, with a limit in bytes."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from torch import Tensor

from elmo_infer.transfers import to_device


class WordCounts(NamedTuple):
    """How often word types were asked for, a type once for each batch computed together.

    Attributes:
      hits: found in the cache.
      misses: computed.
    """

    hits: int = 0
    misses: int = 0


class WordCache:
    """A least-recently-used store of one vector per word type.

    Recency is counted in calls, not in single words: one number per row is written for a whole
    batch at once. Rows live in one tensor on the model's device, which grows by doubling.

    Args:
      encode: computes the vectors of new types, [N, P].
      max_bytes: limit of the stored vectors.
    """

    def __init__(self, encode: Callable[[Sequence[str]], Tensor], max_bytes: int) -> None:
        self._encode = encode
        self._max_bytes = max_bytes
        self._counts = WordCounts()
        self.clear()

    def clear(self) -> None:
        """Forget everything."""
        self._rows: dict[str, int] = {}
        self._types: list[str] = []  # the type of each row
        self._used = np.zeros(0, dtype=np.int64)  # the call that last asked for each row
        self._table: Tensor | None = None
        self._calls = 0

    def __len__(self) -> int:
        return len(self._rows)

    def take_counts(self) -> WordCounts:
        """Return hits and misses since this was last called."""
        counts, self._counts = self._counts, WordCounts()
        return counts

    def vectors(self, types: Sequence[str]) -> Tensor:
        """Return the vectors of distinct word types, [N, P]."""
        self._calls += 1
        rows = np.fromiter(
            (self._rows.get(one, -1) for one in types), dtype=np.int64, count=len(types)
        )
        missing = np.flatnonzero(rows < 0)
        known = np.flatnonzero(rows >= 0)
        self._used[rows[known]] = self._calls
        self._counts = WordCounts(
            self._counts.hits + len(known), self._counts.misses + len(missing)
        )
        if len(missing) == 0 and self._table is not None:
            return self._table[to_device(rows, self._table.device)]
        new_types = [types[index] for index in missing.tolist()]
        new = self._encode(new_types)
        vectors = new.new_empty((len(types), new.shape[1]))
        if self._table is not None:
            at = to_device(known, new.device)
            vectors[at] = self._table[to_device(rows[known], new.device)]
        vectors[to_device(missing, new.device)] = new
        self._store(new_types, new)
        return vectors

    def _store(self, types: Sequence[str], vectors: Tensor) -> None:
        capacity = self._max_bytes // max(1, vectors.shape[1] * vectors.element_size())
        count = min(len(types), capacity)
        if count == 0:
            return
        free = self._make_room(count, capacity, vectors)
        assert self._table is not None
        self._table[to_device(free, vectors.device)] = vectors[:count]
        self._used[free] = self._calls
        for row, one in zip(free.tolist(), types, strict=False):
            self._rows[one] = row
            self._types[row] = one

    def _make_room(self, count: int, capacity: int, like: Tensor) -> np.ndarray:
        """Return `count` rows to write, growing the table or evicting the longest unused."""
        held = len(self._types)
        wanted = min(held + count, capacity)
        if self._table is None or wanted > len(self._table):
            size = min(capacity, max(wanted, 2 * held, 1024))
            table = like.new_empty((size, like.shape[1]))
            if self._table is not None:
                table[:held] = self._table[:held]
            self._table = table
        fresh = np.arange(held, wanted)
        self._types.extend([""] * len(fresh))
        self._used = np.concatenate([self._used, np.zeros(len(fresh), dtype=np.int64)])
        evicted = np.argsort(self._used[:held], kind="stable")[: count - len(fresh)]
        for row in evicted.tolist():
            del self._rows[self._types[row]]
        return np.concatenate([evicted, fresh])
