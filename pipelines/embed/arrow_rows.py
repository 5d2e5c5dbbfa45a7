"""Turn batches into rows of the corpus's tables."""

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.embed.batch import EmbeddedBatch
from pipelines.reading.documents import Reject
from schemas import DOCUMENTS, REJECTS, first_vector_id, sentences_schema, tokens_schema


def sentence_rows(embedded: EmbeddedBatch, dtype: str) -> pa.RecordBatch:
    """Return the rows of `sentences` of one batch."""
    sentences = embedded.batch.sentences
    _, number, part = embedded.batch.part
    first = first_vector_id(number, "sentences", part)
    schema = sentences_schema(dtype, embedded.sentence_vectors.shape[1])
    lengths = [len(sentence.tokens) for sentence in sentences]
    offsets = pa.array(np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32))
    tokens = [token for sentence in sentences for token in sentence.tokens]
    starts = [start for sentence in sentences for start in sentence.token_starts]
    columns = [
        pa.array([first + s.ordinal for s in sentences], pa.int64()),
        pa.array([s.doc_id for s in sentences], pa.string()),
        pa.array([s.sentence_index for s in sentences], pa.int32()),
        pa.array([s.start for s in sentences], pa.int64()),
        pa.array([s.end for s in sentences], pa.int64()),
        pa.array([s.text for s in sentences], pa.string()),
        pa.ListArray.from_arrays(offsets, pa.array(tokens, pa.string())),
        pa.ListArray.from_arrays(offsets, pa.array(starts, pa.int64())),
        pa.ListArray.from_arrays(offsets, pa.array(embedded.attention, pa.float32())),
        pa.array([s.cut for s in sentences], pa.bool_()),
        _vectors(embedded.sentence_vectors, schema.field("vector").type),
    ]
    return pa.RecordBatch.from_arrays(_typed(columns, schema), schema=schema)


def token_rows(
    embedded: EmbeddedBatch, dtype: str, keep: Callable[[str], bool] | None
) -> pa.RecordBatch:
    """Return the rows of `tokens` of one batch.

    Args:
      embedded: the batch.
      dtype: of the stored vectors.
      keep: says of a token whether its vector is stored; None keeps all.
    """
    sentences = embedded.batch.sentences
    kept: list[int] = []  # index in its sentence of each token kept
    texts: list[str] = []
    starts: list[int] = []
    counts = []
    for sentence in sentences:
        tokens = sentence.tokens
        chosen = [i for i, token in enumerate(tokens) if keep is None or keep(token)]
        kept += chosen
        texts += [tokens[i] for i in chosen]
        starts += [sentence.token_starts[i] for i in chosen]
        counts.append(len(chosen))
    # Of each kept token its sentence in the batch; what is the sentence's is taken by it.
    owner = np.repeat(np.arange(len(sentences)), counts)
    indices = np.array(kept, dtype=np.int64)
    lengths = [len(sentence.tokens) for sentence in sentences]
    rows = indices + (np.cumsum(lengths) - lengths)[owner]
    first_tokens = np.array([sentence.first_token for sentence in sentences], dtype=np.int64)
    _, number, part = embedded.batch.part
    first = first_vector_id(number, "tokens", part)
    schema = tokens_schema(dtype, embedded.token_vectors.shape[1])
    begins, words = pa.array(starts, pa.int64()), pa.array(texts, pa.string())
    columns = [
        pa.array(first + first_tokens[owner] + indices, pa.int64()),
        pa.array([sentence.doc_id for sentence in sentences], pa.string()).take(pa.array(owner)),
        pa.array([sentence.sentence_index for sentence in sentences], pa.int32()).take(
            pa.array(owner)
        ),
        pa.array(indices.astype(np.int32)),
        begins,
        pc.add(begins, pc.cast(pc.utf8_length(words), pa.int64())),
        words,
        _vectors(embedded.token_vectors[rows], schema.field("vector").type),
    ]
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def document_rows(rows: list[dict[str, Any]]) -> pa.RecordBatch:
    """Return rows of `documents`."""
    return pa.RecordBatch.from_pylist(
        [{**row, "metadata": list(row["metadata"].items())} for row in rows], schema=DOCUMENTS
    )


def reject_rows(rejects: Iterable[Reject]) -> pa.RecordBatch:
    """Return rows of `rejects`."""
    names = REJECTS.names
    rows = [{name: getattr(reject, name) for name in names} for reject in rejects]
    return pa.RecordBatch.from_pylist(rows, schema=REJECTS)


def _vectors(vectors: npt.NDArray[np.floating], column: pa.DataType) -> pa.Array:
    flat = pa.array(np.ascontiguousarray(vectors).reshape(-1), column.value_type)
    return pa.FixedSizeListArray.from_arrays(flat, type=column)


def _typed(columns: list[pa.Array], schema: pa.Schema) -> list[pa.Array]:
    return [c.cast(f.type) if c.type != f.type else c for c, f in zip(columns, schema, strict=True)]
