"""The embedding job on this machine: plan a slice, run it as one pipeline, commit it, repeat."""

import logging
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import Any

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions

from pipelines.corpus.commits import Change, commit, committed_numbers, reserve_segment
from pipelines.corpus.manifests import read_segment
from pipelines.corpus.number_ranges import add_numbers, contains
from pipelines.corpus.segment_files import clean_segment
from pipelines.corpus.view import CorpusView
from pipelines.corpus.writers import Writer, running_writer
from pipelines.embed.compatibility import check_recipe, fit_rules, keep_names
from pipelines.embed.inference import ElmoModelHandler, load_model
from pipelines.embed.jobs.beam_flags import names_runner, with_runner
from pipelines.embed.jobs.errors import worker_error
from pipelines.embed.jobs.job import EmbedJob, EmbedReport, check_prunable
from pipelines.embed.jobs.workers.launcher import WorkerLauncher
from pipelines.embed.planned_parts import PlannedPart, part_ids, read_part
from pipelines.embed.planner import Planner, Slice
from pipelines.embed.recipe import make_recipe
from pipelines.embed.relabel import copy_part
from pipelines.embed.remarks import Remarks
from pipelines.embed.segments import SegmentPlan, commit_segment
from pipelines.embed.selection import LiveDocuments, Selector
from pipelines.embed.transforms import CommitSegment, EmbedParts, PartReader
from pipelines.errors import CorpusError, UsageError
from pipelines.reading.documents import MAX_EXAMPLES, described
from pipelines.reading.input_files import InputFile, find_inputs
from pipelines.reading.records import check_columns
from pipelines.text.tokenizer import PretokenizedText, Tokenizer
from schemas import PartSummary

logger = logging.getLogger(__name__)


def embed(
    job: EmbedJob,
    progress: Callable[[float], None] | None = None,
    announce: Callable[[str], None] | None = None,
    launcher: WorkerLauncher | None = None,
) -> EmbedReport:
    """Run an embedding job; each committed slice is safe whatever comes after.

    Args:
      job: what is asked for.
      progress: told after each slice which share of the input is done, 0 to 1.
      announce: told the device and dtype once the model is loaded.
      launcher: of the job's workers, if one was started before; it is stopped at the end.

    Raises:
      UsageError, FileNotFoundError, ValueError: before any work, if an option, the input or the
        model cannot be used.
      CorpusError: if the corpus cannot be written, or the count of documents does not add up.
    """
    with ExitStack() as stack:
        if launcher is not None:
            stack.enter_context(launcher)
        prepared = _prepare(job)
        prepared.corpus.store.check_can_commit()
        if job.running.workers > 1 and launcher is None:
            verbose = logger.isEnabledFor(logging.INFO)
            launcher = stack.enter_context(WorkerLauncher(job.running.workers, verbose))
        report = prepared.load(job, announce)
        prepared.writer = stack.enter_context(running_writer(prepared.corpus.store, "embed"))
        # What was read before the writer was known to run is not kept for it.
        prepared.corpus = prepared.corpus.refresh()
        started = time.monotonic()
        runner = _runner_of(launcher, stack)
        planner = stack.enter_context(prepared.plan(job))
        run = _LocalRun(job, prepared, report, runner)
        damaged: list[str] = []
        for current in planner.slices():
            report.remark(current.remarks)
            run.take(current)
            damaged += current.damaged
            if progress is not None and planner.total_bytes:
                progress(current.input_bytes / planner.total_bytes)
        if job.running.prune:
            run.prune(planner.selector, damaged)
        report.seconds = time.monotonic() - started
    return report


def plan(job: EmbedJob, announce: Callable[[str], None] | None = None) -> EmbedReport:
    """Say what `embed` would do: `written` is what it would embed; nothing is changed.

    Raises:
      As `embed` does before any work.
    """
    prepared = _prepare(job)
    report = prepared.load(job, announce)
    damaged: list[str] = []
    with prepared.plan(job) as planner:
        for current in planner.slices():
            report.remark(current.remarks)
            check_reject_fraction(report, current, job)
            damaged += current.damaged
            report.read += current.read
            report.written += current.documents
            report.changed += current.replaced
            report.relabelled += len(current.relabelled)
            report.unchanged += current.unchanged
            report.rejected += current.rejected
            report.nameless += current.nameless
            report.rejected_sentences += current.rejected_sentences
            report.reject(current.rejects)
            if current.documents or current.rejects:
                report.segments.append("(planned)")
    if job.running.prune:
        missing = sum(map(len, prepared.missing(planner.selector, prepared.corpus).values()))
        check_prunable(damaged, report.read, missing)
        report.prune(missing)
    return report


