"""The stream on an engine: one unbounded Beam job, looked after by the process that submits it.

    reader (one, bounded ahead) -> Reshuffle -> embed a batch -> committer (single key)

No windows and no timers: engines lose data with them (docs/streaming.md). The positions in the
corpus decide what is committed; the engine's state is only a waiting room.
"""

import logging
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import apache_beam as beam
from apache_beam.coders import PickleCoder
from apache_beam.io.restriction_trackers import OffsetRange, OffsetRestrictionTracker
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.runner import PipelineState
from apache_beam.transforms.userstate import BagStateSpec
from apache_beam.utils.timestamp import Duration

from pipelines.corpus.commits import reserve_segment
from pipelines.corpus.store import Store
from pipelines.corpus.stream_owner import this_process
from pipelines.corpus.stream_plan import BatchSummary
from pipelines.corpus.view import CorpusView
from pipelines.embed.compatibility import check_recipe, fit_rules
from pipelines.embed.inference import ElmoModelHandler, describe_model
from pipelines.embed.jobs.bounded import has_ended
from pipelines.embed.jobs.engines import Engine
from pipelines.embed.jobs.errors import engine_error
from pipelines.embed.jobs.stream_commit import (
    StreamCommitter,
    StreamFenced,
    WrittenBatch,
    claim_stream,
    fenced,
    written_batch,
)
from pipelines.embed.jobs.stream_job import StopRequest, StreamJob, StreamReport, StreamStatus
from pipelines.embed.jobs.stream_reader import ReadBatch, StreamReader, stop_path
from pipelines.embed.jobs.streaming import check_accounts, check_corpus, supervise
from pipelines.embed.recipe import Recipe, make_recipe
from pipelines.embed.record_segments import RecordEmbedder
from pipelines.embed.stream_documents import StreamDocuments
from pipelines.errors import UsageError
from pipelines.reading.sources import open_source
from pipelines.reading.stream_batch import Lag
from pipelines.text.tokenizer import PretokenizedText, Tokenizer
from schemas import StreamEntry

logger = logging.getLogger(__name__)

READ_SECONDS = 1.0
_RESUME = Duration(seconds=0.05)
_POLL_SECONDS = 0.5


@dataclass(frozen=True, kw_only=True)
class UnboundedPlan:
    """All that the steps of the job are made from.

    Attributes:
      job: what is asked for, with paths that workers see.
      store: of the corpus.
      job_id: of this start of the stream.
      recipe: of the rows.
      tokenizer: of the recipe.
    """

    job: StreamJob
    store: Store
    job_id: str
    recipe: Recipe
    tokenizer: Tokenizer | PretokenizedText


class _EndlessTracker(OffsetRestrictionTracker):
    """Counts turns of the reader; there is one, so that nothing is split off but what comes."""

    def try_split(self, fraction_of_remainder: float) -> Any:
        return super().try_split(0) if fraction_of_remainder == 0 else None

    def check_done(self) -> None:
        """The reader ends when it is done, wherever it is."""

    def is_bounded(self) -> bool:
        return False


class _Turns(beam.transforms.core.RestrictionProvider):
    def initial_restriction(self, element: Any) -> OffsetRange:
        del element
        return OffsetRange(0, 2**62)

    def create_tracker(self, restriction: OffsetRange) -> _EndlessTracker:
        return _EndlessTracker(restriction)

    def restriction_size(self, element: Any, restriction: OffsetRange) -> int:
        del element, restriction
        return 1


# The readers of this process by job; one goes on where its last turn ended.
_readers: dict[str, StreamReader] = {}
_reading = threading.Lock()


class ReadStreamFn(beam.DoFn):
    """Anything -> ReadBatch, until the stream ends. A turn gives one batch at most."""

    def __init__(self, plan: UnboundedPlan) -> None:
        self._plan = plan

    @beam.DoFn.unbounded_per_element()
    def process(
        self,
        element: Any,
        tracker: Any = beam.DoFn.RestrictionParam(_Turns()),  # noqa: B008
    ) -> Iterator[ReadBatch]:
        del element
        if not tracker.try_claim(tracker.current_restriction().start):
            return
        with _reading:
            read, done = _read(self._plan)
        if read is not None:
            yield read
        if not done:
            tracker.defer_remainder(_RESUME)


def _read(plan: UnboundedPlan) -> tuple[ReadBatch | None, bool]:
    """Give this process's reader a turn; returns its batch, and whether it is done."""
    reader = _readers.get(plan.job_id)
    try:
        if reader is None:
            reader = StreamReader(plan.job, plan.store, plan.job_id, plan.recipe.digest)
            _readers[plan.job_id] = reader
        read, done = reader.next(READ_SECONDS), reader.done
    except BaseException:
        if reader is not None:
            reader.close()
        _readers.pop(plan.job_id, None)
        raise
    if done:
        reader.close()
        del _readers[plan.job_id]
    return read, done


