"""`sensegrep run INPUT... --corpus DIR`: embed, then index."""

import argparse
import json
from typing import TYPE_CHECKING, Any

from pipelines.commands import embed
from pipelines.commands.index import format_report

if TYPE_CHECKING:
    from pipelines.index.options import IndexOptions

accepts_beam_flags = True


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options: those of `embed`, and the memory limit of `index`."""
    embed.add_arguments(parser)
    parser.add_argument_group("index").add_argument(
        "--max-memory",
        metavar="SIZE",
        help="peak memory of building the index, such as 4G (default: 2G)",
    )


def execute(args: argparse.Namespace) -> int:
    """Embed, index, print what was done; 0, or 3 if something was rejected."""
    report, corpus = embed.run_embed(args)
    index: dict[str, Any] = {}
    if corpus is not None and corpus.live_counts()["sentences"]:
        from pipelines.index.build import build_index

        index = build_index(args.corpus, _index_options(args))
    if args.json:
        print(json.dumps({**embed.as_json(report, args), "index": index}, ensure_ascii=False))
        return embed.status(report)
    embed.print_report(report, args, corpus)
    if index:
        print(format_report(index))
    if corpus is not None:
        example = "They sat on the [bank] of the river"
        print(f"next: sensegrep search --corpus {args.corpus} '{example}'")
    return embed.status(report)


def _index_options(args: argparse.Namespace) -> "IndexOptions":
    from pipelines.index.options import IndexOptions, parse_size

    if args.max_memory is None:
        return IndexOptions()
    return IndexOptions(max_memory_bytes=parse_size(args.max_memory))
