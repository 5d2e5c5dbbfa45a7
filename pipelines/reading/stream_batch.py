"""The batches of a stream, and the positions of its source."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from pipelines.errors import CorpusError
from pipelines.reading.documents import Document
from pipelines.reading.messages import Message


class RecordsLost(CorpusError):
    """The source has no more what was not read yet."""


class SourceUnavailable(CorpusError):
    """The source does not answer, or is not there; it may come back."""


@dataclass(frozen=True, slots=True)
class Mark:
    """What a source remembers of one file or document, beyond its positions.

    Attributes:
      value: version of the file, or id of the message; empty for what is to be forgotten.
      position: next record of the file, or time of the message in microseconds.
    """

    value: str
    position: int = 0


@dataclass(frozen=True, slots=True)
class Lag:
    """What a source still has.

    Attributes:
      records: not read yet, as far as the source can tell; files that wait count one each.
      seconds: age of the oldest of them; 0 if there is none.
    """

    records: int = 0
    seconds: float = 0.0


@dataclass(kw_only=True)
class StreamBatch:
    """Records of a source, in its order, and what they account for.

    Attributes:
      records: documents, deletions and rejects; those of one partition in its order.
      ranges: for each partition read the positions [from, to).
      origins: where partitions begin that were not known before.
      marks: what the source is to remember once the batch is committed.
      bytes: of the records, about.
      skipped: records that were accounted for before, such as redelivered messages.
    """

    records: list[Message] = field(default_factory=list)
    ranges: dict[str, tuple[int, int]] = field(default_factory=dict)
    origins: dict[str, int] = field(default_factory=dict)
    marks: dict[str, Mark] = field(default_factory=dict)
    bytes: int = 0
    skipped: int = 0

    def add(self, message: Message, size: int) -> None:
        """Add a record of about so many bytes."""
        self.records.append(message)
        self.bytes += size

    def cover(self, partition: str, start: int, end: int) -> None:
        """Account for the positions [start, end) of a partition, which follow those before."""
        first, last = self.ranges.get(partition, (start, start))
        if start != last:
            raise RuntimeError(
                f"partition {partition} was read up to {last} and then from {start}; expected no"
                " gap"
            )
        if end > first:
            self.ranges[partition] = (first, end)

    def is_full(self, limits: "BatchLimits") -> bool:
        """Say whether no more is to be read before this is committed."""
        return len(self.records) >= limits.records or self.bytes >= limits.bytes


@dataclass(frozen=True, kw_only=True)
class BatchLimits:
    """How far a stream reads ahead of what is committed.

    Attributes:
      records: most records of a batch.
      bytes: most bytes of a batch; one record may be larger.
    """

    records: int
    bytes: int


class Source(Protocol):
    """A source without end.

    Attributes:
      source_id: names it; a corpus has one.
      acknowledges: `committed` tells the source that all that was read may be forgotten.
    """

    source_id: str
    acknowledges: bool

    def start(self, positions: Mapping[str, int], marks: Mapping[str, Mark]) -> dict[str, int]:
        """Go on after these positions; returns the positions of all partitions there are.

        Raises:
          UsageError: if the source may not be read.
          SourceUnavailable: if it does not answer.
          RecordsLost: if it has lost what was not read yet.
        """

    def fill(self, batch: StreamBatch, limits: BatchLimits, seconds: float) -> bool:
        """Add what comes within so many seconds; returns whether anything came."""

    def committed(self) -> None:
        """Take note that all that was read is committed."""

    def lag(self) -> Lag:
        """Return what is not read yet."""

    def close(self) -> None:
        """End reading."""


def size_of(message: Message) -> int:
    """Return about how many bytes of memory a record takes."""
    if not isinstance(message, Document):
        return 200
    fields = sum(len(name) + len(value) for name, value in message.metadata.items())
    return 200 + len(message.text) + fields
