"""A stream in this process: read a batch, embed it, commit it with its positions, repeat.

The corpus is the only truth: a start reads the positions from the newest snapshot, so that a stream
killed at any moment and started again neither loses nor doubles a document.
"""

import logging
import time
from collections.abc import Callable
from dataclasses import replace

from pipelines.corpus.commits import reserve_segment
from pipelines.corpus.stream_owner import is_running_here, this_process
from pipelines.corpus.view import CorpusView
from pipelines.corpus.writers import running_writer
from pipelines.embed.compatibility import check_recipe, fit_rules
from pipelines.embed.inference import load_model
from pipelines.embed.jobs.stream_commit import (
    StreamCommitter,
    StreamFenced,
    WrittenBatch,
    claim_stream,
    written_batch,
)
from pipelines.embed.jobs.stream_job import StopRequest, StreamJob, StreamReport, StreamStatus
from pipelines.embed.recipe import make_recipe
from pipelines.embed.record_segments import Interrupted, RecordEmbedder
from pipelines.embed.remarks import Remarks, first_of_each_kind
from pipelines.embed.stream_documents import BatchChoice, StreamDocuments, choose
from pipelines.errors import CorpusError, UsageError
from pipelines.reading.sources import open_source
from pipelines.reading.stream_batch import RecordsLost, Source, StreamBatch
from schemas import Segment

logger = logging.getLogger(__name__)

POLL_SECONDS = 0.5
# Before so many records were read, a share of rejects says nothing.
_LEAST_RECORDS = 100
MAX_PAUSE_SECONDS = 60.0


def stream(
    job: StreamJob,
    stop: StopRequest,
    status: StreamStatus,
    announce: Callable[[str], None] = lambda _: None,
) -> StreamReport:
    """Keep a corpus up to date until `stop` or, with `until_idle_seconds`, nothing comes.

    What fails is begun again from the corpus, after a pause that doubles each time; after
    `max_starts` starts without a new snapshot the last failure is raised.

    Args:
      job: what is asked for.
      stop: ends the stream after a last commit.
      status: kept up to date.
      announce: told the device and dtype once the model is loaded.

    Raises:
      UsageError, ValueError, FileNotFoundError: before anything is read, if the job is impossible.
      StreamFenced: if another stream took over.
      RecordsLost: if the source has lost what was not read yet.
    """
    embedder: RecordEmbedder | None = None

    def run() -> None:
        nonlocal embedder
        source = open_source(job.source, job.reading, job.kafka_config, job.running.accept_loss)
        try:
            corpus = check_corpus(job, source)
            embedder = embedder or _embedder(job, corpus, stop, announce)
            _StreamRun(job, source, embedder, stop, status).run()
        finally:
            source.close()

    supervise(run, job.running.max_starts, stop, status)
    return status.report


def supervise(
    run: Callable[[], None], max_starts: int, stop: StopRequest, status: StreamStatus
) -> None:
    """Run a stream to its end; what fails is begun again after a pause that doubles each time.

    Args:
      run: one start of the stream.
      max_starts: starts without a new snapshot before the last failure is raised.
      stop: ends the stream.
      status: tells how many snapshots were made.

    Raises:
      UsageError: as `run` does, or for an OSError or CorpusError before the stream ever began.
      StreamFenced, RecordsLost: as `run` does; beginning again would not help.
      RuntimeError: if it was given up.
    """
    fruitless = 0
    while True:
        before = status.report.commits
        try:
            run()
            return
        except (UsageError, StreamFenced, RecordsLost):
            raise
        except Exception as error:  # clients of stores have errors of their own
            if not status.report.snapshot:  # it never began, and trying again would not help
                if isinstance(error, OSError | CorpusError):
                    raise UsageError(str(error)) from error
                raise
            fruitless = 1 if status.report.commits > before else fruitless + 1
            if stop.requested or fruitless >= max_starts:
                raise _given_up(error, fruitless) from error
            pause = min(2.0 ** (fruitless - 1), MAX_PAUSE_SECONDS)
            status.state, status.restarts = "failed, starting again", status.restarts + 1
            logger.warning("the stream failed and starts again in %g s: %s", pause, error)
        stop.wait(pause)


