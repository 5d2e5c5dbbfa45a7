"""What a stream knows of its corpus, and what a batch changes in it. Pure functions."""

from collections import Counter
from collections.abc import Container, Iterable
from dataclasses import dataclass, field

from pipelines.corpus.view import CorpusView
from pipelines.embed.selection import LiveDocuments
from pipelines.reading.documents import Document, Reject, content_digest
from pipelines.reading.messages import Deletion, Message

# Remembered rows that are not live any more, before all are read again.
STALE_ROWS = 100_000


class StreamDocuments:
    """The live documents of a corpus that changes: by this stream and by other writers.

    Args:
      corpus: as it is at the start.
      recipe: digest of the recipe of this stream.
    """

    def __init__(self, corpus: CorpusView, recipe: str) -> None:
        self._recipe = recipe
        self._rebuild(corpus)

    def _rebuild(self, corpus: CorpusView) -> None:
        self._live = LiveDocuments(corpus, self._recipe)
        self._known = {segment.segment_id for segment in corpus.segments}
        self._rows = sum(segment.counts["documents"] for segment in corpus.segments)
        self._see(corpus)

    def _see(self, corpus: CorpusView) -> None:
        self._segments = {segment.segment_id for segment in corpus.segments}
        self._deleted = {
            segment_id: frozenset(ids.to_pylist()) for segment_id, ids in corpus.tombstones.items()
        }

    def refresh(self, corpus: CorpusView) -> None:
        """Take up what was committed since."""
        new = [s for s in corpus.segments if s.segment_id not in self._known]
        self._rows += sum(segment.counts["documents"] for segment in new)
        live = sum(segment.counts["documents"] for segment in corpus.segments)
        if self._rows > 2 * live + STALE_ROWS:
            self._rebuild(corpus)
            return
        for segment in new:
            self._live.add(corpus, segment, self._recipe)
            self._known.add(segment.segment_id)
        self._see(corpus)

    def find(self, doc_id: str) -> tuple[str, bytes] | None:
        """Return (segment id, start of the text's hash) of a live document, or None."""
        found = self._live.find(doc_id)
        if found is None or found[0] not in self._segments:
            return None
        if doc_id in self._deleted.get(found[0], ()):
            return None
        return found[0], found[1]

    def knows_reject(self, reject: Reject) -> bool:
        """Say whether a reject of a whole record was recorded before."""
        return self._live.knows_reject(reject)


@dataclass(kw_only=True)
class BatchChoice:
    """What a batch of a stream changes.

    Attributes:
      documents: to embed, the last version of each, in the order of the source.
      rejects: not recorded before.
      deletions: ids that must not stay live.
      read: records of the batch.
      rejected: of these; those recorded before included.
      unchanged: documents whose live version is the same.
      replaced: documents and deletions that a later record of the batch overtook.
      deleted: deletions that count.
      reasons: how many new rejects for each reason.
    """

    documents: list[Document] = field(default_factory=list)
    rejects: list[Reject] = field(default_factory=list)
    deletions: list[str] = field(default_factory=list)
    read: int = 0
    rejected: int = 0
    unchanged: int = 0
    replaced: int = 0
    deleted: int = 0
    reasons: Counter[str] = field(default_factory=Counter)


def choose(
    messages: Iterable[Message], known: StreamDocuments, pending: Container[str] = ()
) -> BatchChoice:
    """Decide what is embedded: of equal ids the last version that is no reject.

    "Unchanged" rests on `known`, which must hold everything committed before this batch.

    Args:
      messages: of the batch.
      known: the live documents.
      pending: ids that batches before this one bring or delete and that `known` does not hold yet;
        they are never unchanged.
    """
    choice = BatchChoice()
    last: dict[str, Document | Deletion] = {}
    for message in messages:
        choice.read += 1
        if isinstance(message, Reject):
            choice.rejected += 1
            if not known.knows_reject(message):
                choice.rejects.append(message)
                choice.reasons[message.reason] += 1
            continue
        # Taken out first, so that the order is that of the last versions.
        choice.replaced += last.pop(message.doc_id, None) is not None
        last[message.doc_id] = message
    for doc_id, message in last.items():
        if isinstance(message, Deletion):
            choice.deleted += 1
            choice.deletions.append(doc_id)
            continue
        live = None if doc_id in pending else known.find(doc_id)
        if live is not None and live[1] == content_digest(message.sha256, message.metadata):
            choice.unchanged += 1
        else:
            choice.documents.append(message)
    return choice
