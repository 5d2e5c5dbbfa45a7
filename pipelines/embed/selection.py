"""Which documents are new, changed, unchanged or duplicates, in bounded memory.

A document or reject is remembered as a 16-byte digest, so a corpus of a million documents costs
about 120 MB here, whatever its texts are like.
"""

from array import array
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from pipelines.corpus.view import CorpusView
from pipelines.embed.digest_table import DIGEST_BYTES, DigestTable, digest
from pipelines.reading.documents import Document, Reject, content_digest
from schemas import Segment


class LiveDocument(NamedTuple):
    """A live document, as far as it is remembered.

    Attributes:
      segment_id: where its rows are.
      content: digest of its text and metadata.
      text: digest of its text.
      rejected_sentences: of it.
    """

    segment_id: str
    content: bytes
    text: bytes
    rejected_sentences: int


class LiveDocuments:
    """What a corpus holds, by document: its segment, and whether text and metadata are the same.

    Args:
      corpus: whose live documents and rejects are remembered.
      recipe: digest of the recipe of this job; documents made by another one count as changed.
    """

    def __init__(self, corpus: CorpusView, recipe: str) -> None:
        expected = sum(segment.counts["documents"] for segment in corpus.segments)
        self._documents = DigestTable(expected)
        self._rows = array("q")  # segment, rejected sentences
        self._contents = bytearray()  # digests of text and metadata, and of the text
        self._rejects = DigestTable(sum(s.counts["rejects"] for s in corpus.segments))
        self._segments: list[str] = []
        for segment in corpus.segments:
            self.add(corpus, segment, recipe)

    def add(self, corpus: CorpusView, segment: Segment, recipe: str) -> None:
        """Remember the live documents and the rejects of one more segment."""
        number = len(self._segments)
        self._segments.append(segment.segment_id)
        same_recipe = segment.recipe == recipe
        columns = ["doc_id", "sha256", "metadata", "rejected_sentences"]
        for batch in corpus.read("documents", columns, [segment.segment_id]):
            rows = zip(*(batch.column(name).to_pylist() for name in columns), strict=True)
            for doc_id, sha256, metadata, rejected in rows:
                self._documents.put(digest(doc_id), len(self._rows) // 2)
                self._rows.extend((number, rejected))
                if same_recipe:
                    self._contents += content_digest(sha256, dict(metadata)) + _text_digest(sha256)
                else:
                    self._contents += bytes(2 * DIGEST_BYTES)
        columns = ["uri", "position", "reason", "sentence_index"]
        for batch in corpus.read("rejects", columns, [segment.segment_id]):
            for row in zip(*(batch.column(name).to_pylist() for name in columns), strict=True):
                if row[3] is None:
                    self._rejects.put(digest(row[0], str(row[1]), row[2]))

    def find(self, doc_id: str) -> LiveDocument | None:
        """Return what is remembered of a live document, or None."""
        row = self._documents.get(digest(doc_id))
        if row is None:
            return None
        both = bytes(self._contents[2 * row * DIGEST_BYTES : 2 * (row + 1) * DIGEST_BYTES])
        return LiveDocument(
            self._segments[self._rows[2 * row]],
            both[:DIGEST_BYTES],
            both[DIGEST_BYTES:],
            self._rows[2 * row + 1],
        )

    def knows_reject(self, reject: Reject) -> bool:
        """Say whether a reject of a whole record was recorded by an earlier run."""
        key = digest(reject.uri, str(reject.position), reject.reason)
        return self._rejects.get(key) is not None


def _text_digest(sha256: str) -> bytes:
    return bytes.fromhex(sha256)[:DIGEST_BYTES]


NEW, CHANGED, UNCHANGED, DUPLICATE = "new", "changed", "unchanged", "duplicate"
RELABELLED = "relabelled"


@dataclass(frozen=True, slots=True)
class Decision:
    """What is to be done with a document.

    Attributes:
      kind: NEW, CHANGED, RELABELLED (its metadata alone changed), UNCHANGED or DUPLICATE.
      segment_id: where its live version is, for CHANGED, RELABELLED and UNCHANGED.
      rejected_sentences: of its live version.
    """

    kind: str
    segment_id: str = ""
    rejected_sentences: int = 0


class Selector:
    """Decides document after document, in input order: of equal ids the first wins.

    Args:
      live: what the corpus held when the job began.
    """

    def __init__(self, live: LiveDocuments) -> None:
        self._live = live
        self._seen = DigestTable()
        self._mentioned = DigestTable()

    def decide(self, document: Document) -> Decision:
        """Decide on the next document of the input."""
        key = digest(document.doc_id)
        if self._seen.get(key) is not None:
            return Decision(DUPLICATE)
        self._seen.put(key)
        found = self._live.find(document.doc_id)
        if found is None:
            return Decision(NEW)
        sha256 = document.sha256
        if found.content == content_digest(sha256, document.metadata):
            return Decision(UNCHANGED, found.segment_id, found.rejected_sentences)
        # With a rejected sentence it is embedded again, which writes that reject again.
        if found.text == _text_digest(sha256) and not found.rejected_sentences:
            return Decision(RELABELLED, found.segment_id)
        return Decision(CHANGED, found.segment_id)

    def knows_reject(self, reject: Reject) -> bool:
        """Say whether an earlier run recorded this reject."""
        return self._live.knows_reject(reject)

    def missing(self, doc_ids: Iterable[str]) -> list[str]:
        """Return which of some ids the input has not named."""
        return [
            doc_id
            for doc_id in doc_ids
            if self._seen.get(digest(doc_id)) is None
            and self._mentioned.get(digest(doc_id)) is None
        ]

    def mention(self, doc_id: str) -> None:
        """Remember that the input names a document, though its record was rejected."""
        self._mentioned.put(digest(doc_id))
