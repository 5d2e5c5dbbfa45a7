"""A stream in this process: read a batch, embed it, commit it with its positions, repeat.

The corpus is the only truth: a start reads the positions from the newest snapshot, so that a stream
killed at any moment and started again neither loses nor doubles a document.
"""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from pipelines.corpus.commits import (
    Change,
    CommitRefusedError,
    StreamMoved,
    commit,
    committed_numbers,
    reserve_segment,
)
from pipelines.corpus.segment_files import clean_segment
from pipelines.corpus.stream_marks import Marks, read_marks, write_marks
from pipelines.corpus.stream_owner import is_running_here, this_process
from pipelines.corpus.stream_plan import BatchSummary, plan_commit
from pipelines.corpus.view import CorpusView
from pipelines.corpus.writers import running_writer
from pipelines.embed.compatibility import check_recipe, fit_rules
from pipelines.embed.inference import load_model
from pipelines.embed.jobs.stream_job import StopRequest, StreamJob, StreamReport, StreamStatus
from pipelines.embed.recipe import make_recipe
from pipelines.embed.record_segments import Interrupted, RecordEmbedder
from pipelines.embed.remarks import Remarks, first_of_each_kind
from pipelines.embed.stream_documents import BatchChoice, StreamDocuments, choose
from pipelines.errors import CorpusError, UsageError
from pipelines.reading.sources import open_source
from pipelines.reading.stream_batch import Mark, RecordsLost, Source, SourceUnavailable, StreamBatch
from schemas import Segment, StreamEntry

logger = logging.getLogger(__name__)

POLL_SECONDS = 0.5
# Before so many records were read, a share of rejects says nothing.
_LEAST_RECORDS = 100
MAX_PAUSE_SECONDS = 60.0


class StreamFenced(CorpusError):
    """Another stream took over; this one may commit no more."""


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
    fruitless = 0
    while True:
        before = status.report.commits
        source: Source | None = None
        try:
            source = open_source(job.source, job.reading, job.kafka_config, job.running.accept_loss)
            corpus = check_corpus(job, source)
            embedder = embedder or _embedder(job, corpus, stop, announce)
            _StreamRun(job, source, embedder, stop, status).run()
            return status.report
        except (UsageError, StreamFenced, RecordsLost):
            raise
        except (OSError, RuntimeError) as error:
            if isinstance(error, SourceUnavailable) and not status.report.snapshot:
                raise UsageError(str(error)) from error
            fruitless = 1 if status.report.commits > before else fruitless + 1
            if stop.requested or fruitless >= job.running.max_starts:
                raise _given_up(error, fruitless) from error
            pause = min(2.0 ** (fruitless - 1), MAX_PAUSE_SECONDS)
            status.state, status.restarts = "failed, starting again", status.restarts + 1
            logger.warning("the stream failed and starts again in %g s: %s", pause, error)
        finally:
            if source is not None:
                source.close()
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
    corpus = CorpusView.open_or_create(job.corpus, single_writer=job.single_writer)
    corpus.store.check_can_commit()
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
            " stop it first: of two streams the older one would fail"
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


