"""The embedding job on an engine: one Beam job that reads, chooses, embeds and commits in workers.

This process lists the input, reads the model's description and submits. It reads no record and
puts no model on a device; its memory does not grow with the corpus.

    input, live rows -> ChooseDocuments -> ReserveSegment -> EmbedParts -> CommitSegment -> finish
"""

import logging
import os
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, suppress
from dataclasses import dataclass, replace
from typing import Any

import apache_beam as beam
from apache_beam.metrics import MetricsFilter
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.runner import PipelineState

from pipelines.corpus.commits import Change, commit, committed_numbers
from pipelines.corpus.view import CorpusView
from pipelines.corpus.writers import Writer, running_writer
from pipelines.embed.choose_documents import (
    Choice,
    ChooseDocuments,
    FilePieces,
    ReserveSegment,
    check_reject_fraction,
)
from pipelines.embed.choosing import (
    CHANGED,
    DAMAGED,
    NAMELESS,
    READ,
    REASON,
    REJECTED,
    REJECTED_SENTENCES,
    REMARK,
    UNCHANGED,
    LiveSegment,
    first_examples,
)
from pipelines.embed.compatibility import check_recipe, fit_rules, keep_names
from pipelines.embed.inference import ElmoModelHandler, describe_model
from pipelines.embed.job_directory import JobDirectory
from pipelines.embed.jobs.engines import Engine, absolute
from pipelines.embed.jobs.errors import engine_error
from pipelines.embed.jobs.job import EmbedJob, EmbedReport, check_prunable
from pipelines.embed.meter import METER, METRICS
from pipelines.embed.options import ModelOptions
from pipelines.embed.piece_parts import piece_part_ids, read_piece
from pipelines.embed.recipe import Recipe, make_recipe
from pipelines.embed.segments import CommittedSegment, SegmentPlan, known_numbers
from pipelines.embed.transforms import CommitSegment, EmbedParts, PartReader
from pipelines.errors import CorpusError
from pipelines.reading.input_files import InputFile, find_inputs
from pipelines.reading.options import InputOptions
from pipelines.reading.records import check_columns
from pipelines.reading.splits import count_pieces
from pipelines.text.tokenizer import PretokenizedText, Tokenizer

logger = logging.getLogger(__name__)

# Pieces of the input: about so many where it is small, so that a few workers share it, and never
# more bytes than make one part.
_PIECES = 32
_MIN_PIECE_BYTES, _MAX_PIECE_BYTES = 1 << 20, 16 << 20
_POLL_SECONDS = 0.5


@dataclass(frozen=True, kw_only=True)
class BoundedPlan:
    """All that the pipeline is made from; nothing in it grows with the bytes of the input."""

    files: tuple[FilePieces, ...]
    choice: Choice
    segments: SegmentPlan
    job: JobDirectory
    handler: ElmoModelHandler
    tokenizer: Tokenizer | PretokenizedText
    parts_per_segment: int
    max_reject_fraction: float
    dry_run: bool


