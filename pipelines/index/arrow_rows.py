"""Rows of the Arrow files of an index, memory-mapped, and checked before they are followed."""

import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa

from pipelines.errors import CorpusError
from pipelines.index.format import LINE_BATCH_ROWS


class ArrowRows:
    """Rows of a memory-mapped Arrow file by number; only the batch of a row is touched.

    A batch, or a column of all, is checked when it is first read: offsets that point outside it
    would be followed.

    Raises:
      CorpusError: from each method, if the file is damaged.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._checked: set[int] = set()
        self._checked_columns: set[str] = set()
        self._lock = threading.Lock()
        with self._told():
            self._reader = pa.ipc.open_file(pa.memory_map(str(path)))

    def row(self, number: int) -> dict[str, Any]:
        """Return one row as a mapping of Python values."""
        batch, place = self._batch(number // LINE_BATCH_ROWS), number % LINE_BATCH_ROWS
        with self._told():
            return {name: batch.column(name)[place].as_py() for name in batch.schema.names}

    def value(self, name: str, number: int) -> Any:
        """Return one column of a row as a Python value."""
        batch = self._batch(number // LINE_BATCH_ROWS)
        with self._told():
            return batch.column(name)[number % LINE_BATCH_ROWS].as_py()

    def column(self, name: str) -> pa.ChunkedArray:
        """Return one column of all rows, still on the disk; the others are not touched."""
        with self._lock, self._told():
            column = self._reader.read_all().column(name)
            if name not in self._checked_columns:
                column.validate(full=True)
                self._checked_columns.add(name)
        return column

    def _batch(self, number: int) -> pa.RecordBatch:
        with self._lock, self._told():
            batch = self._reader.get_batch(number)
            if number not in self._checked:
                batch.validate(full=True)
                self._checked.add(number)
        return batch

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except (pa.ArrowException, OSError, ValueError, KeyError, IndexError) as error:
            raise CorpusError(
                f"{self._path} is damaged ({error}); build the index again: sensegrep index"
                " --rebuild --corpus DIR"
            ) from error
