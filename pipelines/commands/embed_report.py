"""What `embed` and `run` print at their end, and the status they exit with."""

import argparse
from typing import TYPE_CHECKING

from pipelines.commands.output import say
from pipelines.commands.wording import counted

if TYPE_CHECKING:
    from pipelines.corpus.view import CorpusView
    from pipelines.embed.jobs.job import EmbedReport

DONE, REJECTED = 0, 3


def status(report: "EmbedReport") -> int:
    """Return the exit status that a report deserves."""
    return REJECTED if report.rejected or report.rejected_sentences else DONE


def exit_status(report: "EmbedReport", args: argparse.Namespace) -> int:
    """Return the status to exit with: that of the report, unless rejects are no failure."""
    return status(report) if args.fail_on_rejects else DONE


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
        if not report.read:
            print("the input has no documents: check that its files are not empty")
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
    for example in report.examples:
        say(f"  {example}")
    if args.prune:
        print(f"{'would prune' if args.dry_run else 'pruned'}: {report.pruned:,}{_kept(report)}")
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


def _kept(report: "EmbedReport") -> str:
    if not report.kept:
        return ""
    return (
        f"; {counted(report.kept, 'document')} of the corpus would be pruned, but"
        f" {counted(report.nameless, 'rejected record')} had no id that could be read, and may be"
        " one of them; correct the records and run the command again"
    )


def _print_reject_files(corpus: "CorpusView") -> None:
    files = [
        f"{corpus.root}/segments/{segment.segment_id}/{part.path}"
        for segment in corpus.segments
        for part in segment.parts.get("rejects", ())
    ]
    for file in files[-3:]:
        print(f"rejects: {file}")
    more = f" and {counted(len(files) - 3, 'more file')}" if len(files) > 3 else ""
    print(f"all rejects{more}: sensegrep info --rejects --corpus {corpus.root}")
