"""The settings, the report and the state of a stream."""

import threading
import time
from collections import Counter, deque
from dataclasses import dataclass, field

from pipelines.embed.options import EmbedOptions, ModelOptions
from pipelines.errors import UsageError
from pipelines.reading.options import InputOptions
from pipelines.reading.stream_batch import BatchLimits, Lag

_RATE_SECONDS = 60.0


@dataclass(frozen=True, kw_only=True)
class StreamOptions:
    """How a stream runs; none of it changes what a document's rows are.

    Attributes:
      every_seconds: a commit at the latest so long after the first record of a batch.
      until_idle_seconds: the stream ends when nothing came for so long; None: never.
      ahead: how far it reads ahead of what is committed.
      grace_seconds: for the last commit after a request to stop.
      max_reject_fraction: the stream fails when more of what it read was rejected.
      max_starts: starts without a new snapshot before it gives up.
      replace_source: read another source than the corpus's, from its beginning.
      accept_loss: go on although the source has lost records that were not read.
      row_group_bytes: vectors to a Parquet row group.
      wait: on an engine, look after the job until it ends; otherwise it is submitted and left.
    """

    every_seconds: float = 60.0
    until_idle_seconds: float | None = None
    ahead: BatchLimits = field(default_factory=lambda: BatchLimits(records=2000, bytes=64 << 20))
    grace_seconds: float = 20.0
    max_reject_fraction: float = 0.5
    max_starts: int = 5
    replace_source: bool = False
    accept_loss: bool = False
    row_group_bytes: int = 8 << 20
    wait: bool = True

    def __post_init__(self) -> None:
        if self.every_seconds <= 0:
            raise UsageError(f"--every is {self.every_seconds}s, expected more than 0s")
        if self.ahead.records < 1 or self.ahead.bytes < 1:
            raise UsageError("--ahead and --ahead-bytes must be at least 1")
        if not 0 <= self.max_reject_fraction <= 1:
            raise UsageError(
                f"--max-reject-fraction is {self.max_reject_fraction}, expected 0 to 1"
            )
        if self.max_starts < 1:
            raise UsageError(f"--max-starts is {self.max_starts}, expected at least 1")


@dataclass(frozen=True, kw_only=True)
class StreamJob:
    """All that a stream is asked for.

    Attributes:
      source: as `open_source` reads it.
      corpus: path or URL of the corpus.
      kafka_config: file of settings for Kafka's client.
      reading: how records become documents.
      model: which model, and where it runs.
      embedding: what rows are made of.
      running: how the stream runs.
      single_writer: nobody else writes to the corpus.
    """

    source: str
    corpus: str
    kafka_config: str | None = None
    reading: InputOptions = field(default_factory=InputOptions)
    model: ModelOptions = field(default_factory=ModelOptions)
    embedding: EmbedOptions = field(default_factory=EmbedOptions)
    running: StreamOptions = field(default_factory=StreamOptions)
    single_writer: bool = False


@dataclass(kw_only=True)
class StreamReport:
    """What a stream did; read = written + rejected + unchanged + replaced + deleted.

    Attributes:
      read: records read and accounted for.
      written: documents embedded and committed.
      changed: how many of them replaced an older version.
      rejected: records rejected; those recorded before included.
      unchanged: documents whose live version was the same.
      replaced: records that a later one of the same batch overtook.
      deleted: deletions.
      skipped: records delivered again after they were committed.
      rejected_sentences: of written documents.
      sentences: written.
      tokens: of these.
      reasons: how many new rejects for each reason.
      commits: snapshots made.
      snapshot: number of the newest one.
    """

    read: int = 0
    written: int = 0
    changed: int = 0
    rejected: int = 0
    unchanged: int = 0
    replaced: int = 0
    deleted: int = 0
    skipped: int = 0
    rejected_sentences: int = 0
    sentences: int = 0
    tokens: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    commits: int = 0
    snapshot: int = 0


class StopRequest:
    """A request to end: no more reading, a last commit, and that within the grace period."""

    def __init__(self, grace_seconds: float) -> None:
        self._grace_seconds = grace_seconds
        self._requested = threading.Event()
        self._deadline = float("inf")

    def request(self) -> None:
        """Ask for the end."""
        self._deadline = time.monotonic() + self._grace_seconds
        self._requested.set()

    @property
    def requested(self) -> bool:
        """Whether the end was asked for."""
        return self._requested.is_set()

    def is_overdue(self) -> bool:
        """Say whether the grace period is over."""
        return self.requested and time.monotonic() >= self._deadline

    def wait(self, seconds: float) -> bool:
        """Wait for the request; returns whether it came."""
        return self._requested.wait(seconds)


class StreamStatus:
    """Where a stream is, for the display of progress and for metrics; threads may read it."""

    def __init__(self) -> None:
        self.report = StreamReport()
        self.state = "starting"
        self.lag = Lag()
        self.restarts = 0
        self.committed_at: float | None = None
        self._written: deque[tuple[float, int]] = deque([(time.monotonic(), 0)])

    def count_written(self) -> None:
        """Note how many documents are written by now."""
        now = time.monotonic()
        self._written.append((now, self.report.written))
        while len(self._written) > 2 and now - self._written[1][0] > _RATE_SECONDS:
            self._written.popleft()

    @property
    def documents_per_second(self) -> float:
        """Documents committed a second, over the last minute or so."""
        (start, before), (_, after) = self._written[0], self._written[-1]
        return (after - before) / max(time.monotonic() - start, 1e-9)

    def describe(self, seconds: float) -> str:
        """Return where the stream is, in a line."""
        del seconds
        report, lag = self.report, self.lag
        return (
            f"{self.state}: {report.written:,} documents written,"
            f" {self.documents_per_second:,.1f} documents/s, lag {lag.records:,} records"
            f" {lag.seconds:,.0f} s, {report.rejected:,} rejects, snapshot {report.snapshot}"
        )
