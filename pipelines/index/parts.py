"""The first steps of an index build, plain functions of a corpus: measure its parts, lay them out.

`tokens` and `sentences` hold the next ones and `build` wires them in Beam. Between
the steps travel paths and counts; vectors stay in files.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import IO, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pipelines.corpus import Corpus
from pipelines.errors import CorpusError
from pipelines.index.exact import Floats
from pipelines.index.factory import Factory
from pipelines.index.format import KEY, IndexFile
from pipelines.storage import HashingWriter, temporary_name

BATCH_ROWS = 8192
LINE_BATCH_ROWS = 512


@dataclass(frozen=True, kw_only=True)
class PartRef:
    """One Parquet file of a segment; `path` is relative to the segment."""

    shard: str
    segment_id: str
    table: str
    path: str


@dataclass(frozen=True, kw_only=True)
class HeldOut:
    """A share of a table's vectors, told by their ids, that no training sees.

    Attributes:
      share: of all vectors; 0 where search is exact and nothing is trained.
      seed: of the choice.
    """

    share: float
    seed: int

    def among(self, vector_ids: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Say which vectors are held out, [n]."""
        # Another seed than the sample's, or a sample of as small a share would be the same rows.
        return sampled(vector_ids, self.share, self.seed + 0x5EED)


@dataclass(frozen=True, kw_only=True)
class Build:
    """What every step needs to know; small, and the same for all.

    Attributes:
      corpus: the snapshot that is indexed.
      index_id: where to write.
      dim, dtype: of the vectors written.
      parts: of the new shards, in the order of segments and parts.
      sample_rates: for each table the share of vectors to fit and train on.
      held_out: for each table, which vectors nothing is learned from: recall is measured with them.
      chunk_bytes: what one step may hold of vectors.
      factories: for each table the approximate index to build, or None.
      seed: of the sample and of training.
    """

    corpus: Corpus
    index_id: str
    dim: int
    dtype: str
    parts: tuple[PartRef, ...]
    sample_rates: dict[str, float]
    held_out: dict[str, "HeldOut"]
    chunk_bytes: int
    factories: dict[str, Factory | None]
    seed: int

    @property
    def directory(self) -> str:
        """Where the index stands."""
        return f"indexes/{self.index_id}"

    @property
    def record(self) -> np.dtype[Any]:
        """A token vector on its way into order: its key, the number of its form, the vector."""
        vector = ("vector", np.dtype(self.dtype), (self.dim,))
        return np.dtype([("form", "<i4"), ("key", KEY), vector])


@dataclass(frozen=True, kw_only=True, eq=False)
class Measure:
    """What is in a part: live rows, word forms with counts, and a file of sampled vectors."""

    part: PartRef
    rows: int
    forms: pa.Table | None
    sample: str | None


@dataclass(frozen=True, kw_only=True, eq=False)
class ShardLayout:
    """Where everything of one shard goes.

    Attributes:
      forms: the shard's forms in order; a form's number is its place here.
      counts: [forms] int64, vectors of each.
      bounds: [buckets + 1] form numbers; bucket b holds forms bounds[b] to bounds[b + 1].
      first: for each part its first row in the shard's documents or lines.
      rows: of documents, sentences and tokens.
    """

    forms: pa.Array
    counts: NDArray[np.int64]
    bounds: NDArray[np.int64]
    first: dict[PartRef, int]
    rows: dict[str, int]


@dataclass(frozen=True, kw_only=True)
class ShardFiles:
    """Files written for a shard, by name."""

    shard: str
    files: dict[str, IndexFile] = field(default_factory=dict)


def shard_parts(shard: str, corpus: Corpus, segment_ids: Sequence[str]) -> list[PartRef]:
    """List the parts of documents, sentences and tokens of some segments."""
    by_id = {segment.segment_id: segment for segment in corpus.segments}
    return [
        PartRef(shard=shard, segment_id=segment_id, table=table, path=part.path)
        for table in ("documents", "sentences", "tokens")
        for segment_id in segment_ids
        for part in by_id[segment_id].parts.get(table, ())
    ]


def read_part(
    corpus: Corpus, part: PartRef, columns: Sequence[str], batch_rows: int = BATCH_ROWS
) -> Iterator[pa.RecordBatch]:
    """Yield the live rows of one part in order; `doc_id` is always among the columns.

    Raises:
      CorpusError: if the file is missing.
    """
    needed = [*columns, *({"doc_id"} - set(columns))]
    return corpus.read_part(part.segment_id, part.table, part.path, needed, batch_rows)


