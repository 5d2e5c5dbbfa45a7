"""FAISS: plan an index under a memory limit, write and search it, measure its recall.

Letters follow FAISS: D is the vectors' width, K the neighbours asked for. All vectors are
centred and of length 1, so the inner product is the cosine.
"""

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import IO, Any

import faiss
import numpy as np
from numpy.typing import NDArray

from pipelines.errors import UsageError

Floats = NDArray[np.float32]
Ids = NDArray[np.int64]

# Up to here a search over everything is an exact scan: about 60 ms on two cores.
EXACT_ELEMENTS = 1 << 29
# The interpreter with Beam, Arrow and FAISS loaded, before any data; measured 330 MB.
PROCESS_BYTES = 400 << 20
BLOCK_BYTES = 16 << 20
_FACTORY = re.compile(
    r"(?:OPQ(?P<opq>\d+)(?:_(?P<opq_dim>\d+))?,)?"
    r"(?:IVF(?P<nlist>\d+)(?P<coarse>_HNSW\d+)?,|HNSW(?P<links>\d+)(?:,|$))?"
    r"(?P<codes>Flat|SQfp16|SQ8|PQ(?P<pq>\d+)(?:x(?P<bits>\d+))?(?:fs)?|)"
)


@dataclass(frozen=True, kw_only=True)
class Factory:
    """A FAISS factory string, taken apart once.

    Attributes:
      text: the string as FAISS reads it.
      opq: sub-spaces of the rotation, or None.
      width: of the vectors after the rotation, D without one.
      nlist: inverted lists, or None.
      links: HNSW links per vector, or None.
      code_bytes: of one vector's code.
      least_rows: fewer vectors cannot train it: lists, 256 centroids of OPQ, 2^bits of PQ.
      exact: whether its search is exact (Flat or SQfp16 alone).
      rerank: whether codes are so coarse that candidates are scored again in float16.
    """

    text: str
    opq: int | None
    width: int
    nlist: int | None
    links: int | None
    code_bytes: int
    least_rows: int
    exact: bool
    rerank: bool

    @property
    def row_bytes(self) -> int:
        """Memory for one vector while the index is built: code, id and links."""
        # Level 0 of HNSW holds 2M links of int32; the higher levels add about 1/M of that.
        links = 0 if self.links is None else 8 * self.links + 8 * self.links // 16 + 16
        return self.code_bytes + 8 + links

    @property
    def train_rows(self) -> int:
        """Vectors to train on: 40 a list (FAISS warns under 39), 256 for each of 256 centroids."""
        return max(40 * (self.nlist or 0), 65536) if self.rerank or self.nlist else 0


def parse_factory(text: str, dim: int) -> Factory:
    """Take a factory string apart, and check it against the vectors' width.

    Raises:
      UsageError: for a string that is not of the kinds here, or that does not divide D.
    """
    match = _FACTORY.fullmatch(text.strip())
    if not text.strip() or match is None or text.strip().endswith(","):
        raise UsageError(
            f"--factory {text!r} is not an index that can be built here; give Flat, SQfp16,"
            " HNSW32, HNSW32,SQfp16, IVF1024,SQfp16, IVF1024,PQ32 or OPQ32_128,IVF1024,PQ32"
        )
    group = {key: value for key, value in match.groupdict().items() if value is not None}
    opq, pq = _number(group, "opq"), _number(group, "pq")
    width = _number(group, "opq_dim") or dim
    bits = _number(group, "bits") or 8
    codes = "PQ" if pq else group.get("codes") or "Flat"
    for name, parts in (("OPQ", opq), ("PQ", pq)):
        if parts is not None and (parts < 1 or width % parts):
            raise UsageError(
                f"--factory {text!r}: {name}{parts} must divide the width {width} of the vectors"
            )
    if codes in ("SQ8", "PQ") and not {"nlist", "links"} & group.keys():
        raise UsageError(
            f"--factory {text!r}: compressed codes need lists or a graph before them, such as"
            f" IVF1024,{codes}"
        )
    if width > dim:
        raise UsageError(f"--factory {text!r}: OPQ to {width} exceeds the vectors' width {dim}")
    sizes = {"Flat": 4 * width, "SQfp16": 2 * width, "SQ8": width}
    return Factory(
        text=text.strip(),
        opq=opq,
        width=width,
        nlist=_number(group, "nlist"),
        links=_number(group, "links"),
        code_bytes=sizes[codes] if codes in sizes else ((pq or 0) * bits + 7) // 8,
        least_rows=max(_number(group, "nlist") or 0, 256 if opq else 0, 2**bits if pq else 0),
        exact=not {"nlist", "links", "opq", "pq"} & group.keys() and codes != "SQ8",
        rerank=codes not in ("Flat", "SQfp16"),
    )


