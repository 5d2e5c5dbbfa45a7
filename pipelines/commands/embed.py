"""`sensegrep embed INPUT... --corpus DIR`: documents in, committed segments out."""

import argparse
import sys
from contextlib import ExitStack
from typing import TYPE_CHECKING

from pipelines.commands.output import print_json
from pipelines.commands.wording import counted
from pipelines.errors import UsageError

if TYPE_CHECKING:
    from pipelines.corpus.view import CorpusView
    from pipelines.embed.jobs.engines import Engine
    from pipelines.embed.jobs.job import EmbedJob, EmbedReport
    from pipelines.embed.jobs.workers.launcher import WorkerLauncher
    from pipelines.embed.options import EmbedOptions, ModelOptions

DONE, REJECTED = 0, 3
accepts_beam_flags = True
RARE_OPTIONS = frozenset(
    ("--pretokenized", "--max-sentence-tokens", "--max-reject-fraction", "--initial-state",
     "--layer-weights", "--pooling", "--vector-dtype", "--max-tokens-per-batch", "--commit-every",
     "--single-writer", "--line-breaks", "--parts-per-segment", "--part-bytes", "--no-wait",
     "--fail-on-rejects")
)  # fmt: skip


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "inputs",
        nargs="+",
        metavar="INPUT",
        help="files, globs or URLs: .txt .jsonl .csv .tsv .parquet, also with .gz .zst .xz .bz2; -"
        " reads JSON lines with ids from standard input; folders such as lang=en/ are metadata."
        " A record may have 256 MiB (a row of CSV 64 MiB) and 33,554,432 tokens; larger records are"
        " rejected",
    )
    parser.add_argument(
        "--corpus",
        required=True,
        metavar="DIR",
        help="path or URL of the corpus; created if missing",
    )
    add_reading_arguments(parser.add_argument_group("input"))
    add_model_arguments(parser.add_argument_group("model"))
    _add_running_arguments(parser.add_argument_group("running"))


def add_reading_arguments(reading: argparse._ArgumentGroup) -> None:
    """Declare how records become documents; `stream` has the same."""
    reading.add_argument(
        "--id-field",
        metavar="NAME",
        help="field with the id, required in each record (default: the field id; without one, the"
        " file's path and the byte or row)",
    )
    reading.add_argument("--text-field", default="text", metavar="NAME", help="field with the text")
    reading.add_argument(
        "--lines", action="store_true", help="each line of a .txt file is a document"
    )
    reading.add_argument(
        "--pretokenized",
        action="store_true",
        help="texts are already tokens, separated by spaces, one sentence per line",
    )
    reading.add_argument(
        "--language",
        default="en",
        metavar="CODE",
        help="language of the texts (ISO 639-1 code); selects tokenizer and sentence rules",
    )
    reading.add_argument(
        "--line-breaks",
        choices=("auto", "wrapped", "lines"),
        default="auto",
        help="line breaks of a text: hard-wrapped (wrapped), ends of sentences (lines), or decided"
        " for each document (auto)",
    )
    reading.add_argument(
        "--max-sentence-tokens",
        type=int,
        default=256,
        metavar="N",
        help="tokens per sentence; longer sentences are cut and marked",
    )
    reading.add_argument(
        "--max-reject-fraction",
        type=float,
        default=0.5,
        metavar="F",
        help="largest share of rejected records, 0 to 1; with more the job fails",
    )


def add_model_arguments(group: argparse._ArgumentGroup) -> None:
    """Declare the model and what rows are made of; `stream` has the same."""
    group.add_argument(
        "--model", default="en-small", help="bundled name, path or URL of an ELMo model"
    )
    group.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N")
    group.add_argument(
        "--dtype",
        default="auto",
        help="what the model computes in: float32, float64, bfloat16, float16 (CUDA) or int8 (CPU);"
        " auto is what the device is fastest in",
    )
    group.add_argument(
        "--initial-state",
        choices=["zero", "warm"],
        default="zero",
        help="initial LSTM state of each sentence",
    )
    group.add_argument(
        "--layer-weights",
        metavar="W,W,...",
        help="weights of the layers, or the number of one layer (default: the model's own)",
    )
    group.add_argument(
        "--pooling",
        choices=["attention", "mean", "max"],
        default="attention",
        help="how token vectors become a sentence vector",
    )
    group.add_argument(
        "--tokens",
        choices=["all", "content", "none"],
        default="content",
        help="tokens whose vectors are stored; content: no stop words, no punctuation",
    )
    group.add_argument(
        "--vector-dtype",
        choices=["float16", "float32"],
        default="float16",
        help="precision of the stored vectors",
    )
    group.add_argument(
        "--max-tokens-per-batch",
        type=int,
        default=8192,
        metavar="N",
        help="tokens per batch; lower values use less memory",
    )


