"""Rows of the Arrow files of an index, memory-mapped, and checked before they are followed."""

import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from pipelines.errors import CorpusError
from pipelines.index.format import LINE_BATCH_ROWS

# Batches whose columns are kept at hand: a few kilobytes each, since their values stay on the disk.
_KEPT_BATCHES = 4096
_DAMAGE = (pa.ArrowException, OSError, ValueError, KeyError, IndexError)


class ArrowRows:
    """Rows of a memory-mapped Arrow file by number; only the batch of a row is touched.

    A batch, or a column of all, is checked when it is first read: offsets that point outside it
    would be followed.

    Raises:
      CorpusError: from each method, if the file is damaged.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._batches: dict[int, dict[str, pa.Array]] = {}
        self._checked: set[int] = set()
        self._checked_columns: set[str] = set()
        self._lock = threading.Lock()
        try:
            self._reader = pa.ipc.open_file(pa.memory_map(str(path)))
        except _DAMAGE as error:
            raise self._damaged(error) from error

    def row(self, number: int) -> dict[str, Any]:
        """Return one row as a mapping of Python values."""
        place = number % LINE_BATCH_ROWS
        try:
            columns = self._columns(number // LINE_BATCH_ROWS)
            return {name: column[place].as_py() for name, column in columns.items()}
        except _DAMAGE as error:
            raise self._damaged(error) from error

    def value(self, name: str, number: int) -> Any:
        """Return one column of a row as a Python value."""
        try:
            column = self._columns(number // LINE_BATCH_ROWS)[name]
            return column[number % LINE_BATCH_ROWS].as_py()
        except _DAMAGE as error:
            raise self._damaged(error) from error

    def string_list_keys(self, name: str, numbers: Sequence[int]) -> list[bytes]:
        """Return for lists of strings what is equal where the lists are: see `string_list_key`.

        No string is made of them, so that thousands take milliseconds.

        Args:
          name: of a column of lists of strings.
          numbers: of rows, in any order.
        """
        keys: list[bytes] = [b""] * len(numbers)
        places: dict[int, list[int]] = {}
        for place, number in enumerate(numbers):
            places.setdefault(number // LINE_BATCH_ROWS, []).append(place)
        for batch, chosen in places.items():
            inside = pa.array([numbers[place] % LINE_BATCH_ROWS for place in chosen])
            try:
                rows = self._columns(batch)[name].take(inside)
                for place, key in zip(chosen, _keys_of(rows), strict=True):
                    keys[place] = key
            except _DAMAGE as error:
                raise self._damaged(error) from error
        return keys

    def column(self, name: str) -> pa.ChunkedArray:
        """Return one column of all rows, still on the disk; the others are not touched."""
        try:
            with self._lock:
                column = self._reader.read_all().column(name)
                if name not in self._checked_columns:
                    column.validate(full=True)
                    self._checked_columns.add(name)
            return column
        except _DAMAGE as error:
            raise self._damaged(error) from error

    def _columns(self, number: int) -> dict[str, pa.Array]:
        """Return the columns of a batch by name."""
        known = self._batches.get(number)
        if known is not None:
            return known
        with self._lock:
            batch = self._reader.get_batch(number)
            if number not in self._checked:
                batch.validate(full=True)
                self._checked.add(number)
            if len(self._batches) >= _KEPT_BATCHES:
                self._batches.clear()
            columns = dict(zip(batch.schema.names, batch.columns, strict=True))
            self._batches[number] = columns
        return columns

    def _damaged(self, error: Exception) -> CorpusError:
        return CorpusError(
            f"{self._path} is damaged ({error}); build the index again: sensegrep index"
            " --rebuild --corpus DIR"
        )


def string_list_key(strings: Sequence[str]) -> bytes:
    """Return bytes that are equal where lists of strings are: their lengths, and the strings.

    >>> string_list_key(["a", "bc"]) == string_list_key(["ab", "c"])
    False
    """
    encoded = [string.encode() for string in strings]
    lengths = np.array([len(each) for each in encoded], np.int32)
    return len(encoded).to_bytes(4) + lengths.tobytes() + b"".join(encoded)


def _keys_of(rows: pa.ListArray) -> Iterator[bytes]:
    strings = rows.values
    bounds = rows.offsets.to_numpy()
    ends = np.frombuffer(strings.buffers()[1], np.int32)[strings.offset :]
    lengths = np.diff(ends)
    data = memoryview(strings.buffers()[2] or b"")
    for first, last in zip(bounds[:-1].tolist(), bounds[1:].tolist(), strict=True):
        text = data[ends[first] : ends[last]]
        yield (last - first).to_bytes(4) + lengths[first:last].tobytes() + bytes(text)