def _number(group: dict[str, str], key: str) -> int | None:
    return int(group[key]) if key in group else None


@dataclass(frozen=True, kw_only=True)
class IndexPlan:
    """What will be built, and what it will take.

    Attributes:
      factory: the index over all vectors of a table.
      shard_rows: most vectors in one shard.
      train_rows: vectors trained on, at most.
      build_bytes: most memory the build takes, the process itself included.
      disk_bytes: of all shards, the ordered float copy included.
      reason: why this kind, in words.
    """

    factory: Factory
    shard_rows: int
    train_rows: int
    build_bytes: int
    disk_bytes: int
    reason: str


def plan_index(
    rows: int,
    dim: int,
    *,
    max_memory_bytes: int,
    value_bytes: int = 2,
    factory: str | None = None,
    shard_rows: int | None = None,
) -> IndexPlan:
    """Choose the most exact index whose build fits the memory.

    In order: an exact scan while that is fast; HNSW; IVF over float16; OPQ + IVF + PQ with
    re-ranking, in as many shards as it takes.

    Args:
      rows: vectors in the table.
      dim: D.
      max_memory_bytes: for the whole process.
      value_bytes: of a stored number, 2 or 4.
      factory: overrides the choice.
      shard_rows: overrides the size of a shard.

    Raises:
      UsageError: if nothing fits; the message says which limit would.
    """
    if factory is not None:
        candidates = [(parse_factory(factory, dim), "as asked for")]
    else:
        candidates = list(_candidates(rows, dim, value_bytes))
    free = max_memory_bytes - PROCESS_BYTES
    for chosen, reason in candidates:
        fixed = _fixed_bytes(chosen, rows, dim)
        per_row = 0 if chosen.exact else chosen.row_bytes
        fitting = rows if per_row == 0 else max(0, free - fixed) // per_row
        last = chosen is candidates[-1][0]
        if fixed > free or (fitting < rows and not (last and fitting >= min(rows, 100_000))):
            continue
        most = max(1, min(rows, fitting, shard_rows or rows))
        copies = dim * value_bytes + (0 if chosen.exact else chosen.row_bytes)
        return IndexPlan(
            factory=chosen,
            shard_rows=most,
            train_rows=min(rows, chosen.train_rows),
            build_bytes=PROCESS_BYTES + fixed + per_row * most,
            disk_bytes=rows * copies,
            reason=reason,
        )
    smallest = candidates[-1][0]
    need = PROCESS_BYTES + _fixed_bytes(smallest, rows, dim)
    need += 0 if smallest.exact else smallest.row_bytes * min(rows, 100_000)
    raise UsageError(
        f"--max-memory is {max_memory_bytes >> 20}M, but an index of {rows} vectors of width {dim}"
        f" takes at least {-(-need >> 20)}M to build ({smallest.text}); give that much"
    )


def _fixed_bytes(factory: Factory, rows: int, dim: int) -> int:
    """Memory that does not grow with a shard: blocks in flight, the training sample."""
    training = min(rows, factory.train_rows) * dim * 4
    # k-means assigns and OPQ rotates copies of the sample.
    return 8 * BLOCK_BYTES + training * (3 if factory.opq else 2) + (factory.nlist or 0) * dim * 4


def _candidates(rows: int, dim: int, value_bytes: int) -> Iterator[tuple[Factory, str]]:
    plain = "SQfp16" if value_bytes == 2 else "Flat"
    if rows * dim <= EXACT_ELEMENTS:
        yield parse_factory(plain, dim), "an exact scan is fast at this size"
        return
    yield parse_factory(f"HNSW32,{plain}", dim), "the graph fits the memory limit"
    for nlist in _list_counts(rows):
        text = f"{_lists(nlist)},{plain}"
        yield parse_factory(text, dim), "the lists fit the memory limit, a graph not"
    for parts in (64, 32, 16):
        for nlist in _list_counts(rows):
            if dim % parts == 0 and dim // parts >= 4:
                text = f"OPQ{parts},{_lists(nlist)},PQ{parts}"
                yield parse_factory(text, dim), "only compressed codes fit; the best score again"


def _list_counts(rows: int) -> list[int]:
    """About 4 sqrt(n) lists, a power of two up to 2^18; or less, for want of memory to train."""
    best = round(np.log2(4 * max(rows, 1) ** 0.5))
    return [1 << power for power in range(min(best, 18), max(best - 4, 7), -1)]


def _lists(nlist: int) -> str:
    """The coarse part of a factory string; a graph finds the lists where they are many."""
    return f"IVF{nlist}_HNSW32" if nlist >= 1 << 14 else f"IVF{nlist}"


# --- the ordered copy: an exact FAISS index written as a stream ---------------------------------


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


