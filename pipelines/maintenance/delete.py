"""Delete: mark documents as deleted, or remove them from the disk."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from hashlib import sha256

from pipelines.corpus.commits import Change, commit
from pipelines.corpus.manifests import snapshot_numbers, snapshot_path
from pipelines.corpus.view import CorpusView
from pipelines.corpus.writers import Writer, writers_of
from pipelines.errors import CorpusError
from pipelines.maintenance.compact import compact
from pipelines.maintenance.vacuum import vacuum
from schemas import Segment

MAX_PASSES = 100


def find_documents(
    corpus: CorpusView, doc_ids: Iterable[str]
) -> tuple[dict[str, list[str]], list[str]]:
    """Return for each segment which of the documents it has live, and those that none has."""
    wanted = set(doc_ids)
    found: dict[str, list[str]] = {}
    for segment in corpus.segments:
        for batch in corpus.read("documents", ["doc_id"], [segment.segment_id]):
            here = [doc_id for doc_id in batch.column("doc_id").to_pylist() if doc_id in wanted]
            if here:
                found.setdefault(segment.segment_id, []).extend(here)
    return found, sorted(wanted.difference(*found.values()))


def delete(
    corpus: CorpusView, found: Mapping[str, Sequence[str]], purge: bool = False
) -> CorpusView:
    """Tombstone documents, given by segment; returns the corpus after it.

    Args:
      corpus: which.
      found: as `find_documents` gives them.
      purge: they are to be purged, and the corpus says so until that is done.
    """
    doc_ids = frozenset(doc_id for ids in found.values() for doc_id in ids)
    due = {*(corpus.snapshot.purge or ()), *map(purge_mark, doc_ids)} if purge else None
    if not doc_ids and due == set(corpus.snapshot.purge or ()) and corpus.snapshot.purge:
        return corpus
    if not doc_ids and not purge:
        return corpus
    change = Change(
        operation="delete",
        supersede=found,
        delete=doc_ids,
        purge=None if due is None else tuple(sorted(due)),
    )
    return commit(corpus, change)


def purge_mark(doc_id: str) -> str:
    """Return what a snapshot remembers of a document that is to be purged."""
    return sha256(doc_id.encode("utf-8", errors="surrogatepass")).hexdigest()


def is_being_purged(corpus: CorpusView, doc_id: str) -> bool:
    """Say whether an earlier purge of a document was not finished."""
    return purge_mark(doc_id) in (corpus.snapshot.purge or ())


def purge(
    corpus: CorpusView, wait: Callable[[list[Writer]], bool] = lambda _: False
) -> tuple[CorpusView, list[Writer]]:
    """Remove what is tombstoned from the disk too: rewrite, then drop every older state.

    Afterwards no file has rows of documents that were deleted or replaced: no segment, no old
    snapshot's, no index (which holds copies of sentences), no reject that names a deleted one.
    It can be stopped at any moment and run again.

    Args:
      corpus: which.
      wait: called while writers run that may still read such rows, again and again; waits a while
        and returns True, or returns False to give up.

    Returns:
      The corpus afterwards, and the writers that were not waited for: rows that they may read are
      still on the disk then.
    """
    corpus = _rewrite(_begun(corpus))
    if corpus.snapshot.index is not None:
        corpus = commit(corpus, Change(operation="purge", drop_index=True))
    number = corpus.snapshot.number
    while True:
        vacuum(corpus, older_than_seconds=0.0, keep_snapshots=1)
        before = [w for w in writers_of(corpus.store)[0] if w.snapshot < number]
        if not before:
            break
        if not wait(before):
            return corpus.refresh(), before
    corpus = commit(corpus.refresh(), Change(operation="purge", purged=True))
    _drop_older_snapshots(corpus)
    return corpus, []


def _begun(corpus: CorpusView) -> CorpusView:
    """Let the corpus say that it is being purged, and of which documents rejects must go."""
    deleted = {doc_id for ids in corpus.tombstones.values() for doc_id in ids.to_pylist()}
    rejected = deleted & _rejected(corpus, None)
    live, _ = find_documents(corpus, rejected)
    due = {purge_mark(doc_id) for doc_id in rejected.difference(*live.values())}
    if corpus.snapshot.purge is not None and due <= set(corpus.snapshot.purge):
        return corpus
    marks = tuple(sorted(due.union(corpus.snapshot.purge or ())))
    return commit(corpus, Change(operation="purge", purge=marks))


def _rewrite(corpus: CorpusView) -> CorpusView:
    """Compact every segment that has rows of deleted documents, and those that come meanwhile."""
    for _ in range(MAX_PASSES):
        named = {doc_id for doc_id in _rejected(corpus, None) if is_being_purged(corpus, doc_id)}
        live, _ = find_documents(corpus, named)
        gone = frozenset(named.difference(*live.values()))
        due = [
            segment.segment_id
            for segment in corpus.segments
            if segment.segment_id in corpus.tombstones or gone & _rejected(corpus, segment)
        ]
        if not due:
            return corpus
        for segment_id in due:
            if segment_id in corpus.snapshot.segments:
                corpus = compact(corpus, [segment_id], forget=gone)
    raise CorpusError(
        f"{corpus.root}: other commands delete or replace documents faster than their rows can"
        " be removed; run the command again"
    )


def _rejected(corpus: CorpusView, segment: Segment | None) -> set[str]:
    """Return the ids that rejects name, in one segment or in all."""
    segment_ids = None if segment is None else [segment.segment_id]
    return {
        doc_id
        for batch in corpus.read("rejects", ["doc_id"], segment_ids)
        for doc_id in batch.column("doc_id").to_pylist()
        if doc_id is not None
    }


def _drop_older_snapshots(corpus: CorpusView) -> None:
    """Remove the snapshots of the purge itself, which name nothing that the newest does not."""
    store = corpus.store
    oldest = min((w.snapshot for w in writers_of(store)[0]), default=corpus.snapshot.number)
    for number in snapshot_numbers(store):
        if number < min(oldest, corpus.snapshot.number):
            store.remove(snapshot_path(number))
