"""`sensegrep run INPUT... --corpus DIR`: embed, then index."""

import argparse
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from pipelines.commands import embed
from pipelines.commands.embed_report import as_json, exit_status, print_report
from pipelines.commands.index import format_report
from pipelines.commands.output import print_json
from pipelines.commands.vacuum import parse_age
from pipelines.commands.wording import counted
from pipelines.errors import UsageError

if TYPE_CHECKING:
    from pipelines.corpus.view import CorpusView
    from pipelines.index.options import IndexOptions

accepts_beam_flags = True
RARE_OPTIONS = embed.RARE_OPTIONS | {"--compact-over", "--vacuum-older-than"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options: those of `embed`, the memory limit of `index`, and upkeep."""
    embed.declare_options(parser).add_argument(
        "--max-memory",
        metavar="SIZE",
        help="peak memory of building the index; the model and PyTorch, which stay loaded, add"
        " about 600 MB (default: 2G)",
    )
    upkeep = parser.add_argument_group("upkeep, for runs by a scheduler")
    upkeep.add_argument(
        "--compact-over",
        type=int,
        metavar="N",
        help="merge small segments of similar size when the corpus has more than N segments"
        " (default: never)",
    )
    upkeep.add_argument(
        "--vacuum-older-than",
        metavar="AGE",
        help="remove files that no snapshot uses and that are older than this, such as 12h or 7d"
        " (default: remove nothing)",
    )


def execute(args: argparse.Namespace) -> int:
    """Embed, merge what is small, index, clean up, print what was done; 0, or 3 for rejects."""
    _check_upkeep(args)
    if args.no_wait:
        raise UsageError(
            "--no-wait cannot be used with run, which indexes after it has"
            " embedded; use: sensegrep embed ... --no-wait"
        )
    report, corpus = embed.run_embed(args)
    assert report is not None
    merged = ""
    if corpus is not None and args.compact_over is not None:
        corpus, merged = _merge_small(args)
    index: dict[str, Any] = {}
    if corpus is not None and corpus.live_counts()["sentences"]:
        from pipelines.index.build import build_index

        index = build_index(args.corpus, _index_options(args, embed.beam_args(args)))
    removed = _remove_old(args) if corpus is not None and args.vacuum_older_than else None
    if args.json:
        print_json({**as_json(report, args), "index": index})
        return exit_status(report, args)
    print_report(report, args, corpus)
    if merged:
        print(merged)
    if index:
        print(format_report(index))
    if removed is not None:
        print(f"removed {counted(removed, 'old file')}")
    if corpus is not None:
        words = args.tokens != "none"
        example = "They sat on the [bank] of the river" if words else "a loan from a bank"
        print(f"next: sensegrep search --corpus {args.corpus} '{example}'")
    return exit_status(report, args)


def _check_upkeep(args: argparse.Namespace) -> None:
    """Refuse impossible limits before any work."""
    _index_options(args, ())
    if args.compact_over is not None and args.compact_over < 1:
        raise UsageError(f"--compact-over is {args.compact_over}, expected at least 1")
    if args.vacuum_older_than is not None:
        parse_age(args.vacuum_older_than, "--vacuum-older-than")


def _merge_small(args: argparse.Namespace) -> "tuple[CorpusView, str]":
    """Merge small segments; returns the corpus after it, and what was done in words."""
    from pipelines.corpus.view import CorpusView
    from pipelines.maintenance.compact import compact_while
    from pipelines.maintenance.merge_policy import next_merge_over

    corpus = CorpusView.open(args.corpus, single_writer=args.single_writer)
    before = len(corpus.segments)
    number = corpus.snapshot.number
    corpus = compact_while(corpus, partial(next_merge_over, limit=args.compact_over))
    if corpus.snapshot.number == number:
        return corpus, ""
    return corpus, f"compacted {counted(before, 'segment')} into {len(corpus.segments):,}"


def _remove_old(args: argparse.Namespace) -> int:
    """Remove files that nothing names any more; returns how many."""
    from pipelines.corpus.view import CorpusView
    from pipelines.maintenance.vacuum import vacuum

    age = parse_age(args.vacuum_older_than, "--vacuum-older-than")
    return vacuum(CorpusView.open(args.corpus), older_than_seconds=age).files


def _index_options(args: argparse.Namespace, flags: Sequence[str]) -> "IndexOptions":
    from pipelines.index.options import IndexOptions, parse_size

    memory = (
        IndexOptions.max_memory_bytes if args.max_memory is None else parse_size(args.max_memory)
    )
    return IndexOptions(max_memory_bytes=memory, beam_args=tuple(flags))