class EmbedBatchFn(beam.DoFn):
    """ReadBatch -> BatchSummary of what its segment holds."""

    def __init__(self, plan: UnboundedPlan) -> None:
        self._plan = plan
        self._embedder: RecordEmbedder | None = None

    def process(self, read: ReadBatch) -> Iterator[BatchSummary[WrittenBatch]]:
        plan, choice, segment = self._plan, read.choice, None
        if choice.documents or choice.rejects:
            self._embedder = self._embedder or _embedder(plan)
            segment_id, number = reserve_segment(plan.store)
            segment = self._embedder.write(segment_id, number, choice.documents, choice.rejects)
        payload = written_batch(read.batch, choice, read.lag, segment)
        yield BatchSummary(epoch=read.epoch, ranges=read.batch.ranges, payload=payload)


def _embedder(plan: UnboundedPlan) -> RecordEmbedder:
    options = plan.job.model
    return RecordEmbedder(
        store=plan.store,
        model=ElmoModelHandler(options, plan.recipe).load_model(),
        recipe=plan.recipe,
        tokenizer=plan.tokenizer,
        max_tokens_per_batch=options.max_tokens_per_batch,
        row_group_bytes=plan.job.running.row_group_bytes,
    )


@beam.typehints.with_input_types(tuple[str, Any])
class CommitBatchesFn(beam.DoFn):
    """(one key, BatchSummary) -> nothing; what waits for an earlier batch is in the state."""

    WAITING = BagStateSpec("waiting", PickleCoder())

    def __init__(self, plan: UnboundedPlan) -> None:
        self._plan = plan
        self._committer: StreamCommitter | None = None

    def process(
        self,
        keyed: tuple[str, BatchSummary[WrittenBatch]],
        waiting: Any = beam.DoFn.StateParam(WAITING),  # noqa: B008
    ) -> None:
        summaries = [*waiting.read(), keyed[1]]
        rest = self._refreshed().commit_waiting(summaries, count)
        waiting.clear()
        for summary in rest:
            waiting.add(summary)

    def _refreshed(self) -> StreamCommitter:
        """Return the committer of the newest epoch.

        Raises:
          StreamFenced: if another job feeds the corpus.
        """
        plan, committer = self._plan, self._committer
        corpus = CorpusView.newest(plan.store, committer.corpus.segments if committer else ())
        entry = corpus.snapshot.stream
        if entry is None or entry.owner.get("job") != plan.job_id:
            raise fenced(entry or StreamEntry(source_id="", epoch=0), corpus)
        if committer is None or committer.entry != entry:
            known = StreamDocuments(corpus, plan.recipe.digest)
            committer = self._committer = StreamCommitter(corpus, entry, known)
        else:
            committer.refresh()
        return committer


_COUNTS = ("read", "rejected", "unchanged", "replaced", "deleted", "skipped")
_WRITTEN = ("rejected_sentences", "sentences", "tokens")


def count(owner: Mapping[str, Any], batch: WrittenBatch, changed: int) -> Mapping[str, Any]:
    """Return what an entry says of its job once a batch is committed: all that the job did."""
    counts: Counter[str] = Counter(owner.get("counts", {}))
    counts.update({name: getattr(batch, name) for name in _COUNTS})
    counts.update({name: batch.counts.get(name, 0) for name in _WRITTEN})
    counts.update(written=batch.counts.get("documents", 0), changed=changed, commits=1)
    reasons = Counter(owner.get("reasons", {})) + batch.reasons
    return {**owner, "counts": dict(counts), "reasons": dict(reasons)}


def _on_one_key(summary: Any) -> tuple[str, Any]:
    return "stream", summary


def build(pipeline: beam.Pipeline, plan: UnboundedPlan) -> None:
    """Add the whole job to a pipeline."""
    _ = (
        pipeline
        | "Once" >> beam.Create([0])
        | "ReadStream" >> beam.ParDo(ReadStreamFn(plan))
        | "Spread" >> beam.Reshuffle()
        | "EmbedBatch" >> beam.ParDo(EmbedBatchFn(plan))
        | "OnOneKey" >> beam.Map(_on_one_key).with_output_types(tuple[str, Any])
        | "CommitBatches" >> beam.ParDo(CommitBatchesFn(plan))
    )