def _add_running_arguments(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--commit-every",
        type=int,
        default=2000,
        metavar="N",
        help="documents per segment; a stopped job, run again, continues after the last one",
    )
    group.add_argument(
        "--workers",
        type=int,
        default=1,
        metavar="N",
        help="processes; more read and tokenize faster, and each loads the model",
    )
    group.add_argument(
        "--prune", action="store_true", help="delete documents of the corpus that are not in INPUT"
    )
    group.add_argument(
        "--dry-run", action="store_true", help="print what would be done; change nothing"
    )
    group.add_argument(
        "--single-writer",
        action="store_true",
        help="no other job writes to this corpus (for stores without atomic creation)",
    )
    group.add_argument(
        "--runner",
        metavar="NAME",
        help="Beam runner, such as PrismRunner or DataflowRunner (default: this process); Beam's"
        " own flags may follow, as --flag=value",
    )
    group.add_argument(
        "--parts-per-segment",
        type=int,
        metavar="N",
        help="with --runner: parts per segment; a segment is committed as soon as its parts are"
        " written, and a job that failed, run again, keeps it (default: 16)",
    )
    group.add_argument(
        "--part-bytes",
        metavar="SIZE",
        help="with --runner: bytes of input per part, such as 4M; the parts are what workers share"
        " (default: 1M to 16M, by the size of the input)",
    )
    group.add_argument(
        "--no-wait",
        action="store_true",
        help="with --runner: submit the job and return; its report is CORPUS/jobs/ID/report.json",
    )
    group.add_argument(
        "--fail-on-rejects",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="exit status 3 if records were rejected (the default), or 0",
    )
    group.add_argument("--json", action="store_true", help="print the report as JSON")


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


def status(report: "EmbedReport") -> int:
    """Return the exit status that a report deserves."""
    return REJECTED if report.rejected or report.rejected_sentences else DONE


def exit_status(report: "EmbedReport", args: argparse.Namespace) -> int:
    """Return the status to exit with: that of the report, unless rejects are no failure."""
    return status(report) if args.fail_on_rejects else DONE


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


def model_options(args: argparse.Namespace) -> "ModelOptions":
    """Return which model is asked for, and where it runs."""
    from pipelines.embed.options import ModelOptions

    return ModelOptions(
        model=args.model,
        device=args.device,
        dtype=args.dtype,
        initial_state=args.initial_state,
        max_tokens_per_batch=args.max_tokens_per_batch,
    )


def embed_options(args: argparse.Namespace) -> "EmbedOptions":
    """Return what rows are to be made of."""
    from pipelines.embed.options import EmbedOptions

    return EmbedOptions(
        layer_weights=parse_layer_weights(args.layer_weights),
        pooling=args.pooling,
        language=args.language,
        pretokenized=args.pretokenized,
        max_sentence_tokens=args.max_sentence_tokens,
        line_breaks=args.line_breaks,
        tokens=args.tokens,
        vector_dtype=args.vector_dtype,
    )


def parse_layer_weights(text: str | None) -> tuple[float, ...] | int | None:
    """Read coefficients parted by commas, or the number of one layer.

    Raises:
      UsageError: if it is neither.
    """
    if text is None:
        return None
    try:
        if "," not in text:
            return int(text)
        return tuple(float(word) for word in text.split(","))
    except ValueError:
        raise UsageError(
            f"--layer-weights is {text!r}; expected one number per layer, such as 0,0.5,0.5, or"
            " the number of one layer, such as 2"
        ) from None


def as_json(report: "EmbedReport", args: argparse.Namespace) -> dict[str, object]:
    """Return the report's fields."""
    return {
        "corpus": args.corpus,
        "dry_run": args.dry_run,
        **vars(report),
        "reasons": dict(report.reasons),
    }


def print_report(
    report: "EmbedReport", args: argparse.Namespace, corpus: "CorpusView | None"
) -> None:
    """Print the closing summary."""
    embedded, changed = report.written - report.relabelled, report.changed - report.relabelled
    if args.dry_run:
        print(
            f"would embed {embedded:,} of {counted(report.read, 'document')} read"
            f" ({changed:,} of them changed), in {counted(len(report.segments), 'segment')}"
        )
    elif not embedded:
        print(f"nothing new to embed in {counted(report.read, 'document')} read")
    else:
        replaced = f" ({changed:,} replaced an older version)" if changed else ""
        speed = report.tokens / max(report.seconds, 1e-9)
        print(
            f"embedded {embedded:,} of {counted(report.read, 'document')} read:"
            f" {counted(report.sentences, 'sentence')}, {counted(report.tokens, 'token')}"
            f"{replaced} in {report.seconds:,.1f} s ({speed:,.0f} tokens/s on {report.device})"
        )
    if report.relabelled:
        print(
            f"metadata {'would be ' if args.dry_run else ''}updated:"
            f" {counted(report.relabelled, 'document')}, vectors kept"
        )
    print(f"unchanged: {report.unchanged:,}; rejected: {report.rejected:,}", end="")
    if report.rejected_sentences:
        print(f", and {counted(report.rejected_sentences, 'single sentence')}", end="")
    listed = ", ".join(f"{count:,} {reason}" for reason, count in report.reasons.most_common())
    print(f" ({listed})" if listed else "")
    if args.prune:
        print(f"{'would prune' if args.dry_run else 'pruned'}: {report.pruned:,}")
    if corpus is None:
        return
    if status(report) == REJECTED:
        _print_reject_files(corpus)
    live = corpus.live_counts()
    print(
        f"corpus {args.corpus}: {counted(live['documents'], 'document')},"
        f" {counted(live['sentences'], 'sentence')}, {counted(live['tokens'], 'token')}"
        f" in {counted(len(corpus.segments), 'segment')}"
    )


def _print_reject_files(corpus: "CorpusView") -> None:
    files = [
        f"{corpus.root}/segments/{segment.segment_id}/{part.path}"
        for segment in corpus.segments
        for part in segment.parts.get("rejects", ())
    ]
    for file in files[-3:]:
        print(f"rejects: {file}")
    if len(files) > 3:
        print(
            f"rejects: and {counted(len(files) - 3, 'more file')}; see: sensegrep info --rejects"
            f" --corpus {corpus.root}"
        )