def embed_on_engine(
    job: EmbedJob,
    engine: Engine,
    announce: Callable[[str], None] | None = None,
    *,
    dry_run: bool = False,
) -> EmbedReport | None:
    """Run an embedding job on an engine, or submit it.

    Args:
      job: what is asked for.
      engine: that runs it.
      announce: told what is submitted, and where to.
      dry_run: choose, and say what would be embedded; the corpus is not changed.

    Returns:
      What the job did; None if it was submitted and is not waited for (`running.wait`).

    Raises:
      UsageError, FileNotFoundError, ValueError: before submission, if an option, the input, the
        model or the engine cannot be used.
      CorpusError, RuntimeError: if the job failed; what it committed is safe.
    """
    engine.check(job, dry_run=dry_run)
    files = check_inputs(job)
    with ExitStack() as stack:
        writer = ""
        if job.running.wait and not dry_run:
            # A job that is left to itself has none: the files of its workers tell that it runs.
            writer = stack.enter_context(_writer(job.corpus)).writer_id
        plan, report = plan_job(job, files, writer, dry_run=dry_run)
        options = stack.enter_context(engine.start())
        pipeline = beam.Pipeline(options=PipelineOptions(options))
        build(pipeline, plan)
        if announce is not None:
            pieces = sum(file.pieces for file in plan.files)
            many = "1 piece" if pieces == 1 else f"{pieces:,} pieces"
            announce(f"job {plan.job.job_id} on {engine.name}: {many} of input")
        started = time.monotonic()
        result: Any = None
        try:
            plan.job.announce()
            result = pipeline.run()
            if not job.running.wait:
                return None
            _wait(result)
        except BaseException as error:
            with suppress(Exception):  # it may be gone; this also ends the workers in this process
                result.cancel()
            if not isinstance(error, Exception):
                raise
            plan.job.remove()
            raise engine_error(error, engine.name) from error
    return _report(plan, report, time.monotonic() - started)


def _writer(corpus: str) -> AbstractContextManager[Writer]:
    store = CorpusView.open_or_create(absolute(corpus)).store
    store.check_can_commit()
    return running_writer(store, "embed")


def check_inputs(job: EmbedJob) -> list[InputFile]:
    """Return the files of the input.

    Columns are looked for in the first file of each format; workers look before they read others.

    Raises:
      UsageError, FileNotFoundError, OSError: if there are none, or they cannot be read.
    """
    files = find_inputs(job.inputs)
    seen: set[tuple[str, str]] = set()
    for file in files:
        if (file.format, file.compression) not in seen:
            seen.add((file.format, file.compression))
            check_columns(file, job.reading)
    return files


def plan_job(
    job: EmbedJob, files: Sequence[InputFile], writer: str = "", *, dry_run: bool = False
) -> tuple[BoundedPlan, EmbedReport]:
    """Check what was asked for and plan the pipeline; returns it and the report so far.

    Args:
      job: what is asked for.
      files: of the input.
      writer: id under which this process says that the job runs; empty if it does not.
      dry_run: the corpus will not be changed.
    """
    tokenizer = job.embedding.make_tokenizer()
    corpus = CorpusView.open_or_create(absolute(job.corpus))
    if not dry_run:
        corpus.store.check_can_commit()
    started = time.monotonic()
    files = keep_names(list(files), corpus)
    tokenizer, remark = fit_rules(tokenizer, corpus)
    if remark is not None:
        logger.warning("%s", remark)
    recipe = make_recipe(describe_model(job.model), job.model, job.embedding, tokenizer)
    check_recipe(recipe, corpus)
    report = EmbedReport(device="workers", model_seconds=time.monotonic() - started)
    directory = JobDirectory(corpus.store, uuid.uuid4().hex[:16], writer)
    plan = BoundedPlan(
        files=tuple(divide(files, job.reading, job.running.part_bytes)),
        choice=Choice(
            store=corpus.store,
            options=job.reading,
            live=tuple(_live(corpus, recipe)),
            tombstones=corpus.snapshot.tombstones,
            prune=job.running.prune,
            job=directory,
            language=job.embedding.language_of_texts,
        ),
        segments=SegmentPlan(
            store=corpus.store,
            recipe=recipe,
            base=corpus.snapshot.number,
            known=committed_numbers(corpus.snapshot, corpus.segments),
            writer=writer,
            row_group_bytes=job.running.row_group_bytes,
            job=directory,
        ),
        job=directory,
        handler=ElmoModelHandler(_seen_by_workers(job.model), recipe),
        tokenizer=tokenizer,
        parts_per_segment=job.running.parts_per_segment,
        max_reject_fraction=job.running.max_reject_fraction,
        dry_run=dry_run,
    )
    return plan, report


def _seen_by_workers(model: ModelOptions) -> ModelOptions:
    """Return the model's options with its path absolute; a bundled name stays one."""
    if not os.path.exists(model.model):
        return model
    return replace(model, model=absolute(model.model))


