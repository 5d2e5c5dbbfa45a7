"""Write documents whose metadata alone changed: rows and vectors are copied, nothing is embedded.

The job on this machine writes such parts beside those that it embeds. Each copied row gets a
vector_id of the new segment, so that a commit sees a new version of its document like any other.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.corpus.parquet_writer import TableWriter
from pipelines.corpus.scan import scan_documents, vectors_of
from pipelines.corpus.segment_files import COUNTS
from pipelines.corpus.view import CorpusView
from pipelines.embed.batch import PartEnd, PartId
from pipelines.errors import CorpusError
from schemas import VECTOR_TABLES, Part, PartSummary, Segment, first_vector_id, table_schema


@dataclass(frozen=True, slots=True)
class Relabelled:
    """A document whose text is as it was, and whose metadata is not.

    Attributes:
      doc_id: of the document.
      segment_id: of the segment with its rows.
      uri: the file it comes from now.
      position: byte offset or row in that file.
      metadata: as it is now.
      text_bytes: of its text; at least its number of tokens.
    """

    doc_id: str
    segment_id: str
    uri: str
    position: int
    metadata: Mapping[str, str]
    text_bytes: int

    @property
    def size(self) -> int:
        """How many characters of it a plan holds."""
        return len(self.doc_id) + sum(len(k) + len(v) for k, v in self.metadata.items())


@dataclass(frozen=True)
class CopiedPart:
    """One part of a segment that is copied.

    Attributes:
      part: which.
      documents: whose rows.
      end: of the part.
    """

    part: PartId
    documents: tuple[Relabelled, ...]
    end: PartEnd


def copy_part(corpus: CorpusView, copied: CopiedPart, row_group_bytes: int) -> PartSummary:
    """Write the rows of a part's documents again, with their new metadata.

    Args:
      corpus: the snapshot that the documents were found in.
      copied: the part.
      row_group_bytes: of vectors in a row group.

    Raises:
      CorpusError: if rows of a document are missing or damaged.
    """
    part, end = copied.part, copied.end
    rows = _CopiedRows(corpus, copied)
    files: dict[str, tuple[str, Part]] = {}
    for table in ("documents", *VECTOR_TABLES):
        path = f"segments/{part.segment_id}/{table}/part-{part.part:05d}.parquet"
        writer = TableWriter(corpus.store, path, rows.schema(table), row_group_bytes)
        try:
            for batch in rows.of(table):
                writer.write(batch)
            finished = writer.close(f"segments/{part.segment_id}")
        except BaseException:
            writer.abort()
            raise
        if finished.rows:
            files[table] = writer.temporary, finished
        else:  # such as a corpus without token vectors
            corpus.store.remove(writer.temporary)
    return PartSummary(
        part=part.part,
        files=files,
        counts={**rows.counts, "documents_planned": end.documents},
        segment_id=part.segment_id,
        segment_parts=end.segment_parts,
        supersede=dict(end.supersede),
    )


class _CopiedRows:
    """The rows of a part; `documents` is read first and says what the other tables must have.

    Args:
      corpus: where the rows are.
      copied: the part.

    Attributes:
      counts: of what was copied, as a segment's manifest has them.
    """

    def __init__(self, corpus: CorpusView, copied: CopiedPart) -> None:
        self.counts: Counter[str] = Counter(dict.fromkeys(COUNTS, 0))
        self._corpus = corpus
        self._part = copied.part
        self._named: dict[str, dict[str, Relabelled]] = {}
        for document in copied.documents:
            self._named.setdefault(document.segment_id, {})[document.doc_id] = document
        self._segments = [s for s in corpus.segments if s.segment_id in self._named]
        self._expected: dict[str, Counter[str]] = {}

    def schema(self, table: str) -> pa.Schema:
        """Return the schema of a table: that of all the segments, which have one recipe."""
        dtype = str(self._segments[0].options["vector_dtype"])
        return table_schema(table, dtype=dtype, dim=self._segments[0].dim)

    def of(self, table: str) -> Iterator[pa.RecordBatch]:
        """Yield the new rows of a table.

        Raises:
          CorpusError: if rows are missing, or a vector is not finite.
        """
        written = 0
        for segment in self._segments:
            found: Counter[str] = Counter()
            for batch in self._old_rows(segment, table):
                if table == "documents":
                    _count_documents(found, batch)
                    yield _with_metadata(batch, self._named[segment.segment_id])
                    continue
                self._check_vectors(segment, batch)
                _count_vectors(found, table, batch)
                yield self._renumbered(table, batch, written)
                written += batch.num_rows
            self._check_found(segment, table, found)

    def _old_rows(self, segment: Segment, table: str) -> Iterator[pa.RecordBatch]:
        wanted = pa.array(self._named[segment.segment_id], pa.string())
        for file in segment.parts.get(table, ()):
            path = f"segments/{segment.segment_id}/{file.path}"
            yield from scan_documents(self._corpus.store, path, wanted)

    def _renumbered(self, table: str, batch: pa.RecordBatch, written: int) -> pa.RecordBatch:
        first = first_vector_id(self._part.number, table, self._part.part) + written
        ids = pa.array(np.arange(first, first + batch.num_rows, dtype=np.int64))
        index = batch.schema.get_field_index("vector_id")
        return batch.set_column(index, batch.schema.field(index), ids)

    def _check_vectors(self, segment: Segment, batch: pa.RecordBatch) -> None:
        if not np.isfinite(vectors_of(batch, segment.dim)).all():
            raise self._damaged(segment, "a vector that is to be copied has NaN or infinity")

    def _check_found(self, segment: Segment, table: str, found: Counter[str]) -> None:
        """Compare what was found of a segment with what its documents have."""
        if table == "documents":
            self._expected[segment.segment_id] = found
            expected = Counter(documents=len(self._named[segment.segment_id]))
        elif table == "sentences":
            expected = self._expected[segment.segment_id]
        else:
            expected = Counter()  # which tokens are kept is not recorded of a document
        for name in {"documents": ("documents",), "sentences": ("sentences", "tokens")}.get(
            table, ()
        ):
            if found[name] != expected[name]:
                raise self._damaged(
                    segment,
                    f"{found[name]} {name} of the documents whose metadata changed were found,"
                    f" expected {expected[name]}",
                )
        if table != "sentences":
            self.counts.update(found)

    def _damaged(self, segment: Segment, fault: str) -> CorpusError:
        root = self._corpus.root
        return CorpusError(
            f"segment {segment.segment_id} of the corpus at {root} is damaged: {fault}; these"
            f" documents were not changed; run: sensegrep verify --corpus {root}"
        )


def _count_documents(found: Counter[str], batch: pa.RecordBatch) -> None:
    found["documents"] += batch.num_rows
    for name in ("sentences", "tokens", "characters"):
        found[name] += pc.sum(batch.column(name)).as_py()


def _count_vectors(found: Counter[str], table: str, batch: pa.RecordBatch) -> None:
    if table == "tokens":
        found["token_vectors"] += batch.num_rows
    else:
        found["sentences"] += batch.num_rows
        found["tokens"] += len(batch.column("tokens").flatten())


def _with_metadata(batch: pa.RecordBatch, named: Mapping[str, Relabelled]) -> pa.RecordBatch:
    documents = [named[doc_id] for doc_id in batch.column("doc_id").to_pylist()]
    new = {
        "uri": [document.uri for document in documents],
        "position": [document.position for document in documents],
        "metadata": [list(document.metadata.items()) for document in documents],
    }
    columns = [
        pa.array(new[field.name], field.type) if field.name in new else batch.column(field.name)
        for field in batch.schema
    ]
    return pa.RecordBatch.from_arrays(columns, schema=batch.schema)
