"""`sensegrep embed INPUT... --corpus DIR`: documents in, committed segments out."""

import argparse
import sys
from contextlib import ExitStack
from typing import TYPE_CHECKING

from pipelines.commands.embed_options import (
    RARE_OPTIONS,
    add_model_arguments,
    add_reading_arguments,
    add_running_arguments,
    embed_options,
    model_options,
)
from pipelines.commands.embed_report import DONE, as_json, exit_status, print_report
from pipelines.commands.output import print_json
from pipelines.errors import UsageError

if TYPE_CHECKING:
    from pipelines.corpus.view import CorpusView
    from pipelines.embed.jobs.engines import Engine
    from pipelines.embed.jobs.job import EmbedJob, EmbedReport
    from pipelines.embed.jobs.workers.launcher import WorkerLauncher

__all__ = ["RARE_OPTIONS", "accepts_beam_flags", "add_arguments", "execute"]

accepts_beam_flags = True


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    declare_options(parser)


def declare_options(parser: argparse.ArgumentParser) -> argparse._ArgumentGroup:
    """Declare the options of `embed`, which `run` has too; returns the group of the last ones."""
    parser.add_argument(
        "inputs",
        nargs="+",
        metavar="INPUT",
        help="files, globs or URLs: .txt .jsonl .csv .tsv .parquet, also with .gz .zst .xz .bz2;"
        " - reads JSON lines from standard input; folders such as lang=en/ are metadata",
    )
    parser.add_argument(
        "--corpus",
        required=True,
        metavar="DIR",
        help="path or URL of the corpus; created if missing",
    )
    add_reading_arguments(parser.add_argument_group("input"))
    add_model_arguments(parser.add_argument_group("model"))
    running = parser.add_argument_group("running")
    add_running_arguments(running)
    return running


def execute(args: argparse.Namespace) -> int:
    """Run the job and print what it did; 0, or 3 if something was rejected."""
    report, corpus = run_embed(args)
    if report is None:
        print(f"submitted; follow it with: sensegrep info --corpus {args.corpus}")
        return DONE
    if args.json:
        print_json(as_json(report, args))
    else:
        print_report(report, args, corpus)
        if not args.dry_run and (report.written or report.pruned):
            print(f"next: sensegrep index --corpus {args.corpus}")
    return exit_status(report, args)


def run_embed(args: argparse.Namespace) -> "tuple[EmbedReport | None, CorpusView | None]":
    """Run the job that the arguments ask for; returns its report and the corpus after it.

    Neither is there for a job that was submitted with --no-wait.
    """
    with ExitStack() as stack:
        launcher = None
        if args.workers > 1 and not args.dry_run and not args.runner:
            from pipelines.embed.jobs.workers.launcher import WorkerLauncher

            # Before our own imports, so that its imports take place beside them.
            launcher = stack.enter_context(WorkerLauncher(args.workers, args.verbose))
        return _run_embed(args, launcher)


def _run_embed(
    args: argparse.Namespace, launcher: "WorkerLauncher | None"
) -> "tuple[EmbedReport | None, CorpusView | None]":
    from pipelines.embed.jobs.beam_flags import quieten
    from pipelines.embed.jobs.engines import choose_engine

    quieten(args.verbose)
    job = make_job(args, beam_args(args))
    from pipelines.commands.progress import ProgressDisplay
    from pipelines.corpus.view import CorpusView
    from pipelines.embed.jobs.local import embed, plan
    from pipelines.embed.meter import METER

    def announce(place: str) -> None:
        print(f"sensegrep: model {args.model} on {place}", file=sys.stderr)

    engine = choose_engine(job.beam_args)
    if engine is not None:
        return _run_on_engine(args, job, engine)
    check_flags_of_engines(args)
    if args.dry_run:
        return plan(job, announce), None
    METER.take()  # what another job in this process counted
    with ProgressDisplay(METER.describe) as display:
        report = embed(job, display.advance, announce, launcher)
    empty = not report.read and not report.pruned
    return report, None if empty else CorpusView.open(args.corpus)


def _run_on_engine(
    args: argparse.Namespace, job: "EmbedJob", engine: "Engine"
) -> "tuple[EmbedReport | None, CorpusView | None]":
    from pipelines.commands.progress import ProgressDisplay
    from pipelines.corpus.view import CorpusView
    from pipelines.embed.jobs.bounded import embed_on_engine
    from pipelines.embed.meter import METER

    def announce(text: str) -> None:
        print(f"sensegrep: {text}", file=sys.stderr)

    METER.take()
    with ProgressDisplay(METER.describe):
        report = embed_on_engine(job, engine, announce, dry_run=args.dry_run)
    if report is None or args.dry_run or not (report.read or report.pruned):
        return report, None
    return report, CorpusView.open(args.corpus)


def check_flags_of_engines(args: argparse.Namespace) -> None:
    """Refuse options that mean something with --runner only.

    Raises:
      UsageError: naming the option.
    """
    given = {
        "--no-wait": args.no_wait,
        "--part-bytes": args.part_bytes,
        "--parts-per-segment": args.parts_per_segment,
    }
    for name, value in given.items():
        if value:
            raise UsageError(
                f"{name} is for a job on an engine; give --runner too, or leave {name} out"
            )


def beam_args(args: argparse.Namespace) -> list[str]:
    """Return the flags for Beam, checked, the runner among them."""
    from pipelines.embed.jobs.beam_flags import check_flags

    flags = check_flags(getattr(args, "beam_args", []))
    return [*flags, *([f"--runner={args.runner}"] if args.runner else [])]


def make_job(args: argparse.Namespace, flags: list[str]) -> "EmbedJob":
    """Check the arguments and gather them."""
    from pipelines.embed.jobs.job import EmbedJob
    from pipelines.embed.options import JobOptions
    from pipelines.index.options import parse_size
    from pipelines.reading.options import InputOptions

    return EmbedJob(
        inputs=args.inputs,
        corpus=args.corpus,
        reading=InputOptions(id_field=args.id_field, text_field=args.text_field, lines=args.lines),
        model=model_options(args),
        embedding=embed_options(args),
        running=JobOptions(
            commit_every=args.commit_every,
            workers=args.workers,
            prune=args.prune,
            max_reject_fraction=args.max_reject_fraction,
            parts_per_segment=args.parts_per_segment or JobOptions.parts_per_segment,
            part_bytes=None if args.part_bytes is None else parse_size(args.part_bytes),
            wait=not args.no_wait,
        ),
        single_writer=args.single_writer,
        beam_args=flags,
    )