def _given_up(error: Exception, starts: int) -> RuntimeError:
    return RuntimeError(
        f"the stream was given up after {starts} starts without a new snapshot, the last of which"
        f" failed with: {error}"
    )


def check_corpus(job: StreamJob, source: Source) -> CorpusView:
    """Check that a source may feed a corpus; returns the corpus.

    Raises:
      UsageError: if another source feeds it, or another process streams into it on this machine.
      CorpusError: if it cannot be written safely.
    """
    try:
        corpus = CorpusView.open_or_create(job.corpus, single_writer=job.single_writer)
        corpus.store.check_can_commit()
    except OSError as error:
        raise CorpusError(
            f"the corpus at {job.corpus} cannot be read: {error}; check the path and the"
            " permissions"
        ) from error
    entry = corpus.snapshot.stream
    if entry is None:
        return corpus
    if entry.source_id != source.source_id and not job.running.replace_source:
        raise UsageError(
            f"the corpus at {job.corpus} is fed by {entry.source_id}, not by {source.source_id};"
            " give that source, or another corpus, or --replace-source to read the new one from"
            " its beginning (what is in the corpus stays)"
        )
    if is_running_here(entry.owner):
        raise UsageError(
            f"another stream (process {entry.owner['process']}) feeds the corpus at {job.corpus};"
            " stop it first: if both ran, the older one would fail"
        )
    return corpus


def _embedder(
    job: StreamJob, corpus: CorpusView, stop: StopRequest, announce: Callable[[str], None]
) -> RecordEmbedder:
    tokenizer, remark = fit_rules(job.embedding.make_tokenizer(), corpus)
    if remark is not None:
        logger.warning("%s", remark)
    model = load_model(job.model)
    asked = replace(job.model, dtype=model.dtype)
    recipe = make_recipe(model, asked, job.embedding, tokenizer)
    check_recipe(recipe, corpus)
    announce(f"{model.device}, {model.dtype}")
    return RecordEmbedder(
        store=corpus.store,
        model=model,
        recipe=recipe,
        tokenizer=tokenizer,
        max_tokens_per_batch=job.model.max_tokens_per_batch,
        row_group_bytes=job.running.row_group_bytes,
        give_up=stop.is_overdue,
    )