@dataclass
class _Prepared:
    """What is checked and opened before any work."""

    files: list[InputFile]
    tokenizer: Tokenizer | PretokenizedText
    corpus: CorpusView
    handler: ElmoModelHandler | None = None
    writer: Writer | None = None

    def load(self, job: EmbedJob, announce: Callable[[str], None] | None) -> EmbedReport:
        started = time.monotonic()
        model = load_model(job.model)
        asked = replace(job.model, dtype=model.dtype)
        recipe = make_recipe(model, asked, job.embedding, self.tokenizer)
        check_recipe(recipe, self.corpus)
        self.handler = ElmoModelHandler(job.model, recipe)
        if announce is not None:
            announce(f"{model.device}, {model.dtype}")
        return EmbedReport(device=str(model.device), model_seconds=time.monotonic() - started)

    @contextmanager
    def plan(self, job: EmbedJob) -> Iterator[Planner]:
        assert self.handler is not None
        live = LiveDocuments(self.corpus, self.handler.recipe.digest)
        with tempfile.TemporaryDirectory(prefix="sensegrep-") as directory:
            yield Planner(
                self.files,
                job.reading,
                Selector(live),
                job.running.commit_every,
                directory,
                Remarks(job.embedding.language_of_texts),
            )

    def missing(self, selector: Selector, planned: CorpusView) -> dict[str, list[str]]:
        """Return for each segment the documents that the plan knew and the input has not named."""
        found: dict[str, list[str]] = {}
        for segment in planned.segments:
            for batch in planned.read("documents", ["doc_id"], [segment.segment_id]):
                gone = selector.missing(batch.column("doc_id").to_pylist())
                if gone:
                    found.setdefault(segment.segment_id, []).extend(gone)
        return found


def _prepare(job: EmbedJob) -> _Prepared:
    if job.running.workers > 1 and names_runner(job.beam_args):
        raise UsageError(
            "--workers is for a run on this machine; with --runner, the runner has its own options"
            " for how many workers it takes"
        )
    files = find_inputs(job.inputs)
    for file in files:
        check_columns(file, job.reading)
    tokenizer = job.embedding.make_tokenizer()
    corpus = CorpusView.open_or_create(job.corpus, single_writer=job.single_writer)
    tokenizer, remark = fit_rules(tokenizer, corpus)
    if remark is not None:
        logger.warning("%s", remark)
    return _Prepared(keep_names(files, corpus), tokenizer, corpus)