def vectors_of(batch: pa.RecordBatch, dim: int) -> NDArray[Any]:
    """Return the batch's vectors [n, D] without copying them."""
    return batch.column("vector").flatten().to_numpy(zero_copy_only=False).reshape(-1, dim)


@contextmanager
def writing(build: Build, path: str) -> Iterator[IO[bytes]]:
    """Write a file whole or not at all."""
    temporary = temporary_name(path)
    try:
        with build.corpus.store.open(temporary, "wb") as file:
            yield file
        build.corpus.store.move(temporary, path)
    except BaseException:
        build.corpus.store.remove(temporary)
        raise


class FinalFile:
    """A file of the index being written; its checksum becomes part of its name."""

    def __init__(self, build: Build, name: str) -> None:
        self._store = build.corpus.store
        self._directory, self._name = build.directory, name
        self._temporary = temporary_name(f"{build.directory}/{name}")
        self._file = self._store.open(self._temporary, "wb")
        self.writer: Any = HashingWriter(self._file)

    def finish(self) -> IndexFile:
        self.writer.close()
        return name_by_content(
            self._store,
            self._temporary,
            f"{self._directory}/{self._name}",
            self.writer.sha256,
            self.writer.tell(),
        )


def name_by_content(store: Any, temporary: str, path: str, sha256: str, size: int) -> IndexFile:
    """Move a file to a name with its checksum in it: two writers never undo each other's."""
    stem, dot, suffix = path.rpartition("/")[2].partition(".")
    final = f"{path.rpartition('/')[0]}/{stem}-{sha256[:12]}{dot}{suffix}"
    store.move(temporary, final)
    return IndexFile(path=final, bytes=size, sha256=sha256)


def document_numbers(
    doc_ids: pa.Array, part: PartRef, build: Build, shard: ShardLayout
) -> NDArray[np.int64]:
    """Return the row of each document in the shard's own table of documents.

    Raises:
      CorpusError: if a document is not among the segment's.
    """
    numbers = np.full(len(doc_ids), -1, np.int64)
    parts = [
        other
        for other in shard.first
        if other.table == "documents" and other.segment_id == part.segment_id
    ]
    for other in sorted(parts, key=lambda candidate: part_name(candidate) != part_name(part)):
        row = shard.first[other]
        for batch in read_part(build.corpus, other, ["doc_id"], 65536):
            found = pc.index_in(doc_ids, value_set=batch.column("doc_id"))
            hit = pc.is_valid(found).to_numpy(zero_copy_only=False)
            numbers[hit] = row + pc.fill_null(found, 0).to_numpy()[hit]
            row += batch.num_rows
        if (numbers >= 0).all():
            return numbers
    missing = doc_ids[int(np.flatnonzero(numbers < 0)[0])].as_py()
    raise CorpusError(
        f"document {missing!r} has sentences in segment {part.segment_id}, but no row in its"
        " documents; run: sensegrep verify"
    )


# --- measure ---------------------------------------------------------------------------------


def measure_part(part: PartRef, build: Build) -> Measure:
    """Count a part's live rows and forms, and write a sample of its vectors."""
    rate = build.sample_rates.get(part.table, 0.0)
    columns = {"documents": [], "sentences": ["vector_id"], "tokens": ["vector_id", "token"]}
    wanted = [*columns[part.table], *(["vector"] if rate else [])]
    rows = 0
    forms: pa.Table | None = None
    samples: list[NDArray[Any]] = []
    for batch in read_part(build.corpus, part, wanted):
        rows += batch.num_rows
        if part.table == "tokens":
            forms = merge_forms([*([forms] if forms else []), count_forms(batch.column("token"))])
        if rate:
            ids = batch.column("vector_id").to_numpy()
            chosen = sampled(ids, rate, build.seed) & ~build.held_out[part.table].among(ids)
            samples.append(vectors_of(batch, build.dim)[chosen].astype(np.float32))
    path = None
    if samples:
        path = (
            f"{build.directory}/scratch/sample-{part.segment_id}-{part.table}-{part_name(part)}.npy"
        )
        with writing(build, path) as file:
            np.save(file, np.concatenate(samples), allow_pickle=False)
    return Measure(part=part, rows=rows, forms=forms, sample=path)


