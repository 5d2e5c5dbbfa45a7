"""Walk through the file of a FAISS index without FAISS, and see that all of it is there.

FAISS's memory-mapped reader reads past the end of a file that stops within a number. It takes the
same steps as the walk here, so a file that the walk goes through to its very end is read safely.
The order of the fields is that of FAISS's index_write.cpp.
"""

import mmap
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np

# Of an index in an index; those that are built here have 3.
MAX_DEPTH = 4


class _Walk:
    """A place in a file that goes forward."""

    def __init__(self, data: mmap.mmap) -> None:
        self._data, self.place = data, 0

    def skip(self, size: int) -> None:
        if size > len(self._data) - self.place:
            raise ValueError(
                f"it ends at byte {len(self._data):,}, within a field of {size:,} bytes"
            )
        self.place += size

    def number(self, kind: str) -> int:
        """Read one number: B, i, I or Q as `struct` has them."""
        start = self.place
        self.skip(struct.calcsize(kind))
        return int(struct.unpack_from(f"<{kind}", self._data, start)[0])

    def array(self, item_bytes: int) -> None:
        """Skip a count and so many items."""
        self.skip(self.number("Q") * item_bytes)

    def numbers(self, kind: str) -> "np.ndarray[tuple[int], np.dtype[np.uint64]]":
        """Read a count and so many numbers."""
        count, start = self.number("Q"), self.place
        self.skip(count * np.dtype(kind).itemsize)
        return np.frombuffer(self._data[start : self.place], kind)

    def name(self) -> str:
        start = self.place
        self.skip(4)
        return bytes(self._data[start : self.place]).decode("latin-1")


def check_layout(path: str | Path) -> None:
    """Walk through an index file.

    Raises:
      ValueError: if it is of a kind that is not built here, ends early, or goes on after its end.
    """
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        walk = _Walk(data)
        _index(walk, MAX_DEPTH)
        if walk.place != len(data):
            raise ValueError(f"{len(data) - walk.place:,} bytes follow the end of the index")


def _index(walk: _Walk, depth: int) -> None:
    if depth == 0:
        raise ValueError(f"an index in an index, over {MAX_DEPTH} deep")
    name = walk.name()
    if name not in _KINDS:
        raise ValueError(f"it has an index of kind {name!r}, which is not built here")
    walk.skip(4 + 8 + 8 + 8 + 1)  # width, vectors, two unused numbers, trained
    if (metric := walk.number("i")) not in (0, 1):  # of others a number follows
        raise ValueError(f"its metric is {metric}, expected 0")
    _KINDS[name](walk, depth - 1)


def _flat(walk: _Walk, _: int) -> None:
    walk.array(4)


def _scalar(walk: _Walk, _: int) -> None:
    _scalar_quantizer(walk)
    walk.array(1)


def _product(walk: _Walk, _: int) -> None:
    _product_quantizer(walk)
    walk.array(1)
    walk.skip(4 + 1 + 4)  # kind of search, signs, threshold


def _graph(walk: _Walk, depth: int) -> None:
    # Probabilities, neighbours and levels, offsets, links; then five numbers.
    for item_bytes in (8, 4, 4, 8, 4):
        walk.array(item_bytes)
    walk.skip(5 * 4)
    _index(walk, depth)


def _lists_flat(walk: _Walk, depth: int) -> None:
    _lists_head(walk, depth)
    _inverted_lists(walk)


def _lists_scalar(walk: _Walk, depth: int) -> None:
    _lists_head(walk, depth)
    _scalar_quantizer(walk)
    walk.skip(8 + 1)  # code size, residual
    _inverted_lists(walk)


def _lists_product(walk: _Walk, depth: int) -> None:
    _lists_head(walk, depth)
    walk.skip(1 + 8)  # residual, code size
    _product_quantizer(walk)
    _inverted_lists(walk)


def _lists_fast(walk: _Walk, depth: int) -> None:
    _lists_head(walk, depth)
    walk.skip(1 + 8 + 4 + 8 + 4 + 8)  # residual, code size, four that tell how it is searched
    _product_quantizer(walk)
    _inverted_lists(walk)


def _transformed(walk: _Walk, depth: int) -> None:
    if (count := walk.number("i")) != 1:
        raise ValueError(f"{count} transforms, expected 1")
    if (name := walk.name()) != "LTra":
        raise ValueError(f"a transform of kind {name!r}, which is not built here")
    walk.skip(1)  # bias
    walk.array(4)
    walk.array(4)
    walk.skip(4 + 4 + 1)  # widths, trained
    _index(walk, depth)


def _lists_head(walk: _Walk, depth: int) -> None:
    walk.skip(8 + 8)  # lists, lists that are searched
    _index(walk, depth)
    if walk.number("B"):
        raise ValueError("it has a map of its vectors, which is not built here")
    walk.array(8)


def _scalar_quantizer(walk: _Walk) -> None:
    walk.skip(4 + 4 + 4 + 8 + 8)  # kind, two of its range, width, code size
    walk.array(4)


def _product_quantizer(walk: _Walk) -> None:
    walk.skip(3 * 8)  # width, parts, bits
    walk.array(4)


def _inverted_lists(walk: _Walk) -> None:
    name = walk.name()
    count, code_size = walk.number("Q"), walk.number("Q")
    if name == "ilbl":
        walk.skip(8 + 8)  # vectors and bytes of a block
        for _ in range(count):
            walk.array(8)
            walk.array(1)
        return
    if name != "ilar" or (kind := walk.name()) not in ("full", "sprs"):
        raise ValueError(f"it has lists of kind {name!r}, which are not built here")
    sizes = walk.numbers("<u8")
    # Of a sparse table every second number is a size; FAISS takes the last of a list named twice.
    if kind == "sprs":
        if len(sizes) % 2 or len(set(sizes[::2].tolist())) * 2 != len(sizes):
            raise ValueError("its table of lists names a list twice")
        sizes = sizes[1::2]
    for size in sizes.tolist():
        walk.skip(size * (code_size + 8))


_KINDS: dict[str, Callable[[_Walk, int], None]] = {
    "IxFI": _flat,
    "IxF2": _flat,
    "IxSQ": _scalar,
    "IxPq": _product,
    "IHNf": _graph,
    "IHNs": _graph,
    "IHNp": _graph,
    "IwFl": _lists_flat,
    "IwSq": _lists_scalar,
    "IwPQ": _lists_product,
    "IwPf": _lists_fast,
    "IxPT": _transformed,
}