class _StreamRun:
    """One start of a stream: from the positions in the corpus to its end or failure."""

    def __init__(
        self,
        job: StreamJob,
        source: Source,
        embedder: RecordEmbedder,
        stop: StopRequest,
        status: StreamStatus,
    ) -> None:
        self._options = job.running
        self._source = source
        self._embedder = embedder
        self._stop = stop
        self._status = status
        self._corpus = check_corpus(job, source)
        entry, self._corpus = claim_stream(
            self._corpus, source, this_process(), replace_source=self._options.replace_source
        )
        status.report.snapshot = self._corpus.snapshot.number
        self._known = StreamDocuments(self._corpus, embedder.recipe.digest)
        self._committer = StreamCommitter(self._corpus, entry, self._known)
        self._remarks = Remarks(job.embedding.language_of_texts)
        self._idle = False

    def run(self) -> None:
        """Read, embed and commit until the end."""
        while not (self._stop.requested or self._idle):
            batch = self._gather()
            if not batch.ranges:
                continue
            try:
                self._take(batch)
            except Interrupted:
                logger.warning(
                    "the grace period ended before the last %d records were embedded; they are"
                    " read again at the next start",
                    len(batch.records),
                )

    def _gather(self) -> StreamBatch:
        """Read until the batch is full or due, or nothing came for long enough."""
        batch, options = StreamBatch(), self._options
        began, last = None, time.monotonic()
        self._status.state = "reading"
        while not self._stop.requested:
            came = self._source.fill(batch, options.ahead, POLL_SECONDS)
            now = time.monotonic()
            self._status.lag = self._source.lag()
            if came:
                last = now
            if batch.ranges and began is None:
                began = now
            if batch.is_full(options.ahead):
                break
            if began is not None and now - began >= options.every_seconds:
                break
            idle = not came and not self._status.lag.records
            if options.until_idle_seconds is not None and idle:
                self._idle = now - last >= options.until_idle_seconds
                if self._idle:
                    break
            if not batch.ranges:
                self._status.state = "waiting for records"
        return batch

    def _take(self, batch: StreamBatch) -> None:
        """Embed and commit one batch; only meanwhile are files kept for this writer."""
        committer, store = self._committer, self._corpus.store
        with running_writer(store, "stream") as writer:
            committer.refresh()
            choice = choose(batch.records, self._known)
            for document in choice.documents:
                for words in first_of_each_kind(list(self._remarks.of(document))):
                    logger.warning("%s", words)
            check_reject_fraction(self._status.report, choice, self._options.max_reject_fraction)
            # No more is read before a full batch is committed.
            waits = " (waiting for commits)" if batch.is_full(self._options.ahead) else ""
            self._status.state = f"embedding {len(choice.documents):,} documents{waits}"
            segment = self._write(choice, writer.writer_id)
            lag = self._source.lag()
            written = written_batch(batch, choice, lag, segment, writer.writer_id)
            self._status.state = f"committing{waits}"
            changed = committer.commit(written)
            self._status.report.snapshot = committer.corpus.snapshot.number
        self._source.committed()
        self._account(written, changed)

    def _write(self, choice: BatchChoice, writer: str) -> Segment | None:
        if not (choice.documents or choice.rejects):
            return None
        segment_id, number = reserve_segment(self._corpus.store, writer)
        return self._embedder.write(segment_id, number, choice.documents, choice.rejects)

    def _account(self, batch: WrittenBatch, changed: int) -> None:
        report, counts = self._status.report, batch.counts
        report.read += batch.read
        report.written += counts.get("documents", 0)
        report.changed += changed
        report.rejected += batch.rejected
        report.unchanged += batch.unchanged
        report.replaced += batch.replaced
        report.deleted += batch.deleted
        report.skipped += batch.skipped
        report.reasons += batch.reasons
        report.rejected_sentences += counts.get("rejected_sentences", 0)
        report.sentences += counts.get("sentences", 0)
        report.tokens += counts.get("tokens", 0)
        report.commits += 1
        self._status.committed_at = time.time()
        self._status.count_written()
        check_accounts(report)


def check_accounts(report: StreamReport) -> None:
    """Check that every record read is accounted for.

    Raises:
      CorpusError: if not.
    """
    accounted = (
        report.written + report.rejected + report.unchanged + report.replaced + report.deleted
    )
    if report.read != accounted:
        raise CorpusError(
            f"{report.read} records were read, but {accounted} are accounted for ({report});"
            " the counts must add up. This is a fault of sensegrep: start the stream again, and"
            " report it if it happens twice"
        )


def check_reject_fraction(report: StreamReport, choice: BatchChoice, limit: float) -> None:
    """Check that not too much was rejected, with a batch that is to be committed.

    Args:
      report: of what was read before.
      choice: of the batch.
      limit: largest share.

    Raises:
      UsageError: if it was.
    """
    read, rejected = report.read + choice.read, report.rejected + choice.rejected
    if read >= _LEAST_RECORDS and rejected / read > limit:
        reasons = (report.reasons + choice.reasons).most_common(3)
        listed = ", ".join(f"{count} {reason}" for reason, count in reasons)
        raise UsageError(
            f"{rejected} of {read} records read so far were rejected, more than"
            f" --max-reject-fraction {limit} ({listed}); the last {choice.read} of them were"
            " not committed: check the source, --text-field and --id-field, or raise the limit"
        )
