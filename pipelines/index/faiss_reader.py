"""Open approximate FAISS index files that may come from somebody else.

FAISS checks what it reads, but takes the file's word for what it is and how much memory it needs.
Here the manifest says what the file must be, and the file's own size how much it can mean.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import faiss

from pipelines.errors import CorpusError, UsageError
from pipelines.index.factory import Factory, parse_factory
from pipelines.index.faiss_layout import check_layout

# FAISS computes tables of a few megabytes beside what a file holds.
ROOM_BYTES = 64 << 20
_ADVICE = "build the index again: sensegrep index --rebuild --corpus DIR"
# The table that FAISS would make room for serves distances, not inner products: it stays empty, but
# for many lists its size alone would exceed what the file allows.
_SKIP_TABLE = faiss.IO_FLAG_SKIP_PRECOMPUTE_TABLE
_limits = threading.Lock()


def read_approximate(
    path: str | Path, factory_text: str, dim: int, rows: int, *, mapped: bool
) -> Any:
    """Read an approximate index that the manifest describes.

    Args:
      path: of a local file.
      factory_text: what the manifest says that it was built by.
      dim: width D of its vectors.
      rows: vectors in it; 0 for one that was only trained.
      mapped: leave on the disk what a search does not touch.

    Raises:
      CorpusError: if the file is not such an index; gives what was found and expected.
    """
    size = Path(path).stat().st_size
    try:
        factory = parse_factory(factory_text, dim)
    except UsageError as error:
        raise CorpusError(f"{path}: index.json names an impossible index: {error}") from error
    least = _least_bytes(factory)
    if size < least:
        raise CorpusError(
            f"{path} is damaged: {size:,} bytes, but an index {factory.text} of width {dim} has at"
            f" least {least:,}; {_ADVICE}"
        )
    try:
        check_layout(path)
        with _bounded_by(size):
            index = faiss.read_index(str(path), _SKIP_TABLE | (faiss.IO_FLAG_MMAP_IFC * mapped))
    except (ValueError, RuntimeError, MemoryError) as error:  # ours, FAISS's own, and bad_alloc
        what = str(error).rpartition("Error: ")[2].strip().splitlines() or ["not enough memory"]
        raise CorpusError(f"{path} is damaged ({what[0][:200]}); {_ADVICE}") from error
    empty = faiss.index_factory(dim, factory.text, faiss.METRIC_INNER_PRODUCT)
    # Read too, since FAISS has classes that are written alike.
    expected = faiss.deserialize_index(faiss.serialize_index(empty))
    if difference := _difference(faiss.downcast_index(index), expected, rows):
        raise CorpusError(f"{path} is not the index that index.json names: {difference}; {_ADVICE}")
    return index


def _least_bytes(factory: Factory) -> int:
    """Return what the trained parts of an index take at least, so that none is made for less."""
    centroids = 4 * factory.width * (factory.nlist or 0)
    return max(centroids, 4 * factory.width * factory.centroids)


@contextmanager
def _bounded_by(size: int) -> Iterator[None]:
    """Let FAISS allocate no more at once than a file of `size` bytes can hold."""
    with _limits:  # they are the process's
        before = faiss.get_deserialization_vector_byte_limit()
        faiss.set_deserialization_vector_byte_limit(size + ROOM_BYTES)
        # Each list of an index has a centroid of at least four bytes in the file.
        faiss.set_deserialization_loop_limit(max(size // 4, 1))
        try:
            yield
        finally:
            faiss.set_deserialization_vector_byte_limit(before)
            faiss.set_deserialization_loop_limit(0)


def _difference(found: Any, expected: Any, rows: int) -> str:
    """Say in which part an index differs from an empty one of its factory; nothing if in none."""
    expected = faiss.downcast_index(expected)
    if type(found) is not type(expected):
        return f"found {type(found).__name__}, expected {type(expected).__name__}"
    for name, wanted in (
        ("d", expected.d),
        ("metric_type", expected.metric_type),
        ("ntotal", rows),
        ("is_trained", True),
    ):
        if getattr(found, name) != wanted:
            return f"{name} is {getattr(found, name)}, expected {wanted}"
    for part in ("code_size", "bbs", "M2", "implem", "qbs2", "nlist", "by_residual"):
        mine, theirs = getattr(found, part, None), getattr(expected, part, None)
        if mine != theirs:
            return f"{part} is {mine}, expected {theirs}"
    return _difference_within(found, expected, rows)


def _difference_within(found: Any, expected: Any, rows: int) -> str:
    if isinstance(found, faiss.IndexPreTransform):
        if found.chain.size() != expected.chain.size():
            return f"{found.chain.size()} transforms, expected {expected.chain.size()}"
        for place in range(found.chain.size()):
            mine, theirs = found.chain.at(place), expected.chain.at(place)
            if (mine.d_in, mine.d_out) != (theirs.d_in, theirs.d_out):
                return f"a transform of {mine.d_in} to {mine.d_out} numbers"
        return _difference(faiss.downcast_index(found.index), expected.index, rows)
    if isinstance(found, faiss.IndexIVF):
        if codes := _difference_of_codes(found, expected, rows):
            return codes
        if found.invlists is None or found.direct_map.type != faiss.DirectMap.NoMap:
            return "its lists are missing or mapped"
        held = sum(found.invlists.list_size(number) for number in range(found.nlist))
        if held != rows:
            return f"its lists hold {held} vectors, expected {rows}"
        coarse = faiss.downcast_index(found.quantizer)
        return _difference(coarse, expected.quantizer, found.nlist)
    if isinstance(found, faiss.IndexHNSW):
        if rows and found.hnsw.entry_point < 0:
            return "its graph has no entry"
        return _difference(faiss.downcast_index(found.storage), expected.storage, rows)
    return _difference_of_codes(found, expected, rows)


def _difference_of_codes(found: Any, expected: Any, rows: int) -> str:
    for name, fields in (("pq", ("d", "M", "nbits")), ("sq", ("d", "qtype", "code_size"))):
        if not hasattr(expected, name):
            continue
        mine, theirs = getattr(found, name), getattr(expected, name)
        for field in fields:
            if (number := getattr(mine, field)) != (wanted := getattr(theirs, field)):
                return f"{name}.{field} is {number}, expected {wanted}"
    stored = isinstance(expected, faiss.IndexFlatCodes)
    if stored and found.codes.size() != rows * found.code_size:
        return f"{found.codes.size()} bytes of codes, expected {rows * found.code_size}"
    return ""
