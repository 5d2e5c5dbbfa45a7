"""The Arrow schemas of a corpus: documents, sentences, tokens, rejects, tombstones.

Offsets (`start`, `end`, `token_starts`) are code points into the document's text, end exclusive.
Tables are joined by `vector_id` or by (doc_id, sentence_index[, token_index]), never by row order.
"""

from typing import NamedTuple

import pyarrow as pa

TABLES = ("documents", "sentences", "tokens", "rejects")
VECTOR_TABLES = ("sentences", "tokens")

# vector_id = segment number * 2^40 + table bit * 2^39 + part * 2^25 + ordinal in the part.
SEGMENT_SHIFT = 40
TABLE_SHIFT = 39
PART_SHIFT = 25
MAX_SEGMENT_NUMBER = 2 ** (63 - SEGMENT_SHIFT) - 1
MAX_PARTS = 2 ** (TABLE_SHIFT - PART_SHIFT)
MAX_PART_ROWS = 2**PART_SHIFT


class SentenceKey(NamedTuple):
    """Names one sentence of a corpus; hashable, ordered by document and then by place."""

    doc_id: str
    sentence_index: int


def first_vector_id(segment_number: int, table: str, part: int) -> int:
    """Return the vector_id of ordinal 0 of one part of `sentences` or `tokens`.

    Raises:
      ValueError: if the table holds no vectors, or a number is outside its bits.
    """
    if table not in VECTOR_TABLES:
        raise ValueError(f"table {table!r} holds no vectors; expected one of {VECTOR_TABLES}")
    if not 0 < segment_number <= MAX_SEGMENT_NUMBER:
        raise ValueError(f"segment number {segment_number} is not in 1..{MAX_SEGMENT_NUMBER}")
    if not 0 <= part < MAX_PARTS:
        raise ValueError(f"part {part} is not in 0..{MAX_PARTS - 1}; write smaller segments")
    table_bit = VECTOR_TABLES.index(table)
    return (segment_number << SEGMENT_SHIFT) | (table_bit << TABLE_SHIFT) | (part << PART_SHIFT)


def table_of(vector_id: int) -> str:
    """Return which table a vector_id belongs to: sentences or tokens."""
    return VECTOR_TABLES[(vector_id >> TABLE_SHIFT) & 1]


def vector_type(dtype: str, dim: int) -> pa.DataType:
    """Return the Arrow type of a vector column: FixedSizeList<dtype, dim>.

    Raises:
      ValueError: if dtype is neither float16 nor float32, or dim is not positive.
    """
    if dtype not in ("float16", "float32"):
        raise ValueError(f"vector dtype {dtype!r} is unknown, expected float16 or float32")
    if dim < 1:
        raise ValueError(f"vector width is {dim}, expected at least 1")
    value = pa.float16() if dtype == "float16" else pa.float32()
    return pa.list_(pa.field("element", value, nullable=False), dim)


DOCUMENTS = pa.schema(
    [
        pa.field("doc_id", pa.string(), nullable=False),
        pa.field("sha256", pa.string(), nullable=False),  # of the text's UTF-8 bytes, hex
        pa.field("uri", pa.string(), nullable=False),  # the file it came from
        pa.field("position", pa.int64(), nullable=False),  # byte offset or row in that file
        pa.field("metadata", pa.map_(pa.string(), pa.string()), nullable=False),
        pa.field("characters", pa.int64(), nullable=False),  # code points of the text
        pa.field("sentences", pa.int32(), nullable=False),  # rows written to sentences
        pa.field("tokens", pa.int64(), nullable=False),  # tokens of those, whatever was kept
        pa.field("rejected_sentences", pa.int32(), nullable=False),
    ]
)

REJECTS = pa.schema(
    [
        pa.field("uri", pa.string(), nullable=False),
        pa.field("position", pa.int64(), nullable=False),  # byte offset or row of the record
        pa.field("stage", pa.string(), nullable=False),  # read | select | tokenize | embed
        pa.field("reason", pa.string(), nullable=False),  # a short name, such as invalid-json
        pa.field("detail", pa.string(), nullable=False),  # what was found, what was expected
        pa.field("doc_id", pa.string()),  # null where the record has none
        pa.field("sentence_index", pa.int32()),  # null where a whole record was rejected
        pa.field("raw", pa.string(), nullable=False),  # the start of the record
    ]
)

TOMBSTONES = pa.schema(
    [
        pa.field("segment_id", pa.string(), nullable=False),
        pa.field("doc_id", pa.string(), nullable=False),
    ]
)


def sentences_schema(dtype: str, dim: int) -> pa.Schema:
    """Return the schema of `sentences`; one row a sentence, `vector` of `dim` numbers.

    `token_starts` are code points into the document's text and each token is that stretch of it.
    `attention` is the weight of each token in the sentence's vector and sums to 1.
    `cut` says that the sentence was cut at the length limit and goes on in the next row.
    """
    return pa.schema(
        [
            pa.field("vector_id", pa.int64(), nullable=False),
            pa.field("doc_id", pa.string(), nullable=False),
            pa.field("sentence_index", pa.int32(), nullable=False),
            pa.field("start", pa.int64(), nullable=False),
            pa.field("end", pa.int64(), nullable=False),
            pa.field("text", pa.string(), nullable=False),
            pa.field("tokens", pa.list_(pa.string()), nullable=False),
            pa.field("token_starts", pa.list_(pa.int64()), nullable=False),
            pa.field("attention", pa.list_(pa.float32()), nullable=False),
            pa.field("cut", pa.bool_(), nullable=False),
            pa.field("vector", vector_type(dtype, dim), nullable=False),
        ]
    )


def tokens_schema(dtype: str, dim: int) -> pa.Schema:
    """Return the schema of `tokens`; one row a token, `vector` of `dim` numbers."""
    return pa.schema(
        [
            pa.field("vector_id", pa.int64(), nullable=False),
            pa.field("doc_id", pa.string(), nullable=False),
            pa.field("sentence_index", pa.int32(), nullable=False),
            pa.field("token_index", pa.int32(), nullable=False),
            pa.field("start", pa.int64(), nullable=False),
            pa.field("end", pa.int64(), nullable=False),
            pa.field("token", pa.string(), nullable=False),
            pa.field("vector", vector_type(dtype, dim), nullable=False),
        ]
    )


def table_schema(table: str, *, dtype: str, dim: int) -> pa.Schema:
    """Return the schema of one of TABLES.

    Raises:
      ValueError: if there is no such table.
    """
    if table == "documents":
        return DOCUMENTS
    if table == "sentences":
        return sentences_schema(dtype, dim)
    if table == "tokens":
        return tokens_schema(dtype, dim)
    if table == "rejects":
        return REJECTS
    raise ValueError(f"there is no table {table!r}; expected one of {', '.join(TABLES)}")
