"""Exact FAISS indexes: written as a stream, memory-mapped, searched whole or in part.

Letters follow FAISS: D is the vectors' width, K the neighbours asked for, Q the queries.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray

from pipelines.index.half_floats import widen

Floats = NDArray[np.float32]
Ids = NDArray[np.int64]

BLOCK_BYTES = 16 << 20


def read_index(path: str | Path) -> Any:
    """Open an index memory-mapped: what a search does not touch stays on disk."""
    return faiss.read_index(str(path), faiss.IO_FLAG_MMAP_IFC)


def _empty_flat(dim: int, dtype: str) -> Any:
    if dtype == "float16":
        kind = faiss.ScalarQuantizer.QT_fp16
        return faiss.IndexScalarQuantizer(dim, kind, faiss.METRIC_INNER_PRODUCT)
    return faiss.IndexFlatIP(dim)


def flat_header(rows: int, dim: int, dtype: str) -> bytes:
    """Return the bytes before the codes in the file of an exact index with `rows` vectors.

    FAISS itself writes the header of an empty index; only the two counts are put in: the vectors,
    after the four letters and D, and the length of the codes, which end the file.
    """
    header = bytearray(faiss.serialize_index(_empty_flat(dim, dtype)).tobytes())
    # SQfp16 counts its codes in bytes, Flat in float32 numbers.
    length = rows * dim * 2 if dtype == "float16" else rows * dim
    header[8:16] = np.int64(rows).tobytes()
    header[-8:] = np.int64(length).tobytes()
    return bytes(header)


class FlatFile:
    """An exact index file, memory-mapped: whole searches by FAISS, ranges by row.

    Attributes:
      rows: vectors in it.
      codes: [n, D] float16 or float32, mapped read-only.
    """

    def __init__(self, path: str | Path, rows: int, dim: int, dtype: str) -> None:
        """Map the file.

        Raises:
          ValueError: if the file is not the exact index it should be.
        """
        header = flat_header(rows, dim, dtype)
        expected = len(header) + rows * dim * np.dtype(dtype).itemsize
        size = Path(path).stat().st_size
        with open(path, "rb") as file:
            if size != expected or file.read(len(header)) != header:
                raise ValueError(
                    f"{path} is not an index of {rows} {dtype} vectors of width {dim}"
                    f" ({size} bytes found, {expected} expected); build it again"
                )
        self.rows, self.dim, self.dtype = rows, dim, dtype
        self._path = path
        shape = (rows, dim)
        self.codes: NDArray[Any] = (
            # As a plain array: each slice of a memmap costs microseconds more.
            np.memmap(path, np.dtype(dtype), "r", len(header), shape).view(np.ndarray)
            if rows
            else np.zeros(shape, np.dtype(dtype))
        )

    def search(
        self, queries: Floats, k: int, where: "slice | Ids | None" = None
    ) -> tuple[Floats, Ids]:
        """Find the nearest of some rows exactly.

        Args:
          queries: [Q, D], of length 1.
          k: neighbours wanted.
          where: a slice of positions, or ascending positions; None takes all.

        Returns:
          scores [Q, K] descending and positions [Q, K], K = min(k, rows searched). Equal scores
          come in the order of positions.
        """
        if where is None and self.rows:
            return self._search_all(queries, min(k, self.rows))
        places = slice(0, self.rows) if where is None else where
        count = len(range(*places.indices(self.rows))) if isinstance(places, slice) else len(places)
        k = min(k, count)
        best_scores = np.zeros((len(queries), 0), np.float32)
        best = np.zeros((len(queries), 0), np.int64)
        for positions in _blocks(places, self.rows, self.dim):
            scores, found = self._search_block(queries, positions, k)
            best_scores = np.concatenate([best_scores, scores], axis=1)
            best = np.concatenate([best, found], axis=1)
            order = np.lexsort((best, -best_scores), axis=1)[:, :k]
            best_scores = np.take_along_axis(best_scores, order, axis=1)
            best = np.take_along_axis(best, order, axis=1)
        return best_scores, best

    @cached_property
    def _index(self) -> Any:
        return read_index(self._path)

    def _search_all(self, queries: Floats, k: int) -> tuple[Floats, Ids]:
        # On the mapped file itself: six times as fast as block by block, which copies.
        with threads_for(len(queries)):
            scores, found = self._index.search(np.ascontiguousarray(queries), k)
        order = np.lexsort((found, -scores), axis=1)
        return np.take_along_axis(scores, order, 1), np.take_along_axis(found, order, 1)

    def _search_block(
        self, queries: Floats, positions: "slice | Ids", k: int
    ) -> tuple[Floats, Ids]:
        codes = np.ascontiguousarray(self.codes[positions])
        index = _empty_flat(self.dim, self.dtype)
        index.add_sa_codes(codes.view(np.uint8).reshape(len(codes), -1))
        with threads_for(len(queries)):
            scores, found = index.search(np.ascontiguousarray(queries), min(k, len(codes)))
        if isinstance(positions, slice):
            return scores, found + positions.start
        return scores, positions[found]

    def vectors(self, where: "slice | Ids") -> Floats:
        """Return rows as float32 [n, D]."""
        codes = self.codes[where]
        return widen(codes) if self.dtype == "float16" else np.asarray(codes, np.float32)


@contextmanager
def threads_for(queries: int) -> Iterator[None]:
    """Search with one thread for one query.

    FAISS spreads queries over threads, so that one query gains nothing by them, but waits for all
    to wake: on a busy machine 15 ms, a hundred times the search of a form itself.
    """
    threads = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(min(queries, threads) or 1)
    try:
        yield
    finally:
        faiss.omp_set_num_threads(threads)


def _blocks(places: "slice | Ids", rows: int, dim: int) -> Iterator["slice | Ids"]:
    step = max(1, BLOCK_BYTES // (4 * dim))
    if isinstance(places, slice):
        start, stop, _ = places.indices(rows)
        for first in range(start, stop, step):
            yield slice(first, min(first + step, stop))
    else:
        for first in range(0, len(places), step):
            yield places[first : first + step]
