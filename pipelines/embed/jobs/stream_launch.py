"""Submit the unbounded job of a stream and look after it: restarts, the end, what it did."""

import logging
import time
import uuid
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.runner import PipelineState

from pipelines.corpus.stream_owner import this_process
from pipelines.corpus.view import CorpusView
from pipelines.embed.compatibility import check_recipe, fit_rules
from pipelines.embed.inference import describe_model
from pipelines.embed.jobs.bounded import has_ended
from pipelines.embed.jobs.engines import Engine
from pipelines.embed.jobs.errors import engine_error
from pipelines.embed.jobs.stream_commit import StreamFenced, claim_stream, fenced
from pipelines.embed.jobs.stream_job import StopRequest, StreamJob, StreamReport, StreamStatus
from pipelines.embed.jobs.stream_reader import stop_path
from pipelines.embed.jobs.streaming import check_accounts, check_corpus, supervise
from pipelines.embed.jobs.unbounded import BATCH_COUNTS, SEGMENT_COUNTS, UnboundedPlan, build
from pipelines.embed.recipe import make_recipe
from pipelines.errors import CorpusError, UsageError
from pipelines.reading.sources import open_source
from pipelines.reading.stream_batch import Lag
from schemas import StreamEntry

logger = logging.getLogger(__name__)

_POLL_SECONDS = 0.5


def stream_on_engine(
    job: StreamJob,
    engine: Engine,
    stop: StopRequest,
    status: StreamStatus,
    announce: Callable[[str], None] = lambda _: None,
) -> StreamReport | None:
    """Keep a corpus up to date by an unbounded job; as `stream`, with an engine's workers.

    Args:
      job: what is asked for, with absolute paths.
      engine: that runs it.
      stop: ends the stream after a last commit.
      status: kept up to date from what the newest snapshot says.
      announce: told where a job was submitted.

    Returns:
      What the stream did; None if it was submitted and is not waited for (`running.wait`).

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
            names = (*BATCH_COUNTS, *SEGMENT_COUNTS, "written", "changed", "commits")
            counts = {name: getattr(report, name) for name in names}
            owner = {**this_process(), "job": job_id, "counts": counts}
            owner["reasons"] = dict(report.reasons)
            replace_source = job.running.replace_source
            entry, corpus = claim_stream(corpus, source, owner, replace_source=replace_source)
            status.report.snapshot = corpus.snapshot.number
        finally:
            source.close()
        plan = UnboundedPlan(
            job=job,
            store=corpus.store,
            job_id=job_id,
            epoch=entry.epoch,
            recipe=recipe,
            tokenizer=tokenizer,
        )
        announce(f"job {job_id} on {engine.name}, model {job.model.model}")
        _Launch(plan, engine, stop, status, corpus).run()

    if not job.running.wait:
        try:
            run()
        except (OSError, CorpusError) as error:
            raise UsageError(str(error)) from error
        return None
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
                if not self._plan.job.running.wait:
                    return
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
        if not self._stop.requested and self._plan.job.running.until_idle_seconds is None:
            raise RuntimeError(
                f"the job ended on {self._engine.name}, but a stream has no end; its log says why"
            )

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
