"""Read a stream's source in a worker of an engine, a bounded way ahead of what is committed.

The reader looks at the newest snapshot for what is committed; beside the source it needs nothing
but the corpus. A reader that is begun anew takes a new epoch, so that what an earlier one read and
what is still on its way through the engine is dropped.
"""

import logging
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, replace

from pipelines.corpus.store import Store
from pipelines.corpus.view import CorpusView
from pipelines.embed.jobs.stream_commit import claim_stream, fenced
from pipelines.embed.jobs.stream_job import StreamJob, StreamReport
from pipelines.embed.jobs.streaming import check_reject_fraction
from pipelines.embed.remarks import Remarks, first_of_each_kind
from pipelines.embed.stream_documents import BatchChoice, StreamDocuments, choose
from pipelines.errors import CorpusError
from pipelines.reading.sources import open_source
from pipelines.reading.stream_batch import BatchLimits, Lag, StreamBatch

logger = logging.getLogger(__name__)

FILL_SECONDS = 0.5
# A batch that is not committed for so long was lost; the stream begins again from the corpus.
STALL_SECONDS = 1800.0


@dataclass(frozen=True, kw_only=True)
class ReadBatch:
    """A batch on its way from the reader to a worker that embeds it.

    Attributes:
      epoch: of the reader.
      batch: what it accounts for; its records are in `choice`.
      choice: what is to be embedded.
      lag: of the source after it was read.
    """

    epoch: int
    batch: StreamBatch
    choice: BatchChoice
    lag: Lag


@dataclass(frozen=True)
class _Pending:
    """A batch that was read and is not committed."""

    ranges: Mapping[str, tuple[int, int]]
    ids: frozenset[str]
    records: int
    bytes: int
    since: float


