"""Maintenance after a scheduled run: merge small segments above a threshold.

A corpus that is fed a little every night must stay as quick to search as one built at once, and no
night may rewrite all of it. So the newest segments are merged first, and an older one only while it
has at most twice the documents of those that it is merged with (a log-structured merge).
"""

from pipelines.corpus.view import CorpusView
from pipelines.errors import UsageError
from pipelines.maintenance.compact import compact
from schemas import Segment

MAX_DOCUMENTS = 100_000
GROWTH = 2
MAX_DELETED_SHARE = 0.3


def keep_compact(corpus: CorpusView, over: int) -> CorpusView:
    """Merge the newest segments if more than `over` are live; returns the corpus after it.

    A segment of which over 30 % of the documents are deleted is rewritten without them.

    Args:
      corpus: which corpus.
      over: segments that may stand side by side.

    Raises:
      UsageError: if `over` is below 1.
      CorpusError: if another writer changed the segments meanwhile.
    """
    if over < 1:
        raise UsageError(f"--compact-over is {over}, expected at least 1")
    groups = [[s.segment_id] for s in corpus.segments if _mostly_deleted(corpus, s)]
    if len(corpus.segments) > over:
        newest = newest_to_merge(corpus.segments)
        groups = [group for group in groups if group[0] not in newest]
        groups += [newest] if len(newest) > 1 else []
    for group in groups:
        corpus = compact(corpus, group)
    return corpus


def newest_to_merge(segments: tuple[Segment, ...]) -> list[str]:
    """Return the ids of the newest segments that are worth one merge, in the order of the corpus.

    Worked example, documents of each segment, oldest first: 900, 500, 50, 50, 50 merges the last
    three; then 500 is over twice 150, and stays.
    """
    taken: list[Segment] = []
    held = 0
    for segment in reversed(segments):
        documents = segment.counts["documents"]
        same = not taken or taken[0].recipe == segment.recipe
        small = not taken or documents <= GROWTH * held
        if not (same and small and held + documents <= MAX_DOCUMENTS):
            break
        taken.append(segment)
        held += documents
    return [segment.segment_id for segment in reversed(taken)]


def _mostly_deleted(corpus: CorpusView, segment: Segment) -> bool:
    deleted = corpus.tombstones.get(segment.segment_id)
    documents = segment.counts["documents"]
    return deleted is not None and len(deleted) > MAX_DELETED_SHARE * documents