class _LocalRun:
    """The running job: what is committed so far, and how the next slice is."""

    def __init__(
        self, job: EmbedJob, prepared: _Prepared, report: EmbedReport, runner: Any
    ) -> None:
        assert prepared.handler is not None
        self._job = job
        self._prepared = prepared
        self._handler = prepared.handler
        self._tokenizer = prepared.tokenizer
        self._report = report
        self._runner = runner
        # The plan is made on this; what other writers commit later it does not know.
        self._planned = prepared.corpus
        self._known = committed_numbers(self._planned.snapshot, self._planned.segments)
        self._writer = prepared.writer.writer_id if prepared.writer else ""

    def take(self, current: Slice) -> None:
        """Embed and commit one slice, if there is anything new in it."""
        report = self._report
        check_reject_fraction(report, current, self._job)
        counts = Counter[str]()
        if current.documents or current.rejects:
            counts.update(self._embed(current))
        lost = current.documents - counts["documents"]
        report.read += current.read
        report.changed += current.replaced
        report.relabelled += len(current.relabelled)
        report.unchanged += current.unchanged
        report.rejected += current.rejected + lost
        report.nameless += current.nameless
        report.rejected_sentences += current.rejected_sentences + counts["rejected_sentences"]
        report.reject(current.rejects)
        report.written += counts["documents"]
        report.sentences += counts["sentences"]
        report.tokens += counts["tokens"]
        if report.read != report.written + report.rejected + report.unchanged:
            raise CorpusError(
                f"{report.read} documents were read, but {report.written} written,"
                f" {report.rejected} rejected and {report.unchanged} unchanged; the counts must"
                " add up. This is a fault of sensegrep: run the command again, and report it if"
                " it happens twice"
            )

    def _embed(self, current: Slice) -> Counter[str]:
        """Write and commit a slice; returns its documents, and what of them was embedded."""
        corpus, job = self._prepared.corpus, self._job
        segment_id, number = reserve_segment(corpus.store, self._writer)
        plan = SegmentPlan(
            store=corpus.store,
            recipe=self._handler.recipe,
            base=self._planned.snapshot.number,
            known=self._known,
            writer=self._writer,
            row_group_bytes=job.running.row_group_bytes,
        )
        parts, copied = current.parts(segment_id, number, job.running.workers, job.reading)
        try:
            copies = [
                copy_part(self._planned, each, job.running.row_group_bytes) for each in copied
            ]
            if parts:
                self._run_pipeline(parts, copies, plan)
            else:
                commit_segment(plan, copies)
        except Exception:
            # A worker may have committed it before something else failed.
            if not contains(committed_numbers(corpus.refresh().snapshot), number):
                clean_segment(corpus.store, segment_id)
            raise
        self._known = add_numbers(self._known, [number])
        self._prepared.corpus = corpus.refresh()
        self._report.segments.append(segment_id)
        counts = Counter(read_segment(corpus.store, segment_id).counts)
        for copy in copies:
            counts["sentences"] -= copy.counts["sentences"]
            counts["tokens"] -= copy.counts["tokens"]
        return counts

    def _run_pipeline(
        self, parts: list[PlannedPart], copies: list[PartSummary], plan: SegmentPlan
    ) -> None:
        pipeline = beam.Pipeline(self._runner, pipeline_options(self._job))
        reader = PartReader(part_ids, read_part)
        summaries = (
            pipeline
            | "Parts" >> beam.Create(parts)
            | "EmbedParts" >> EmbedParts(reader, self._handler, self._tokenizer, plan)
        )
        if copies:
            copied = pipeline | "Copies" >> beam.Create(copies)
            summaries = (summaries, copied) | "AllParts" >> beam.Flatten()
        _ = summaries | "CommitSegment" >> CommitSegment(plan)
        try:
            pipeline.run().wait_until_finish()
        except RuntimeError as error:
            raise worker_error(error) from error

    def prune(self, selector: Selector, damaged: list[str]) -> None:
        """Tombstone the documents of the corpus that the input does not have.

        Raises:
          CorpusError: if part of the input could not be read: what it has is not known then.
        """
        supersede = self._prepared.missing(selector, self._planned)
        missing = sum(map(len, supersede.values()))
        check_prunable(damaged, self._report.read, missing)
        if self._report.prune(missing):
            change = Change(
                operation="prune",
                supersede=supersede,
                known=self._known,
                writer=self._writer,
            )
            self._prepared.corpus = commit(self._prepared.corpus, change)


def check_reject_fraction(report: EmbedReport, current: Slice, job: EmbedJob) -> None:
    """Refuse a slice with which too much of what was read would be rejected.

    Raises:
      CorpusError: if so; it has the first examples.
    """
    limit = job.running.max_reject_fraction
    read = report.read + current.read
    rejected = report.rejected + current.rejected
    if not read or rejected / read <= limit:
        return
    reasons = report.reasons + Counter(reject.reason for reject in current.rejects)
    listed = [f"{count} {reason}" for reason, count in reasons.most_common(3)]
    if recorded := rejected - reasons.total():
        listed.append(f"{recorded} in earlier runs: sensegrep info --rejects --corpus {job.corpus}")
    examples = "".join(f"\n  {described(each)}" for each in current.rejects[:MAX_EXAMPLES])
    raise CorpusError(
        f"{rejected} of {read} records read so far were rejected, more than --max-reject-fraction"
        f" {limit} ({', '.join(listed)}); none of these documents was written: check the input,"
        " --text-field and --id-field, or raise the limit"
        f"{'; the first are:' if examples else ''}{examples}"
    )


def _runner_of(launcher: WorkerLauncher | None, stack: ExitStack) -> Any:
    """Return the runner of all slices; None lets the Beam flags name it."""
    if launcher is None:
        return None
    from pipelines.embed.jobs.workers.pool import WorkerPool

    return stack.enter_context(WorkerPool(launcher)).runner()


def pipeline_options(job: EmbedJob) -> PipelineOptions:
    """Return Beam's options for the pipelines of a job."""
    flags = with_runner(job.beam_args)
    if job.running.workers > 1:
        flags.append(f"--direct_num_workers={job.running.workers}")
    return PipelineOptions(flags)
