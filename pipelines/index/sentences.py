"""A shard's tables of documents and lines, and the exact index of its sentence vectors."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.lib import format as npy
from numpy.typing import NDArray

from pipelines.corpus.scan import vectors_of
from pipelines.index.centering import Centering
from pipelines.index.exact import flat_header
from pipelines.index.files import FinalFile
from pipelines.index.format import DOCUMENTS, LINE_BATCH_ROWS, LINES
from pipelines.index.parts import (
    Build,
    PartRef,
    ShardFiles,
    ShardLayout,
    document_numbers,
    read_part,
)


def write_documents(shard: str, build: Build, layout: dict[str, ShardLayout]) -> ShardFiles:
    """Write a shard's table of documents."""
    target = FinalFile(build, f"{shard}-documents.arrow")
    with _FixedBatches(target, DOCUMENTS) as writer:
        for part in _table_parts(layout[shard], "documents"):
            for batch in read_part(build.corpus, part, ["doc_id", "metadata"]):
                segment_ids = pa.array([part.segment_id] * batch.num_rows, pa.string())
                columns = [segment_ids, batch.column("doc_id"), batch.column("metadata")]
                writer.write(pa.table(columns, schema=DOCUMENTS))
    return ShardFiles(shard=shard, files={"documents": target.finish()})


def write_sentences(
    shard: str, build: Build, layout: dict[str, ShardLayout], centering: Centering
) -> ShardFiles:
    """Write a shard's lines, their lengths, and the exact index of their sentence vectors.

    All are in the same order.
    """
    rows = layout[shard].rows["sentences"]
    lines = FinalFile(build, f"{shard}-lines.arrow")
    vectors = FinalFile(build, f"{shard}-sentences.faiss")
    vectors.writer.write(flat_header(rows, build.dim, build.dtype))
    lengths = FinalFile(build, f"{shard}-lengths.npy")
    npy.write_array_header_1_0(
        lengths.writer, {"descr": "<i4", "fortran_order": False, "shape": (rows,)}
    )
    wanted = [name for name in LINES.names if name != "document"]
    with _FixedBatches(lines, LINES) as writer:
        for part in _table_parts(layout[shard], "sentences"):
            documents = _DocumentNumbers(part, build, layout[shard])
            for batch in read_part(build.corpus, part, [*wanted, "doc_id", "vector"]):
                numbers = documents(batch.column("doc_id"))
                writer.write(_lines(batch, numbers))
                centered = centering.apply(vectors_of(batch, build.dim))
                vectors.writer.write(centered.astype(build.dtype).tobytes())
                counts = pc.list_value_length(batch.column("tokens")).to_numpy()
                lengths.writer.write(counts.astype("<i4").tobytes())
    files = {"lines": lines.finish(), "sentences": vectors.finish(), "lengths": lengths.finish()}
    return ShardFiles(shard=shard, files=files)


class _FixedBatches:
    """Writes an Arrow file whose batches all have LINE_BATCH_ROWS rows, except the last.

    So row r is row r % LINE_BATCH_ROWS of batch r // LINE_BATCH_ROWS, without reading the others.
    """

    def __init__(self, target: FinalFile, schema: pa.Schema) -> None:
        self._writer = pa.ipc.new_file(pa.PythonFile(target.writer, "w"), schema)
        self._held = schema.empty_table()

    def __enter__(self) -> "_FixedBatches":
        return self

    def write(self, table: pa.Table) -> None:
        self._held = pa.concat_tables([self._held, table])
        full = len(self._held) // LINE_BATCH_ROWS * LINE_BATCH_ROWS
        if full:
            # Combined first, or batches would end where the tables put together do.
            combined = self._held.slice(0, full).combine_chunks()
            self._writer.write_table(combined, LINE_BATCH_ROWS)
            self._held = self._held.slice(full)

    def __exit__(self, *error: object) -> None:
        if error[0] is None and len(self._held):
            self._writer.write_table(self._held.combine_chunks())
        self._writer.close()


class _DocumentNumbers:
    """Document numbers of a part's sentences, looked up once per part."""

    def __init__(self, part: PartRef, build: Build, shard: ShardLayout) -> None:
        doc_ids = [b.column("doc_id") for b in read_part(build.corpus, part, ["doc_id"], 65536)]
        self._known = pc.unique(pa.chunked_array(doc_ids, pa.string())) if doc_ids else None
        self._numbers = (
            None if self._known is None else document_numbers(self._known, part, build, shard)
        )

    def __call__(self, doc_ids: pa.Array) -> NDArray[np.int64]:
        assert self._numbers is not None
        return self._numbers[pc.index_in(doc_ids, value_set=self._known).to_numpy()]


def _lines(batch: pa.RecordBatch, documents: NDArray[np.int64]) -> pa.Table:
    columns = [
        pa.array(documents, pa.int32()) if name == "document" else batch.column(name)
        for name in LINES.names
    ]
    return pa.table(columns, schema=LINES)


def _table_parts(shard: ShardLayout, table: str) -> list[PartRef]:
    return [part for part in shard.first if part.table == table]