class StreamReader:
    """Reads the source of one job; it takes the stream over with a new epoch.

    Args:
      job: what is asked for.
      store: of the corpus.
      job_id: names the job in the snapshot's entry, as its launcher has written it.
      recipe: digest of the rows' recipe.

    Raises:
      StreamFenced: if the newest snapshot names another job.
      RecordsLost, SourceUnavailable, UsageError: as the source does.
    """

    def __init__(self, job: StreamJob, store: Store, job_id: str, recipe: str) -> None:
        self._options, self._store, self._job_id = job.running, store, job_id
        corpus = CorpusView.newest(store)
        entry = corpus.snapshot.stream
        if entry is None or entry.owner.get("job") != job_id:
            raise CorpusError(
                f"the corpus at {corpus.root} is not fed by this job: another stream took over, or"
                " this worker sees another corpus; give the corpus by a URL that all of them see"
            )
        source = open_source(job.source, job.reading, job.kafka_config, job.running.accept_loss)
        try:
            self._entry, self._corpus = claim_stream(
                corpus, source, entry.owner, replace_source=job.running.replace_source
            )
        except BaseException:
            source.close()
            raise
        self._source = source
        self._known = StreamDocuments(self._corpus, recipe)
        self._remarks = Remarks(job.embedding.language_of_texts)
        ahead = job.running.ahead
        # Half of what may be ahead: one batch is read while another is embedded.
        self._limits = BatchLimits(records=max(1, ahead.records // 2), bytes=ahead.bytes // 2 or 1)
        self._pending: deque[_Pending] = deque()
        self._report = StreamReport()
        self._batch = StreamBatch()
        self._began: float | None = None
        self._came = time.monotonic()
        self._ending = self.done = self._waits = False

    def next(self, seconds: float) -> ReadBatch | None:
        """Read on for so many seconds; returns a batch as soon as one is full or due.

        After a request to stop, and when the source is idle, what was read is returned; once that
        is committed too the reader is `done`.

        Raises:
          StreamFenced: if another stream took over.
          CorpusError: if a batch was lost on its way.
        """
        until = time.monotonic() + seconds
        while True:
            self._take_stock()
            if self._fill(min(FILL_SECONDS, seconds)):
                return self._emit()
            if self._ending and not self._pending and not self._batch.ranges:
                self.done = True
            if self.done or time.monotonic() >= until:
                return None

    def close(self) -> None:
        """Leave the source."""
        self._source.close()

    def _take_stock(self) -> None:
        """See what is committed by now, and whether the end was asked for."""
        corpus = self._corpus.refresh()
        if corpus.snapshot.number != self._corpus.snapshot.number:
            entry = corpus.snapshot.stream
            if entry is None or entry.epoch != self._entry.epoch:
                raise fenced(self._entry, corpus)
            self._known.refresh(corpus)
            self._corpus, self._entry = corpus, entry
        positions, had = self._entry.positions, len(self._pending)
        while self._pending and all(
            positions.get(name, -1) >= end for name, (_, end) in self._pending[0].ranges.items()
        ):
            self._pending.popleft()
        if had and not self._pending:
            self._source.committed()
        if self._pending and time.monotonic() - self._pending[0].since > STALL_SECONDS:
            raise CorpusError(
                f"a batch of {dict(self._pending[0].ranges)} was read {STALL_SECONDS:.0f} s ago and"
                " is not committed: the engine lost it, or is too slow; start the stream again,"
                " with more workers or a smaller --ahead"
            )
        self._ending = self._ending or self._store.exists(stop_path(self._job_id))

    def _fill(self, seconds: float) -> bool:
        """Read what there is room for; returns whether the batch is to be embedded now."""
        batch, options, now = self._batch, self._options, time.monotonic()
        if not self._ending and self._has_room():
            self._waits = False
            came = self._source.fill(batch, self._limits, seconds)
            now = time.monotonic()
            if came:
                self._came = now
            if batch.ranges and self._began is None:
                self._began = now
        else:
            if not (self._ending or self._waits):
                logger.info("waiting for commits: %d batches are on their way", len(self._pending))
            self._waits = True
            time.sleep(min(seconds, 0.1))
        nothing = not (batch.ranges or self._pending or self._source.lag().records)
        idle = options.until_idle_seconds
        if idle is not None and nothing and now - self._came >= idle:
            self._ending = True
        due = self._began is not None and now - self._began >= options.every_seconds
        return bool(batch.ranges) and (due or self._ending or batch.is_full(self._limits))

    def _has_room(self) -> bool:
        if self._source.acknowledges and self._pending:
            return False  # what `committed` acknowledges is all that was read
        ahead, limits = self._options.ahead, self._limits
        records = sum(each.records for each in self._pending)
        held = sum(each.bytes for each in self._pending)
        return not self._pending or (
            records + limits.records <= ahead.records and held + limits.bytes <= ahead.bytes
        )

    def _emit(self) -> ReadBatch:
        batch, self._batch, self._began = self._batch, StreamBatch(), None
        self._came = time.monotonic()
        # Of these another version is on its way; what the snapshot says of them is old.
        pending = frozenset().union(*(each.ids for each in self._pending))
        choice = choose(batch.records, self._known, pending)
        for document in choice.documents:
            for words in first_of_each_kind(list(self._remarks.of(document))):
                logger.warning("%s", words)
        check_reject_fraction(self._report, choice, self._options.max_reject_fraction)
        self._report.read += choice.read
        self._report.rejected += choice.rejected
        self._report.reasons += choice.reasons
        ids = frozenset((*(document.doc_id for document in choice.documents), *choice.deletions))
        self._pending.append(
            _Pending(batch.ranges, ids, len(batch.records), batch.bytes, time.monotonic())
        )
        lag = self._source.lag()
        return ReadBatch(
            epoch=self._entry.epoch, batch=replace(batch, records=[]), choice=choice, lag=lag
        )


def stop_path(job_id: str) -> str:
    """Return the file of a corpus that asks the reader of a job to end."""
    return f"jobs/{job_id}/stop"
