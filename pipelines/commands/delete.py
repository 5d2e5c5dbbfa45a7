"""`sensegrep delete DOC_ID... --corpus DIR`: delete documents from a corpus."""

import argparse
import time
from typing import TYPE_CHECKING

from pipelines.commands.wording import counted
from pipelines.errors import CorpusError, UsageError

if TYPE_CHECKING:
    from pipelines.corpus.writers import Writer

POLL_SECONDS = 0.5


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("doc_ids", nargs="*", metavar="DOC_ID", help="ids of documents")
    parser.add_argument("--corpus", required=True, metavar="DIR", help="path or URL")
    parser.add_argument("--ids-from", metavar="FILE", help="file with one id per line")
    parser.add_argument(
        "--purge",
        action="store_true",
        help="also remove from the disk: their rows, the rows of all documents deleted or replaced"
        " before, all old snapshots, and the index; waits for running commands that may read them",
    )
    parser.add_argument(
        "--no-wait",
        action="store_true",
        help="with --purge: fail instead of waiting; the purge can be run again",
    )
    parser.add_argument(
        "--single-writer",
        action="store_true",
        help="no other job writes to this corpus (for stores without atomic creation)",
    )


def execute(args: argparse.Namespace) -> int:
    """Delete; an id that is not there is an error, and then nothing is deleted."""
    from pipelines.corpus.view import CorpusView
    from pipelines.maintenance.delete import delete, find_documents, is_being_purged, purge

    if args.no_wait and not args.purge:
        raise UsageError("--no-wait is for --purge, which may wait; give --purge too")
    doc_ids = list(args.doc_ids)
    if args.ids_from:
        doc_ids += read_ids(args.ids_from)
    if not doc_ids and not args.purge:
        raise UsageError("no document is given; give ids, or --ids-from FILE")
    corpus = CorpusView.open(args.corpus, single_writer=args.single_writer)
    found, missing = find_documents(corpus, doc_ids)
    if args.purge:  # one that was stopped goes on
        missing = [doc_id for doc_id in missing if not is_being_purged(corpus, doc_id)]
    if missing:
        absent = f"the document {missing[0]!r} is"
        if len(missing) > 1:
            absent = f"{len(missing):,} of these documents, such as {missing[0]!r}, are"
        raise UsageError(
            f"{absent} not in the corpus {args.corpus}; nothing was deleted; check the ids, or"
            " leave out those that are gone"
        )
    corpus = delete(corpus, found, purge=args.purge)
    done = f"deleted {counted(len(set(doc_ids)), 'document')}"
    if args.purge:
        had_index = corpus.snapshot.index is not None
        corpus, writers = purge(corpus, _Waiting(no_wait=args.no_wait))
        if writers:
            raise CorpusError(
                f"{done}, but their rows are still on the disk: {writers[0]} is running and may"
                " read them; when it has ended, run: sensegrep delete --purge --corpus"
                f" {args.corpus}"
            )
        done += ", and removed the rows of all deleted and replaced documents from the disk"
        done += " with the index" if had_index else ""
    print(f"{done}; left: {counted(corpus.live_counts()['documents'], 'document')}")
    if args.purge and had_index:
        print(f"next: sensegrep index --corpus {args.corpus}")
    return 0


def read_ids(path: str) -> list[str]:
    """Return the ids in a file, one on each line.

    Raises:
      UsageError: if it is not text.
      OSError: if it cannot be read.
    """
    from pipelines.reading.encodings import as_utf8

    with as_utf8(open(path, "rb")) as file:
        data = file.read()
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UsageError(
            f"--ids-from {path} is not UTF-8 ({error}); convert it, as in: iconv -f WINDOWS-1252"
            " -t UTF-8 FILE"
        ) from error
    return [line for line in text.replace("\r\n", "\n").split("\n") if line.strip()]


class _Waiting:
    """Waits for running writers, and says so once for each."""

    def __init__(self, *, no_wait: bool) -> None:
        self._no_wait = no_wait
        self._told: set[str] = set()

    def __call__(self, writers: "list[Writer]") -> bool:
        if self._no_wait:
            return False
        for writer in writers:
            if writer.writer_id not in self._told:
                print(
                    f"waiting for {writer} to end: it may still read the rows that are to be"
                    " removed"
                )
                self._told.add(writer.writer_id)
        time.sleep(POLL_SECONDS)
        return True
