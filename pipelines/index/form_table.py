"""Where each word form stands in an index: a sorted table, read a group of forms at a time."""

import threading
from bisect import bisect_left, bisect_right
from collections import OrderedDict
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

_CACHED_GROUPS = 64
KEPT_COUNTS = 1 << 17  # some 15 MB


class FormRange(NamedTuple):
    """Where the vectors of one form stand in one shard."""

    form: str
    shard: str
    first: int
    rows: int


class _Group(NamedTuple):
    """A group of the table: casefolded spellings in ascending order, and the other columns."""

    folded: list[str]
    form: pa.ChunkedArray
    shard: pa.ChunkedArray
    first: NDArray[np.int64]
    occurrences: NDArray[np.int64]

    def rows(self, folded: str) -> range:
        """Return which rows have a spelling."""
        return range(bisect_left(self.folded, folded), bisect_right(self.folded, folded))


class FormTable:
    """The sorted table of forms; a look-up reads one row group of it."""

    def __init__(self, path: Path) -> None:
        self._file = pq.ParquetFile(path)
        # An index without tokens has no forms: one group without rows, which says nothing of them.
        about = self._file.metadata
        groups = [about.row_group(i) for i in range(about.num_row_groups if about.num_rows else 0)]
        spans = [group.column(0).statistics for group in groups]
        self._lows = [span.min for span in spans]
        self._highs = [span.max for span in spans]
        self._cache: OrderedDict[int, _Group] = OrderedDict()
        self._known_counts: dict[str, int] = {}
        self._lock = threading.Lock()

    def ranges(self, folded: str) -> list[FormRange]:
        """Return where all forms of one casefolded spelling stand."""
        found = []
        for group in self._having(folded):
            for row in group.rows(folded):
                form, shard = group.form[row].as_py(), group.shard[row].as_py()
                found.append(
                    FormRange(form, shard, int(group.first[row]), int(group.occurrences[row]))
                )
        return found

    def count(self, folded: str) -> int:
        """Return the occurrences of all forms of one casefolded spelling."""
        known = self._known_counts.get(folded)
        if known is not None:
            return known
        found = 0
        for group in self._having(folded):
            rows = group.rows(folded)
            found += int(group.occurrences[rows.start : rows.stop].sum())
        if len(self._known_counts) >= KEPT_COUNTS:
            self._known_counts.clear()
        self._known_counts[folded] = found
        return found

    def counts(self) -> dict[str, int]:
        """Return the count of every form; reads the whole table once."""
        return self._counts

    @cached_property
    def _counts(self) -> dict[str, int]:
        with self._lock:
            table = self._file.read(["form", "count"])
        table = table.group_by("form").aggregate([("count", "sum")])
        return dict(zip(table["form"].to_pylist(), table["count_sum"].to_pylist(), strict=True))

    def folded_counts(self) -> Mapping[str, int]:
        """Return the count of every casefolded spelling; reads the whole table once."""
        return self._folded_counts

    @cached_property
    def _folded_counts(self) -> dict[str, int]:
        with self._lock:
            table = self._file.read(["folded", "count"])
        table = table.group_by("folded").aggregate([("count", "sum")])
        return dict(zip(table["folded"].to_pylist(), table["count_sum"].to_pylist(), strict=True))

    def table(self) -> pa.Table:
        """Return the whole table."""
        with self._lock:
            return self._file.read()

    def _having(self, folded: str) -> list[_Group]:
        numbers = range(bisect_left(self._highs, folded), bisect_right(self._lows, folded))
        return [self._group(number) for number in numbers]

    def _group(self, number: int) -> _Group:
        with self._lock:
            if number not in self._cache:
                table = self._file.read_row_group(number)
                self._cache[number] = _Group(
                    table["folded"].to_pylist(),
                    table["form"],
                    table["shard"],
                    table["first"].to_numpy(),
                    table["count"].to_numpy(),
                )
                if len(self._cache) > _CACHED_GROUPS:
                    self._cache.popitem(last=False)
            self._cache.move_to_end(number)
            return self._cache[number]