def divide(
    files: Sequence[InputFile], options: InputOptions, part_bytes: int | None
) -> Iterator[FilePieces]:
    """Divide the input by its bytes, without reading it.

    Args:
      files: of the input.
      options: how records become documents.
      part_bytes: of a piece; None chooses by the size of the whole.
    """
    total = sum(file.size or 0 for file in files)
    chosen = min(max(total // _PIECES, _MIN_PIECE_BYTES), _MAX_PIECE_BYTES)
    first = 0
    for file in files:
        pieces = count_pieces(file, options, part_bytes or chosen)
        yield FilePieces(first, file, pieces)
        first += pieces


def _live(corpus: CorpusView, recipe: Recipe) -> Iterator[LiveSegment]:
    for number, segment in enumerate(corpus.segments, 1):
        documents, rejects = (
            tuple(
                f"segments/{segment.segment_id}/{part.path}"
                for part in segment.parts.get(table, ())
            )
            for table in ("documents", "rejects")
        )
        same = segment.recipe == recipe.digest
        yield LiveSegment(number, segment.segment_id, same, documents, rejects)


def build(pipeline: beam.Pipeline, plan: BoundedPlan) -> None:
    """Add the whole job to a pipeline."""
    chosen = ChooseDocuments(plan.choice, plan.files).apply(pipeline)
    once = pipeline | "Once" >> beam.Create([None])
    counts = beam.pvalue.AsDict(chosen.counts)
    missing = beam.pvalue.AsList(chosen.missing)
    if plan.dry_run:
        planned = beam.pvalue.AsList(chosen.parts | "CountParts" >> beam.Map(_planned_counts))
        _ = once | "ReportPlan" >> beam.Map(report_plan, plan.job, planned, counts, missing)
        return
    committed = (
        chosen.parts
        | "ReserveSegment"
        >> ReserveSegment(
            plan.choice, plan.parts_per_segment, plan.max_reject_fraction, chosen.counts
        )
        | "EmbedParts"
        >> EmbedParts(
            PartReader(piece_part_ids, read_piece), plan.handler, plan.tokenizer, plan.segments
        )
        | "CommitSegment" >> CommitSegment(plan.segments)
    )
    _ = once | "Finish" >> beam.Map(
        finish_job,
        plan.segments,
        plan.max_reject_fraction,
        plan.choice.prune,
        beam.pvalue.AsList(committed),
        counts,
        missing,
    )


def _planned_counts(planned: tuple[int, Any]) -> tuple[int, int]:
    _, (_, parts) = planned
    return sum(len(part.documents) for part in parts), len(parts)


def report_plan(
    _: None,
    job: JobDirectory,
    planned: Sequence[tuple[int, int]],
    counts: dict[str, int],
    missing: Sequence[tuple[str, str]],
) -> None:
    """Write what a job would do."""
    report = _counted(counts)
    report["written"] = sum(documents for documents, _ in planned)
    report["segments"] = ["(planned)"] * bool(planned)
    report["kept" if report["nameless"] else "pruned"] = len(missing)
    job.write_report(report)


def finish_job(
    _: None,
    plan: SegmentPlan,
    max_reject_fraction: float,
    prune: bool,
    committed: Sequence[CommittedSegment],
    counts: dict[str, int],
    missing: Sequence[tuple[str, str]],
) -> None:
    """Check that every record is accounted for, prune, and write what the job did.

    Raises:
      CorpusError: if the counts do not add up, too much was rejected, or a damaged file forbids
        pruning; what was committed stays.
    """
    assert plan.job is not None
    check_reject_fraction(counts, max_reject_fraction)
    report = _counted(counts)
    written: Counter[str] = Counter()
    for segment in committed:
        written.update(segment.counts)
    report["written"] = written["documents"]
    report["sentences"], report["tokens"] = written["sentences"], written["tokens"]
    report["rejected"] += written["documents_rejected"]
    report["rejected_sentences"] += written["rejected_sentences"]
    report["segments"] = sorted(segment.segment_id for segment in committed)
    if report["read"] != report["written"] + report["rejected"] + report["unchanged"]:
        raise CorpusError(
            f"{report['read']} documents were read, but {report['written']} written,"
            f" {report['rejected']} rejected and {report['unchanged']} unchanged; the counts"
            " must add up. This is a fault of sensegrep: run the command again, and report it if"
            " it happens twice"
        )
    if prune:
        report["kept" if report["nameless"] else "pruned"] = _prune(plan, counts, missing)
    plan.job.write_report(report)


def _counted(counts: dict[str, int]) -> dict[str, Any]:
    reasons = {n.removeprefix(REASON): c for n, c in counts.items() if n.startswith(REASON)}
    return {
        "read": counts.get(READ, 0),
        "changed": counts.get(CHANGED, 0),
        "unchanged": counts.get(UNCHANGED, 0),
        "rejected": counts.get(REJECTED, 0),
        "nameless": counts.get(NAMELESS, 0),
        "rejected_sentences": counts.get(REJECTED_SENTENCES, 0),
        "reasons": reasons,
        "examples": first_examples(counts),
        "remarks": [n.removeprefix(REMARK) for n in counts if n.startswith(REMARK)],
    }


def _prune(plan: SegmentPlan, counts: dict[str, int], missing: Sequence[tuple[str, str]]) -> int:
    """Tombstone what the input does not have, unless a record of unknown id may be one of them."""
    damaged = sorted(n.removeprefix(DAMAGED) for n in counts if n.startswith(DAMAGED))
    check_prunable(damaged, counts.get(READ, 0), len(missing))
    supersede: dict[str, list[str]] = {}
    for segment_id, doc_id in missing:
        supersede.setdefault(segment_id, []).append(doc_id)
    if supersede and not counts.get(NAMELESS):
        known = known_numbers(plan)
        change = Change(operation="prune", supersede=supersede, known=known, writer=plan.writer)
        commit(CorpusView.newest(plan.store), change)
    return len(missing)


def has_ended(state: str) -> bool:
    """Say whether a job is over; a state that Beam does not know never changes."""
    return PipelineState.is_terminal(state) or state == PipelineState.UNRECOGNIZED


def _wait(result: Any) -> None:
    """Wait for the job, and pass on what its metrics say."""
    with suppress(NotImplementedError):
        while not has_ended(result.state):
            _show(result)
            time.sleep(_POLL_SECONDS)
    state = result.wait_until_finish()
    if state not in (None, PipelineState.DONE):
        raise RuntimeError(f"the engine ended the job in state {state}; its log says why")


def _show(result: Any) -> None:
    names = {"documents_written": "documents", "tokens_written": "tokens"}
    with suppress(Exception):  # a display, and engines differ in what they tell while they run
        result._metrics = None  # Beam's portable result keeps the first answer for ever
        found = result.metrics().query(MetricsFilter().with_namespace(METRICS))
        METER.show(
            **{
                names[each.key.metric.name]: each.attempted or each.committed or 0
                for each in found["counters"]
                if each.key.metric.name in names
            }
        )


def _report(plan: BoundedPlan, report: EmbedReport, seconds: float) -> EmbedReport:
    found = plan.job.report()
    if found is None:
        raise RuntimeError(
            f"the engine says that job {plan.job.job_id} is done, but it wrote no report to"
            f" {plan.job.store.url}/{plan.job.path}: do workers see another {plan.job.store.url}"
            " than this process? Give the corpus by a URL that all of them see"
        )
    plan.job.remove()
    found["reasons"] = Counter(found["reasons"])
    report.remark(found.pop("remarks", []))
    for name, value in found.items():
        setattr(report, name, value)
    report.seconds = seconds
    return report
