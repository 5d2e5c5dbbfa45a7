"""The part of a snapshot about its stream: the source, and the positions read."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import pyarrow as pa

# Rows of the files under streams/: what a source knows beyond its positions. A later row of a key
# replaces an earlier one; an empty value removes it.
STREAM_MARKS = pa.schema(
    [
        pa.field("key", pa.string(), nullable=False),  # a file, or a document's id
        pa.field("value", pa.string(), nullable=False),  # version of the file; id of the message
        pa.field("position", pa.int64(), nullable=False),  # next record; microseconds since 1970
    ]
)


@dataclass(frozen=True, kw_only=True)
class StreamEntry:
    """How far a stream was read; stands in the snapshot that holds what was read.

    Attributes:
      source_id: names the source; a corpus has one.
      epoch: rises with each start of a stream; a writer of an older epoch commits no more.
      positions: for each partition of the source what is read next.
      marks: paths, relative to the corpus, of files of STREAM_MARKS rows, oldest first.
      owner: the process that streams: {"machine", "process", "started"}.
      lag: when this was committed: {"records": not read yet, "seconds": age of the oldest}.
    """

    source_id: str
    epoch: int
    positions: Mapping[str, int] = field(default_factory=dict)
    marks: tuple[str, ...] = ()
    owner: Mapping[str, Any] = field(default_factory=dict)
    lag: Mapping[str, float] = field(default_factory=dict)

    def to_fields(self) -> dict[str, Any]:
        """Return what stands in a snapshot's JSON."""
        return {**asdict(self), "marks": list(self.marks)}

    @classmethod
    def from_fields(cls, fields: Mapping[str, Any]) -> "StreamEntry":
        """Read what `to_fields` made.

        Raises:
          KeyError, TypeError, ValueError: if it is something else.
        """
        positions = {str(name): int(at) for name, at in fields["positions"].items()}
        entry = cls(**{**fields, "positions": positions, "marks": tuple(fields["marks"])})
        if not isinstance(entry.source_id, str) or not isinstance(entry.epoch, int):
            raise TypeError("source_id must be a string and epoch an integer")
        return entry
