"""`sensegrep stream SOURCE --corpus URL`: keeps a corpus up to date from a source without end."""

import argparse
import json
import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from pipelines.commands.durations import parse_duration
from pipelines.commands.embed_options import RARE_OPTIONS as EMBED_RARE_OPTIONS
from pipelines.commands.embed_options import (
    add_model_arguments,
    add_reading_arguments,
    embed_options,
    model_options,
)
from pipelines.commands.wording import counted
from pipelines.errors import UsageError

if TYPE_CHECKING:
    from pipelines.embed.jobs.stream_job import StopRequest, StreamJob, StreamReport, StreamStatus

DONE, REJECTED = 0, 3
RARE_OPTIONS = (EMBED_RARE_OPTIONS - {"--fail-on-rejects"}) | {
    "--ahead", "--ahead-bytes", "--grace", "--max-starts", "--replace-source", "--accept-loss",
    "--index-memory", "--lines", "--line-breaks", "--metrics-port",
    "--vacuum-older-than", "--no-wait", "--compact-every",
}  # fmt: skip
accepts_beam_flags = True
# A shell or `timeout` sends a signal to a process and to its group: it comes twice, meant once.
_ONE_SIGNAL_SECONDS = 1.0

_EMBED_ONLY = {
    "--commit-every": "a stream commits by time: give --every 60s, and --ahead for most records",
    "--prune": 'a stream deletes by messages of the form {"id": ..., "deleted": true}',
    "--workers": "a stream embeds in one process, with all cores",
    "--dry-run": "a stream has no end to plan for; try it on a new --corpus with --until-idle 10s",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "source",
        metavar="SOURCE",
        help="watch:GLOB, kafka:BROKERS/TOPIC or pubsub:projects/P/subscriptions/S; a message is"
        ' a JSON object; {"id": ..., "deleted": true} deletes a document',
    )
    parser.add_argument(
        "--corpus", required=True, metavar="DIR", help="path or URL; created if missing"
    )
    streaming = parser.add_argument_group("stream")
    _add_stream_arguments(streaming)
    _add_upkeep_arguments(streaming)
    add_reading_arguments(parser.add_argument_group("messages"))
    add_model_arguments(parser.add_argument_group("model"))


def _add_stream_arguments(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--every",
        default="60s",
        metavar="TIME",
        help="longest time from a record to its commit (default: 60s)",
    )
    group.add_argument(
        "--until-idle",
        metavar="TIME",
        help="end after this time without new records",
    )
    group.add_argument(
        "--ahead",
        type=int,
        default=2000,
        metavar="N",
        help="records read before they must be committed (default: 2000)",
    )
    group.add_argument(
        "--ahead-bytes",
        default="64M",
        metavar="SIZE",
        help="the same in bytes; one record may be larger (default: 64M)",
    )
    group.add_argument(
        "--grace",
        default="20s",
        metavar="TIME",
        help="time for the last commit after SIGTERM or SIGINT; records that are not embedded by"
        " then are read again at the next start (default: 20s)",
    )
    group.add_argument(
        "--max-starts",
        type=int,
        default=5,
        metavar="N",
        help="number of starts without a new snapshot after which a failing stream ends"
        " (default: 5)",
    )
    group.add_argument(
        "--kafka-config",
        metavar="FILE",
        help="file with settings of Kafka's client, for TLS and SASL",
    )
    group.add_argument(
        "--replace-source",
        action="store_true",
        help="read another source than before, from its beginning; the documents of the corpus"
        " stay",
    )
    group.add_argument(
        "--accept-loss",
        action="store_true",
        help="continue although Kafka has removed messages that were not read yet; each gap is"
        " recorded as a reject",
    )
    group.add_argument(
        "--runner",
        metavar="NAME",
        help="Beam runner, such as PrismRunner; Beam's own flags may follow, as --flag=value"
        " (default: this process)",
    )
    group.add_argument(
        "--no-wait",
        action="store_true",
        help="with --runner: submit the job and return; nothing is merged, indexed or vacuumed then"
        " unless you run those commands",
    )
    group.add_argument(
        "--metrics-port",
        type=int,
        metavar="PORT",
        help="serve metrics for Prometheus on this port (extra: serve)",
    )
    group.add_argument(
        "--single-writer",
        action="store_true",
        help="no other job writes to this corpus (for stores without atomic creation)",
    )
    group.add_argument("--json", action="store_true", help="print the closing report as JSON")