def stream_on_engine(
    job: StreamJob,
    engine: Engine,
    stop: StopRequest,
    status: StreamStatus,
    announce: Callable[[str], None] = lambda _: None,
) -> StreamReport:
    """Keep a corpus up to date by an unbounded job; as `stream`, with an engine's workers.

    Args:
      job: what is asked for, with absolute paths.
      engine: that runs it.
      stop: ends the stream after a last commit.
      status: kept up to date from what the newest snapshot says.
      announce: told where a job was submitted.

    Raises:
      UsageError, ValueError, FileNotFoundError: before anything is read, if the job is impossible.
      StreamFenced: if another stream took over.
      RecordsLost: if the source has lost what was not read yet.
      RuntimeError: if it was given up.
    """
    engine.check_stream(job)
    model = describe_model(job.model)

    def run() -> None:
        if status.restarts:
            try:
                engine.check_there(job.corpus)  # one that is gone would be waited for without end
            except UsageError as error:
                raise RuntimeError(str(error)) from error
        source = open_source(job.source, job.reading, job.kafka_config, job.running.accept_loss)
        try:
            corpus = check_corpus(job, source)
            tokenizer, remark = fit_rules(job.embedding.make_tokenizer(), corpus)
            if remark is not None:
                logger.warning("%s", remark)
            recipe = make_recipe(model, job.model, job.embedding, tokenizer)
            check_recipe(recipe, corpus)
            job_id = uuid.uuid4().hex[:16]
            report = status.report
            counts = {name: getattr(report, name) for name in (*_COUNTS, *_WRITTEN)}
            counts |= {name: getattr(report, name) for name in ("written", "changed", "commits")}
            owner = {**this_process(), "job": job_id, "counts": counts}
            owner["reasons"] = dict(report.reasons)
            replace_source = job.running.replace_source
            _, corpus = claim_stream(corpus, source, owner, replace_source=replace_source)
        finally:
            source.close()
        plan = UnboundedPlan(
            job=job, store=corpus.store, job_id=job_id, recipe=recipe, tokenizer=tokenizer
        )
        announce(f"job {job_id} on {engine.name}")
        _Launch(plan, engine, stop, status, corpus).run()

    supervise(run, job.running.max_starts, stop, status)
    check_accounts(status.report)
    return status.report


class _Launch:
    """One start of the job, from its submission to its end."""

    def __init__(
        self,
        plan: UnboundedPlan,
        engine: Engine,
        stop: StopRequest,
        status: StreamStatus,
        corpus: CorpusView,
    ) -> None:
        self._plan, self._engine = plan, engine
        self._stop, self._status = stop, status
        self._corpus = corpus
        self._told = False

    def run(self) -> None:
        result: Any = None
        with self._engine.start() as flags:
            pipeline = beam.Pipeline(options=PipelineOptions([*flags, "--streaming"]))
            build(pipeline, self._plan)
            try:
                result = pipeline.run()
                self._watch(result)
            except BaseException as error:
                _cancel(result)
                if not isinstance(error, Exception) or isinstance(error, StreamFenced):
                    raise
                raise engine_error(error, self._engine.name) from error
            finally:
                with suppress(OSError):
                    self._plan.store.remove_tree(f"jobs/{self._plan.job_id}")
        self._look()

    def _watch(self, result: Any) -> None:
        while not has_ended(result.state):
            self._look()
            if self._stop.requested and not self._told:
                self._plan.store.create_exclusive(stop_path(self._plan.job_id), b"")
                self._told = True
            if self._stop.is_overdue():
                logger.warning(
                    "the grace period ended before all that was read was committed; it is read"
                    " again at the next start"
                )
                _cancel(result)
                return
            time.sleep(_POLL_SECONDS)
        state = result.wait_until_finish()
        if state not in (None, PipelineState.DONE):
            raise RuntimeError(f"the engine ended the job in state {state}; its log says why")

    def _look(self) -> None:
        """Take over what the newest snapshot says of the job.

        Raises:
          StreamFenced: if it names another job.
        """
        before, self._corpus = self._corpus, self._corpus.refresh()
        snapshot, status = self._corpus.snapshot, self._status
        entry, report = snapshot.stream, status.report
        if entry is None or entry.owner.get("job") != self._plan.job_id:
            raise fenced(entry or StreamEntry(source_id="", epoch=0), self._corpus)
        commits = report.commits
        for name, value in entry.owner["counts"].items():
            setattr(report, name, value)
        report.reasons = Counter(entry.owner["reasons"])
        report.snapshot = snapshot.number
        status.state = f"streaming on {self._engine.name}"
        if entry.lag:
            status.lag = Lag(int(entry.lag["records"]), entry.lag["seconds"])
        if snapshot.number != before.snapshot.number and report.commits > commits:
            status.committed_at = time.time()
            status.count_written()


def _cancel(result: Any) -> None:
    """Cancel a job; if that fails it is said, and the next start's epoch fences its workers."""
    try:
        result.cancel()
    except Exception as error:  # an engine that is gone fails in its own way
        logger.warning("the job could not be cancelled, its engine may be gone: %s", error)
