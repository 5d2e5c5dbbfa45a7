"""Delete: documents tombstoned, or gone from the disk."""

from collections.abc import Iterable, Mapping, Sequence

from pipelines.corpus.commits import Change, commit
from pipelines.corpus.view import CorpusView
from pipelines.maintenance.compact import compact
from pipelines.maintenance.vacuum import vacuum


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


def delete(corpus: CorpusView, found: Mapping[str, Sequence[str]]) -> CorpusView:
    """Tombstone documents, given by segment; returns the corpus after it."""
    if not any(found.values()):
        return corpus
    return commit(corpus, Change(operation="delete", supersede=found))


def purge(corpus: CorpusView) -> CorpusView:
    """Remove what is tombstoned from the disk too: rewrite, then drop every older state.

    Afterwards no file has rows of documents that were deleted or replaced: no segment, no old
    snapshot's, no index (which holds copies of sentences), no reject that names a deleted one.
    """
    deleted = {doc_id for ids in corpus.tombstones.values() for doc_id in ids.to_pylist()}
    live, _ = find_documents(corpus, deleted)
    gone = deleted.difference(*live.values())
    for segment in corpus.segments:
        named = any(
            doc_id in gone
            for batch in corpus.read("rejects", ["doc_id"], [segment.segment_id])
            for doc_id in batch.column("doc_id").to_pylist()
        )
        if named or segment.segment_id in corpus.tombstones:
            corpus = compact(corpus, [segment.segment_id], forget=frozenset(gone))
    if corpus.snapshot.index is not None:
        corpus = commit(corpus, Change(operation="purge", drop_index=True))
    vacuum(corpus, older_than_seconds=0.0, keep_snapshots=1)
    return corpus