@dataclass(frozen=True)
class _Embedded:
    """A batch that waits to be committed."""

    batch: StreamBatch
    choice: BatchChoice
    segment: Segment | None
    writer: str


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
        self._marks: Marks = {}
        self._entry, self._corpus = self._claim()
        self._known = StreamDocuments(self._corpus, embedder.recipe.digest)
        self._remarks = Remarks(job.embedding.language_of_texts)
        self._idle = False

    def _claim(self) -> tuple[StreamEntry, CorpusView]:
        """Take over the corpus's stream with a new epoch, before anything is read."""
        before = self._corpus.snapshot.stream
        base = before or StreamEntry(source_id=self._source.source_id, epoch=0)
        if base.source_id != self._source.source_id:
            base = replace(base, source_id=self._source.source_id, positions={}, marks=())
        self._marks = read_marks(self._corpus.store, base.marks)
        marks = {key: Mark(*mark) for key, mark in self._marks.items()}
        try:
            positions = self._source.start(base.positions, marks)
        except RecordsLost:
            if not self._options.replace_source:
                raise
            # A topic of the same name that was made anew.
            base = replace(base, positions={}, marks=())
            positions = self._source.start({}, {})
        entry = replace(base, epoch=base.epoch + 1, positions=positions, owner=this_process())
        change = Change(operation="stream", stream=entry, stream_before=before)
        return entry, self._commit(change, entry)

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
                self._status.state = "waiting for commits"
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
        with running_writer(self._corpus.store, "stream") as writer:
            self._refresh(self._corpus.refresh())
            choice = choose(batch.records, self._known)
            for document in choice.documents:
                for words in first_of_each_kind(list(self._remarks.of(document))):
                    logger.warning("%s", words)
            self._check_reject_fraction(choice)
            self._status.state = f"embedding {len(choice.documents):,} documents"
            segment = self._write(choice, writer.writer_id)
            embedded = _Embedded(batch, choice, segment, writer.writer_id)
            self._status.state = "committing"
            try:
                changed = self._commit_batch(embedded)
            except (StreamFenced, CommitRefusedError):
                if segment is not None:
                    clean_segment(self._corpus.store, segment.segment_id)
                raise
        self._source.committed()
        self._account(embedded, changed)

    def _refresh(self, corpus: CorpusView) -> None:
        if corpus.snapshot.number != self._corpus.snapshot.number:
            self._known.refresh(corpus)
        self._corpus = corpus

    def _write(self, choice: BatchChoice, writer: str) -> Segment | None:
        if not (choice.documents or choice.rejects):
            return None
        segment_id, number = reserve_segment(self._corpus.store, writer)
        return self._embedder.write(segment_id, number, choice.documents, choice.rejects)

    def _commit_batch(self, embedded: _Embedded) -> int:
        """Commit a batch and its positions in one snapshot; returns how many documents changed."""
        batch, choice, segment = embedded.batch, embedded.choice, embedded.segment
        claims = frozenset(document.doc_id for document in choice.documents)
        entry, supersede = self._next_entry(embedded), choice.supersede(self._known)
        change = Change(
            operation="stream",
            add=(segment,) if segment else (),
            supersede=supersede,
            # What another writer committed of these meanwhile is older than what the source says.
            delete=claims.union(choice.deletions),
            claims=claims,
            known=committed_numbers(self._corpus.snapshot, self._corpus.segments),
            writer=embedded.writer,
            stream=entry,
            stream_before=self._entry,
        )
        self._refresh(self._commit(change, entry))
        self._entry = entry
        self._marks.update({key: (m.value, m.position) for key, m in batch.marks.items()})
        return sum(doc_id in claims for doc_ids in supersede.values() for doc_id in doc_ids)

    def _next_entry(self, embedded: _Embedded) -> StreamEntry:
        batch = embedded.batch
        summary = BatchSummary(epoch=self._entry.epoch, ranges=batch.ranges, payload=embedded)
        plan = plan_commit(self._entry.epoch, {**batch.origins, **self._entry.positions}, [summary])
        if not plan.taken:
            raise CorpusError(
                f"a batch of {batch.ranges} does not join the committed positions"
                f" {dict(self._entry.positions)}"
            )
        marks = {**self._marks, **{k: (m.value, m.position) for k, m in batch.marks.items()}}
        marks = {key: mark for key, mark in marks.items() if mark[0]}
        number = self._corpus.snapshot.number + 1
        paths = write_marks(self._corpus.store, number, self._entry.marks, marks, batch.marks)
        lag = self._source.lag()
        return replace(
            self._entry,
            positions=dict(plan.positions),
            marks=paths,
            lag={"records": lag.records, "seconds": round(lag.seconds, 3)},
        )

    def _commit(self, change: Change, entry: StreamEntry) -> CorpusView:
        """Commit what has this entry; returns the corpus after it.

        Raises:
          StreamFenced: if another stream has committed.
          CommitRefusedError: if a vacuum gave this writer up.
        """
        try:
            corpus = commit(self._corpus, change)
        except StreamMoved as error:
            corpus = self._corpus.refresh()
            if corpus.snapshot.stream != entry:  # else the answer to our own commit was lost
                raise _fenced(entry, corpus) from error
        self._status.report.snapshot = corpus.snapshot.number
        return corpus

    def _check_reject_fraction(self, choice: BatchChoice) -> None:
        report = self._status.report
        read, rejected = report.read + choice.read, report.rejected + choice.rejected
        limit = self._options.max_reject_fraction
        if read >= _LEAST_RECORDS and rejected / read > limit:
            reasons = (report.reasons + choice.reasons).most_common(3)
            listed = ", ".join(f"{count} {reason}" for reason, count in reasons)
            raise UsageError(
                f"{rejected} of {read} records read so far were rejected, more than"
                f" --max-reject-fraction {limit} ({listed}); the last {choice.read} of them were"
                " not committed: check the source, --text-field and --id-field, or raise the limit"
            )

    def _account(self, embedded: _Embedded, changed: int) -> None:
        report, choice = self._status.report, embedded.choice
        counts: Any = embedded.segment.counts if embedded.segment else {}
        written = counts.get("documents", 0)
        report.read += choice.read
        report.written += written
        report.changed += changed
        report.rejected += choice.rejected + len(choice.documents) - written
        report.unchanged += choice.unchanged
        report.replaced += choice.replaced
        report.deleted += choice.deleted
        report.skipped += embedded.batch.skipped
        report.reasons += choice.reasons
        report.rejected_sentences += counts.get("rejected_sentences", 0)
        report.sentences += counts.get("sentences", 0)
        report.tokens += counts.get("tokens", 0)
        report.commits += 1
        self._status.committed_at = time.time()
        self._status.count_written()
        accounted = (
            report.written + report.rejected + report.unchanged + report.replaced + report.deleted
        )
        if report.read != accounted:
            raise CorpusError(
                f"{report.read} records were read, but {accounted} are accounted for ({report});"
                " the count must add up"
            )


def _fenced(entry: StreamEntry, current: CorpusView) -> StreamFenced:
    other = current.snapshot.stream
    epoch = other.epoch if other else "none"
    return StreamFenced(
        f"another stream took over the corpus at {current.root} (epoch {epoch}, this one has"
        f" {entry.epoch}); this one ends, and nothing is lost: run one stream on a corpus"
    )
