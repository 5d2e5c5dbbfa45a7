"""Sort token vectors by form: an external sample sort.

Memory does not grow with the corpus. Forms are laid out in the order of their spelling, and the
rows of each shard are cut into buckets of whole forms:

    part -> runs, each sorted in memory -> buckets, each sorted in memory -> shard, concatenated
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.lib import format as npy
from numpy.typing import NDArray

from pipelines.corpus.scan import vectors_of
from pipelines.errors import CorpusError
from pipelines.index.centering import Centering
from pipelines.index.exact import flat_header
from pipelines.index.files import FinalFile, writing
from pipelines.index.format import KEY
from pipelines.index.parts import (
    BATCH_ROWS,
    Build,
    PartRef,
    ShardFiles,
    ShardLayout,
    document_numbers,
    part_name,
    read_part,
)
from pipelines.index.word_forms import forms_of, rules_of

# Where a sentence is: its key (document, index), and what its tokens need of it.
_PLACE = np.dtype([("key", "i8"), ("line", "i8"), ("document", "i8"), ("start", "i8")])


@dataclass(frozen=True, kw_only=True, eq=False)
class SortedRun:
    """A sorted stretch of a part; rows offsets[b] to offsets[b + 1] belong to bucket b."""

    shard: str
    path: str
    first_vector_id: int
    offsets: NDArray[np.int64]

    def slices(self) -> Iterator[tuple[tuple[str, int], "RunSlice"]]:
        """Yield ((shard, bucket), slice) for every bucket that has rows here."""
        for bucket, (start, stop) in enumerate(pairwise(self.offsets.tolist())):
            if start < stop:
                yield (
                    (self.shard, bucket),
                    RunSlice(
                        path=self.path,
                        first_vector_id=self.first_vector_id,
                        start=start,
                        stop=stop,
                    ),
                )


@dataclass(frozen=True, kw_only=True)
class RunSlice:
    """The rows of a run that belong to one bucket: [start, stop) of the file at `path`."""

    path: str
    first_vector_id: int
    start: int
    stop: int


@dataclass(frozen=True, kw_only=True)
class Piece:
    """One bucket of a shard in its final order, as two files without headers."""

    shard: str
    bucket: int
    rows: int
    vectors: str
    keys: str


def scatter_tokens(
    part: PartRef, build: Build, layout: dict[str, ShardLayout], centering: Centering
) -> Iterator[SortedRun]:
    """Centre a part's token vectors and write them as sorted runs."""
    shard = layout[part.shard]
    locate = _Locator(part, build, shard)
    chunk_rows = max(1, build.chunk_bytes // build.record.itemsize)
    columns = ["vector_id", "sentence_index", "token_index", "start", "end", "token", "vector"]
    batch_rows = min(BATCH_ROWS, chunk_rows)
    # One array that is filled again and again: pages that no row reaches take no memory.
    held = np.empty(chunk_rows + batch_rows, build.record)
    rows = written = 0
    for batch in read_part(build.corpus, part, columns, batch_rows):
        held[rows : rows + batch.num_rows] = _records(batch, build, shard, centering, locate)
        rows += batch.num_rows
        if rows + BATCH_ROWS > chunk_rows:
            yield _write_run(held[:rows], part, written, build, shard)
            rows, written = 0, written + 1
    if rows:
        yield _write_run(held[:rows], part, written, build, shard)


def _records(
    batch: pa.RecordBatch,
    build: Build,
    shard: ShardLayout,
    centering: Centering,
    locate: "_Locator",
) -> NDArray[Any]:
    sentence, document, start = locate(batch)
    records = np.zeros(batch.num_rows, build.record)
    forms = forms_of(batch.column("token"), rules_of(build.corpus))
    records["form"] = pc.index_in(forms, value_set=shard.forms).to_numpy()
    key = records["key"]
    key["vector_id"] = batch.column("vector_id").to_numpy()
    key["sentence"], key["document"] = sentence, document
    key["token_index"] = batch.column("token_index").to_numpy()
    key["start"] = batch.column("start").to_numpy() - start
    key["end"] = batch.column("end").to_numpy() - start
    records["vector"] = centering.apply(vectors_of(batch, build.dim))
    return records


def _write_run(
    records: NDArray[Any], part: PartRef, number: int, build: Build, shard: ShardLayout
) -> SortedRun:
    order = _order(records)
    stem = f"{part.shard}-{part.segment_id}-{part_name(part)}-{number:05d}"
    path = f"{build.directory}/scratch/run-{stem}"
    with writing(build, path) as file:
        for block in _in_order(records, order):
            file.write(block.tobytes())
    return SortedRun(
        shard=part.shard,
        path=path,
        first_vector_id=int(records["key"]["vector_id"].min()),
        offsets=np.searchsorted(records["form"][order], shard.bounds).astype(np.int64),
    )


def _order(records: NDArray[Any]) -> NDArray[np.int64]:
    """Return the places of records by form, and within a form by vector_id."""
    return np.lexsort((records["key"]["vector_id"], records["form"]))


def _in_order(records: NDArray[Any], order: NDArray[np.int64]) -> Iterator[NDArray[Any]]:
    """Yield records in an order, a block at a time: never is there a second copy of all."""
    for first in range(0, len(order), BATCH_ROWS):
        yield records[order[first : first + BATCH_ROWS]]


class _Locator:
    """Finds the line and the document of tokens by (doc_id, sentence_index).

    The part of the same name is looked at first: there `embed` writes them. Others of the segment
    are read only while something is missing.
    """

    def __init__(self, part: PartRef, build: Build, shard: ShardLayout) -> None:
        self._part, self._build, self._shard = part, build, shard
        self._tables: dict[PartRef, tuple[pa.Array, NDArray[Any]]] = {}

    def __call__(
        self, batch: pa.RecordBatch
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        doc_ids, indexes = batch.column("doc_id"), batch.column("sentence_index").to_numpy()
        line, document, start = (np.full(batch.num_rows, -1, np.int64) for _ in range(3))
        for part in self._parts("sentences"):
            known, keys = self._table(part)
            number = pc.fill_null(pc.index_in(doc_ids, value_set=known), -1).to_numpy()
            wanted = (number.astype(np.int64) << 32) | indexes
            place = np.minimum(np.searchsorted(keys["key"], wanted), len(keys) - 1)
            hit = (number >= 0) & (keys["key"][place] == wanted) & (line < 0)
            line[hit] = keys["line"][place[hit]]
            document[hit] = keys["document"][place[hit]]
            start[hit] = keys["start"][place[hit]]
            if (line >= 0).all():
                return line, document, start
        missing = int(np.flatnonzero(line < 0)[0])
        raise CorpusError(
            f"token {batch.column('vector_id')[missing]} of segment {self._part.segment_id} has no"
            f" sentence (doc_id={doc_ids[missing].as_py()!r},"
            f" sentence_index={indexes[missing]}); run: sensegrep verify --corpus DIR"
        )

    def _parts(self, table: str) -> list[PartRef]:
        parts = [
            part
            for part in self._shard.first
            if part.table == table and part.segment_id == self._part.segment_id
        ]
        return sorted(parts, key=lambda part: part_name(part) != part_name(self._part))

    def _table(self, part: PartRef) -> tuple[pa.Array, NDArray[Any]]:
        if part not in self._tables:
            # One table at a time: a segment's others are wanted rarely, and memory is bounded.
            self._tables = {part: _sentence_keys(part, self._build, self._shard)}
        return self._tables[part]


def _sentence_keys(
    part: PartRef, build: Build, shard: ShardLayout
) -> tuple[pa.Array, NDArray[Any]]:
    """Return a part's distinct doc_ids, and its sentences' places sorted by (doc, index)."""
    batches = list(read_part(build.corpus, part, ["doc_id", "sentence_index", "start"], 65536))
    if not batches:
        # One row that no key matches, for searchsorted to land on.
        return pa.array([], pa.string()), np.full(1, -1, np.int64).astype(_PLACE)
    table = pa.Table.from_batches(batches)
    doc_ids = table["doc_id"].combine_chunks()
    known = pc.unique(doc_ids)
    keys = np.zeros(len(table), _PLACE)
    number = pc.index_in(doc_ids, value_set=known).to_numpy().astype(np.int64)
    keys["key"] = (number << 32) | table["sentence_index"].to_numpy()
    keys["line"] = shard.first[part] + np.arange(len(table))
    keys["document"] = document_numbers(known, part, build, shard)[number]
    keys["start"] = table["start"].to_numpy()
    return known, np.sort(keys, order="key")


def sort_bucket(
    place: tuple[str, int], slices: Iterable[RunSlice], build: Build, layout: dict[str, ShardLayout]
) -> Piece:
    """Put one bucket of a shard in order: by form, and within a form by vector_id.

    A bucket that is one form too large for the memory is copied run by run, the runs in the order
    of their first vector_id.
    """
    shard, bucket = place
    stem = f"{build.directory}/scratch/piece-{shard}-{bucket:06d}"
    ordered = sorted(slices, key=lambda part: (part.first_vector_id, part.path))
    rows = sum(part.stop - part.start for part in ordered)
    bounds = layout[shard].bounds
    single = bounds[bucket + 1] - bounds[bucket] == 1
    stretches: Iterator[NDArray[Any]] = (
        block for part in ordered for block in _read_slice(part, build)
    )
    if not (single and rows * build.record.itemsize > build.chunk_bytes):
        stretches = _sorted_records(stretches, rows, build)
    with (
        writing(build, f"{stem}.vectors") as vectors,
        writing(build, f"{stem}.keys") as keys,
    ):
        for records in stretches:
            vectors.write(np.ascontiguousarray(records["vector"]).tobytes())
            keys.write(np.ascontiguousarray(records["key"]).tobytes())
    return Piece(
        shard=shard,
        bucket=bucket,
        rows=rows,
        vectors=f"{stem}.vectors",
        keys=f"{stem}.keys",
    )


def _read_slice(part: RunSlice, build: Build) -> Iterator[NDArray[Any]]:
    """Yield the records of a slice of a run, a block at a time."""
    size = build.record.itemsize
    with build.corpus.store.open(part.path) as file:
        file.seek(part.start * size)
        for first in range(part.start, part.stop, BATCH_ROWS):
            count = min(BATCH_ROWS, part.stop - first)
            yield np.frombuffer(file.read(count * size), build.record)


def _sorted_records(
    stretches: Iterable[NDArray[Any]], rows: int, build: Build
) -> Iterator[NDArray[Any]]:
    records = np.empty(rows, build.record)
    place = 0
    for stretch in stretches:
        records[place : place + len(stretch)] = stretch
        place += len(stretch)
    yield from _in_order(records, _order(records))


def assemble_tokens(
    shard: str, pieces: Iterable[Piece], build: Build, layout: dict[str, ShardLayout]
) -> ShardFiles:
    """Join a shard's buckets into its exact index and its file of keys."""
    ordered = sorted(pieces, key=lambda piece: piece.bucket)
    rows = layout[shard].rows["tokens"]
    total = sum(piece.rows for piece in ordered)
    if total != rows:
        raise CorpusError(
            f"shard {shard} has {rows} live token vectors, but {total} came through the sort;"
            " the corpus changed during the build: run the command again"
        )
    vectors = FinalFile(build, f"{shard}-tokens.faiss")
    vectors.writer.write(flat_header(rows, build.dim, build.dtype))
    keys = FinalFile(build, f"{shard}-tokens.npy")
    npy.write_array_header_1_0(
        keys.writer, {"descr": npy.dtype_to_descr(KEY), "fortran_order": False, "shape": (rows,)}
    )
    for piece in ordered:
        for path, target in ((piece.vectors, vectors), (piece.keys, keys)):
            with build.corpus.store.open(path) as file:
                while block := file.read(1 << 22):
                    target.writer.write(block)
    return ShardFiles(shard=shard, files={"tokens": vectors.finish(), "keys": keys.finish()})