def _add_upkeep_arguments(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--compact-every",
        type=int,
        default=10,
        metavar="N",
        help="merge N neighbouring segments of similar size into one; 0: never (default: 10)",
    )
    group.add_argument(
        "--index-every",
        metavar="TIME",
        help="index new documents this often (default: never)",
    )
    group.add_argument(
        "--index-memory",
        default="2G",
        metavar="SIZE",
        help="peak memory of building the index, in a separate process (default: 2G)",
    )
    group.add_argument(
        "--vacuum-older-than",
        default="1d",
        metavar="TIME",
        help="remove old snapshots and unused files that are older than this (default: 1d)",
    )


def execute(args: argparse.Namespace) -> int:
    """Stream until a signal, or until the source is idle; 0, or 3 if something was rejected."""
    _refuse_foreign(args.beam_args, args.runner)
    _check_no_wait(args)
    from pipelines.embed.jobs.beam_flags import quieten

    quieten(args.verbose)
    job = make_job(args)
    upkeep_options = _upkeep_options(args)
    from pipelines.commands.progress import ProgressDisplay
    from pipelines.embed.jobs.stream_job import StopRequest, StreamStatus
    from pipelines.maintenance.background_upkeep import BackgroundUpkeep

    stop, status = StopRequest(job.running.grace_seconds), StreamStatus()

    with ExitStack() as stack:
        stack.enter_context(_signals(stop))
        if args.metrics_port is not None:
            from pipelines.commands.stream_metrics import serve_metrics

            stack.enter_context(serve_metrics(status, args.metrics_port))
        if not args.no_wait:
            stack.enter_context(BackgroundUpkeep(args.corpus, upkeep_options, args.single_writer))
        stack.enter_context(ProgressDisplay(status.describe))
        report = _stream(args, job, stop, status)
    if report is None:
        print(f"submitted; follow it with: sensegrep info --corpus {args.corpus}")
        return DONE
    _print_report(report, args, status)
    rejected = report.rejected or report.rejected_sentences
    return REJECTED if rejected and not stop.requested else DONE


def _stream(
    args: argparse.Namespace, job: "StreamJob", stop: "StopRequest", status: "StreamStatus"
) -> "StreamReport | None":
    """Stream in this process, or on the engine that --runner names; None if it only submits."""
    from pipelines.embed.jobs.beam_flags import check_flags
    from pipelines.embed.jobs.engines import absolute, choose_engine

    def announce(text: str) -> None:
        print(f"sensegrep: {text}", file=sys.stderr)
        if args.index_every is None and not _has_index(args):
            print(
                f"sensegrep: the corpus at {args.corpus} has no index yet, and a search needs one:"
                f" run sensegrep index --corpus {args.corpus} after the first commits, or stream"
                " with --index-every 10m",
                file=sys.stderr,
            )

    named = [f"--runner={args.runner}"] if args.runner else []
    engine = choose_engine([*check_flags(args.beam_args), *named]) if named else None
    if engine is None:
        from pipelines.embed.jobs.streaming import stream

        return stream(job, stop, status, lambda place: announce(f"model {args.model} on {place}"))
    from pipelines.embed.jobs.stream_launch import stream_on_engine

    kind, _, pattern = job.source.partition(":")
    config, model = job.kafka_config, job.model
    job = replace(
        job,
        source=f"watch:{absolute(pattern)}" if kind == "watch" else job.source,
        corpus=absolute(job.corpus),
        kafka_config=None if config is None else absolute(config),
        model=replace(model, model=absolute(model.model)) if os.path.exists(model.model) else model,
    )
    return stream_on_engine(job, engine, stop, status, announce)


def _has_index(args: argparse.Namespace) -> bool:
    from pipelines.corpus.view import CorpusView

    corpus = CorpusView.open_or_create(args.corpus, single_writer=args.single_writer)
    return corpus.snapshot.index is not None