def write_flat(
    file: IO[bytes], blocks: Iterable[NDArray[Any]], rows: int, dim: int, dtype: str
) -> None:
    """Write an exact index from blocks of vectors, holding one block at a time.

    Raises:
      ValueError: if the blocks do not add up to `rows`.
    """
    file.write(flat_header(rows, dim, dtype))
    written = 0
    for block in blocks:
        file.write(np.ascontiguousarray(block, np.dtype(dtype)).tobytes())
        written += len(block)
    if written != rows:
        raise ValueError(f"an index of {rows} vectors was given {written}")


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
            np.memmap(path, np.dtype(dtype), "r", len(header), shape)
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
        return np.asarray(self.codes[where], np.float32)


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


# --- approximate indexes -------------------------------------------------------------------------


def train_index(factory: Factory, dim: int, sample: Floats, seed: int) -> Any:
    """Train an empty index on a sample; the same sample and seed give the same index.

    OPQ's rotation starts from FAISS's own fixed seed. Sums are taken by several threads in an
    order that may differ between machines, so bytes are equal on one machine only.
    """
    index = faiss.index_factory(dim, factory.text, faiss.METRIC_INNER_PRODUCT)
    ivf = _ivf(index)
    if ivf is not None:
        ivf.cp.seed = seed
        # FAISS would warn on small corpora, which may ask for IVF by --factory.
        ivf.cp.min_points_per_centroid = 1
        if hasattr(faiss.downcast_index(ivf), "pq"):
            faiss.downcast_index(ivf).pq.cp.min_points_per_centroid = 1
    if len(sample) < factory.least_rows:
        raise UsageError(
            f"--factory {factory.text} takes at least {factory.least_rows} vectors to train, but"
            f" there are only {len(sample)}; give a coarser one, or none"
        )
    if not index.is_trained:
        index.train(np.ascontiguousarray(sample))
    return index


def add_blocks(index: Any, blocks: Iterable[Floats]) -> None:
    """Add vectors block by block; their ids are their positions.

    HNSW inserts in parallel, and the graph depends on the order: with one thread
    (OMP_NUM_THREADS=1) it is reproducible, with several only its recall is.
    """
    for block in blocks:
        index.add(np.ascontiguousarray(block, np.float32))


def search_index(
    index: Any, queries: Floats, k: int, effort: int, allowed: NDArray[np.bool_] | None = None
) -> tuple[Floats, Ids]:
    """Search an approximate index.

    Args:
      index: as `read_index` gives it.
      queries: [Q, D].
      k: neighbours.
      effort: nprobe of IVF, efSearch of HNSW.
      allowed: [n] which positions may be found; None allows all.

    Returns:
      scores [Q, K] and positions [Q, K]; -1 where fewer were found.
    """
    selector = None
    if allowed is not None:
        selector = faiss.IDSelectorBitmap(np.packbits(allowed, bitorder="little"))
    parameters = _parameters(index, effort, max(k, effort), selector)
    with threads_for(len(queries)):
        scores, positions = index.search(np.ascontiguousarray(queries), k, params=parameters)
    return scores, positions


def _parameters(index: Any, nprobe: int, ef_search: int, selector: Any) -> Any:
    index = faiss.downcast_index(index)
    if isinstance(index, faiss.IndexPreTransform):
        inner = _parameters(index.index, nprobe, ef_search, selector)
        return faiss.SearchParametersPreTransform(index_params=inner)
    if isinstance(index, faiss.IndexIVF):
        return faiss.SearchParametersIVF(nprobe=nprobe, sel=selector)
    if isinstance(index, faiss.IndexHNSW):
        return faiss.SearchParametersHNSW(efSearch=ef_search, sel=selector)
    return faiss.SearchParameters(sel=selector)


def read_index(path: str | Path) -> Any:
    """Open an index memory-mapped: what a search does not touch stays on disk."""
    return faiss.read_index(str(path), faiss.IO_FLAG_MMAP_IFC)


def read_trained(path: str | Path) -> Any:
    """Read an index into memory, to add vectors to it."""
    return faiss.read_index(str(path))


def write_index(index: Any, path: str | Path) -> None:
    """Write an index to a local file."""
    faiss.write_index(index, str(path))


def _ivf(index: Any) -> Any:
    try:
        return faiss.extract_index_ivf(index)
    except RuntimeError:
        return None


def recall_at_k(found: Ids, truth: Ids) -> float:
    """Return the mean share of each query's true neighbours that were found.

    Args:
      found, truth: [Q, K] ids; -1 in `found` is none.
    """
    if truth.size == 0:
        return 1.0
    shares = [
        len(np.intersect1d(mine, true)) / len(true) for mine, true in zip(found, truth, strict=True)
    ]
    return float(np.mean(shares))