def part_name(part: PartRef) -> str:
    return part.path.rpartition("/")[2].removesuffix(".parquet")


def sampled(vector_ids: NDArray[np.int64], rate: float, seed: int) -> NDArray[np.bool_]:
    """Choose rows by a hash of their ids (splitmix64), so that order and parts do not matter."""
    if rate >= 1:
        return np.ones(len(vector_ids), bool)
    mixed = vector_ids.astype(np.uint64) + np.uint64((seed + 1) * 0x9E3779B97F4A7C15 % 2**64)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return (mixed ^ (mixed >> np.uint64(31))) < np.uint64(int(rate * 2**64))


def count_forms(tokens: pa.Array) -> pa.Table:
    """Count each form of a column of tokens: a table of form and count."""
    counted = tokens.value_counts()
    return pa.table({"form": counted.field("values"), "count": counted.field("counts")})


def merge_forms(tables: Sequence[pa.Table]) -> pa.Table:
    """Add up tables of form and count."""
    if len(tables) == 1:
        return tables[0]
    summed = pa.concat_tables(tables).group_by("form").aggregate([("count", "sum")])
    return summed.rename_columns({"count_sum": "count"})


# --- lay out ---------------------------------------------------------------------------------


def lay_out(measures: Iterable[Measure], build: Build) -> dict[str, ShardLayout]:
    """Decide where every form and every part of the new shards goes."""
    by_part = {measure.part: measure for measure in measures}
    shards = sorted({part.shard for part in build.parts})
    return {shard: _lay_out_shard(shard, by_part, build) for shard in shards}


def _lay_out_shard(shard: str, by_part: dict[PartRef, Measure], build: Build) -> ShardLayout:
    rows = {"documents": 0, "sentences": 0, "tokens": 0}
    first: dict[PartRef, int] = {}
    tables = []
    for part in build.parts:
        if part.shard == shard:
            first[part] = rows[part.table]
            rows[part.table] += by_part[part].rows
            forms = by_part[part].forms
            tables += [] if forms is None else [forms]
    words, counts = _ordered_forms(tables)
    bucket_rows = max(1, build.chunk_bytes // build.record.itemsize)
    bounds = bucket_bounds(counts, bucket_rows)
    return ShardLayout(forms=words, counts=counts, bounds=bounds, first=first, rows=rows)


def _ordered_forms(tables: list[pa.Table]) -> tuple[pa.Array, NDArray[np.int64]]:
    if not tables:
        return pa.array([], pa.string()), np.zeros(0, np.int64)
    merged = merge_forms(tables)
    forms = merged["form"].to_pylist()
    order = sorted(range(len(forms)), key=lambda i: (forms[i].casefold(), forms[i]))
    counts = merged["count"].to_numpy().astype(np.int64)[order]
    return pa.array([forms[i] for i in order], pa.string()), counts


def bucket_bounds(counts: NDArray[np.int64], bucket_rows: int) -> NDArray[np.int64]:
    """Cut forms into buckets of at most `bucket_rows` rows; a larger form has one of its own.

    >>> bucket_bounds(np.array([2, 3, 9, 1, 1]), 5).tolist()
    [0, 2, 3, 5]
    """
    bounds = [0]
    held = 0
    for number, count in enumerate(counts.tolist()):
        if held and held + count > bucket_rows:
            bounds.append(number)
            held = 0
        held += count
    return np.array([*bounds, len(counts)] if len(counts) else [0], np.int64)


def load_sample(measures: Iterable[Measure], table: str, build: Build) -> Floats:
    """Read the sampled vectors of a table, in the order of its parts."""
    paths = {m.part: m.sample for m in measures if m.part.table == table and m.sample}
    arrays = []
    for part in build.parts:
        if part in paths:
            with build.corpus.store.open(paths[part]) as file:
                arrays.append(np.load(file, allow_pickle=False))
    return np.concatenate([np.zeros((0, build.dim), np.float32), *arrays])


def merge_files(parts: Iterable[ShardFiles]) -> dict[str, dict[str, IndexFile]]:
    """Gather the files of each shard."""
    merged: dict[str, dict[str, IndexFile]] = {}
    for part in parts:
        merged.setdefault(part.shard, {}).update(part.files)
    return merged