def _check_no_wait(args: argparse.Namespace) -> None:
    """Refuse what needs a process that stays, for a job that is submitted and left.

    Raises:
      UsageError: naming the option.
    """
    if not args.no_wait:
        return
    if args.runner is None:
        raise UsageError("--no-wait is for a job on an engine; give --runner, or leave it out")
    for name, value in (("--metrics-port", args.metrics_port), ("--index-every", args.index_every)):
        if value is not None:
            raise UsageError(
                f"{name} works only while this command runs, but --no-wait ends it after the"
                " submission; leave out one of them (indexes: run `sensegrep index` on a schedule)"
            )


def _refuse_foreign(rest: list[str], runner: str | None) -> None:
    for word in rest:
        name = word.split("=", 1)[0]
        if name in _EMBED_ONLY:
            raise UsageError(f"{name} is an option of `sensegrep embed`; {_EMBED_ONLY[name]}")
    if rest and runner is None:
        raise UsageError(f"unknown option {rest[0]}; see: sensegrep stream --help-all")


def make_job(args: argparse.Namespace) -> "StreamJob":
    """Check the arguments and gather them."""
    from pipelines.embed.jobs.stream_job import StreamJob, StreamOptions
    from pipelines.index.options import parse_size
    from pipelines.reading.options import InputOptions
    from pipelines.reading.stream_batch import BatchLimits

    idle = args.until_idle
    return StreamJob(
        source=args.source,
        corpus=args.corpus,
        kafka_config=args.kafka_config,
        reading=InputOptions(id_field=args.id_field, text_field=args.text_field, lines=args.lines),
        model=model_options(args),
        embedding=embed_options(args),
        running=StreamOptions(
            every_seconds=parse_duration(args.every, "--every"),
            until_idle_seconds=None if idle is None else parse_duration(idle, "--until-idle"),
            ahead=BatchLimits(records=args.ahead, bytes=parse_size(args.ahead_bytes)),
            grace_seconds=parse_duration(args.grace, "--grace"),
            max_reject_fraction=args.max_reject_fraction,
            max_starts=args.max_starts,
            replace_source=args.replace_source,
            accept_loss=args.accept_loss,
            wait=not args.no_wait,
        ),
        single_writer=args.single_writer,
    )


def _upkeep_options(args: argparse.Namespace) -> Any:
    from pipelines.index.options import parse_size
    from pipelines.maintenance.background_upkeep import UpkeepOptions

    every = args.index_every
    parse_size(args.index_memory)
    return UpkeepOptions(
        compact_every=args.compact_every,
        index_every_seconds=None if every is None else parse_duration(every, "--index-every"),
        index_memory=args.index_memory,
        vacuum_older_than_seconds=parse_duration(args.vacuum_older_than, "--vacuum-older-than"),
    )


@contextmanager
def _signals(stop: "StopRequest") -> Iterator[None]:
    """Let SIGTERM and SIGINT ask for the end; one that is sent again ends at once."""
    asked = 0.0

    def handle(number: int, frame: object) -> None:
        nonlocal asked
        del frame
        if stop.requested:
            if time.monotonic() < asked + _ONE_SIGNAL_SECONDS:
                return
            raise KeyboardInterrupt
        asked = time.monotonic()
        name = signal.Signals(number).name
        print(
            f"sensegrep: {name} received: making the last commit; send it again to stop at once",
            file=sys.stderr,
        )
        stop.request()

    before = {number: signal.signal(number, handle) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _print_report(report: "StreamReport", args: argparse.Namespace, status: "StreamStatus") -> None:
    if args.json:
        fields = {"corpus": args.corpus, "source": args.source, **vars(report)}
        print(json.dumps({**fields, "reasons": dict(report.reasons)}, ensure_ascii=False))
        return
    print(
        f"embedded {report.written:,} of {counted(report.read, 'record')} read"
        f" ({report.changed:,} changed documents): {counted(report.sentences, 'sentence')},"
        f" {counted(report.tokens, 'token')} in {counted(report.commits, 'commit')}"
    )
    listed = ", ".join(f"{count:,} {reason}" for reason, count in report.reasons.most_common())
    print(
        f"unchanged: {report.unchanged:,}; overtaken by a later record: {report.replaced:,};"
        f" deletions: {report.deleted:,}; rejected: {report.rejected:,}"
        + (f" ({listed})" if listed else "")
    )
    if report.rejected:
        print(f"all rejects: sensegrep info --rejects --corpus {args.corpus}")
    print(f"corpus {args.corpus}: snapshot {report.snapshot}, restarts {status.restarts}")
