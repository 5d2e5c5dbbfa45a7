"""The data on disk: Arrow schemas, manifests and their checks."""

from schemas.checks import check_schema, check_table
from schemas.fields import check_fields
from schemas.manifest import (
    SCHEMA_VERSION,
    SNAPSHOT_VERSION,
    ManifestError,
    Part,
    PartSummary,
    Segment,
    Snapshot,
)
from schemas.stream import STREAM_MARKS, StreamEntry
from schemas.tables import (
    DOCUMENTS,
    REJECTS,
    SEGMENT_SHIFT,
    TABLES,
    TOMBSTONES,
    VECTOR_TABLES,
    SentenceKey,
    first_vector_id,
    sentences_schema,
    table_of,
    table_schema,
    tokens_schema,
    vector_type,
)

__all__ = [
    "DOCUMENTS",
    "REJECTS",
    "SCHEMA_VERSION",
    "SEGMENT_SHIFT",
    "SNAPSHOT_VERSION",
    "STREAM_MARKS",
    "TABLES",
    "TOMBSTONES",
    "VECTOR_TABLES",
    "ManifestError",
    "Part",
    "PartSummary",
    "Segment",
    "SentenceKey",
    "Snapshot",
    "StreamEntry",
    "check_fields",
    "check_schema",
    "check_table",
    "first_vector_id",
    "sentences_schema",
    "table_of",
    "table_schema",
    "tokens_schema",
    "vector_type",
]
