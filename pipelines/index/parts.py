"""What every step of an index build needs: the build, the parts of its segments, their layout.

Between the steps travel paths and counts; vectors stay in files.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pipelines.corpus.view import CorpusView
from pipelines.errors import CorpusError
from pipelines.index.factory import Factory
from pipelines.index.format import KEY, IndexFile

BATCH_ROWS = 8192


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

    corpus: CorpusView
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


def shard_parts(shard: str, corpus: CorpusView, segment_ids: Sequence[str]) -> list[PartRef]:
    """List the parts of documents, sentences and tokens of some segments."""
    by_id = {segment.segment_id: segment for segment in corpus.segments}
    return [
        PartRef(shard=shard, segment_id=segment_id, table=table, path=part.path)
        for table in ("documents", "sentences", "tokens")
        for segment_id in segment_ids
        for part in by_id[segment_id].parts.get(table, ())
    ]


def read_part(
    corpus: CorpusView, part: PartRef, columns: Sequence[str], batch_rows: int = BATCH_ROWS
) -> Iterator[pa.RecordBatch]:
    """Yield the live rows of one part in order; `doc_id` is always among the columns.

    Raises:
      CorpusError: if the file is missing.
    """
    needed = [*columns, *({"doc_id"} - set(columns))]
    return corpus.read_part(part.segment_id, part.table, part.path, needed, batch_rows)


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
        " documents; run: sensegrep verify --corpus DIR"
    )


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
