"""`sensegrep delete DOC_ID... --corpus DIR`: documents out of a corpus."""

import argparse

from pipelines.commands.wording import counted
from pipelines.errors import UsageError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("doc_ids", nargs="*", metavar="DOC_ID", help="ids of documents")
    parser.add_argument("--corpus", required=True, metavar="DIR", help="path or URL")
    parser.add_argument("--ids-from", metavar="FILE", help="a file with an id a line")
    parser.add_argument(
        "--purge",
        action="store_true",
        help="remove their rows from the disk too, with those of all documents deleted or replaced"
        " before, all old snapshots, and the index",
    )
    parser.add_argument(
        "--single-writer", action="store_true", help="nobody else writes to this corpus"
    )


def execute(args: argparse.Namespace) -> int:
    """Delete; an id that is not there is an error, and then nothing is deleted."""
    from pipelines.corpus.view import CorpusView
    from pipelines.maintenance.delete import delete, find_documents, purge

    doc_ids = list(args.doc_ids)
    if args.ids_from:
        with open(args.ids_from, encoding="utf-8") as file:
            doc_ids += [line.rstrip("\n") for line in file if line.strip()]
    if not doc_ids and not args.purge:
        raise UsageError("no document is named; give ids, or --ids-from FILE")
    corpus = CorpusView.open(args.corpus, single_writer=args.single_writer)
    found, missing = find_documents(corpus, doc_ids)
    if missing:
        raise UsageError(
            f"{len(missing)} of these documents are not in {args.corpus}, such as {missing[0]!r};"
            " nothing was deleted"
        )
    corpus = delete(corpus, found)
    done = f"deleted {counted(len(set(doc_ids)), 'document')}"
    if args.purge:
        had_index = corpus.snapshot.index is not None
        corpus = purge(corpus)
        done += ", and removed from the disk what was deleted or replaced"
        if had_index:
            done += f"; the index went too: sensegrep index --corpus {args.corpus}"
    print(f"{done}; left: {counted(corpus.live_counts()['documents'], 'document')}")
    return 0
