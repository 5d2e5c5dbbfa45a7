"""`sensegrep compact --corpus DIR`: merge segments, without deleted documents."""

import argparse

from pipelines.commands.wording import counted
from pipelines.errors import UsageError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--corpus", required=True, metavar="DIR", help="path or URL")
    parser.add_argument(
        "--max-documents",
        type=int,
        default=100_000,
        metavar="N",
        help="largest number of documents in a merged segment",
    )
    parser.add_argument(
        "--single-writer",
        action="store_true",
        help="no other job writes to this corpus (for stores without atomic creation)",
    )


def execute(args: argparse.Namespace) -> int:
    """Merge neighbouring segments, one commit a group."""
    from pipelines.corpus.view import CorpusView
    from pipelines.maintenance.compact import compact, groups_to_compact

    if args.max_documents < 1:
        raise UsageError(f"--max-documents is {args.max_documents}, expected at least 1")
    corpus = CorpusView.open(args.corpus, single_writer=args.single_writer)
    before = len(corpus.segments)
    groups = groups_to_compact(corpus, args.max_documents)
    if not groups:
        print(f"nothing to compact in {counted(before, 'segment')}")
        return 0
    for group in groups:
        corpus = compact(corpus, group)
    print(f"compacted {counted(before, 'segment')} into {len(corpus.segments):,}")
    print(f"next: sensegrep index --corpus {args.corpus}; sensegrep vacuum frees the old files")
    return 0
