"""The sentences of a document around a line, from the index or from newer segments."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pyarrow.compute as pc

from pipelines.errors import UsageError
from pipelines.index.reader import OpenIndex, OpenShard

_COLUMNS = ["doc_id", "sentence_index", "start", "text", "tokens", "attention"]


class AbsentDocument(UsageError):
    """A document that is not live in the corpus."""


@dataclass(frozen=True, kw_only=True)
class DocumentSentence:
    """One sentence of a document.

    Attributes:
      sentence_index: its number in the document.
      start: code point of its beginning in the document's text.
      text: of the sentence.
      tokens: [T] of the sentence.
      attention: [T] weights of the tokens in the sentence's vector.
    """

    sentence_index: int
    start: int
    text: str
    tokens: tuple[str, ...]
    attention: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class DocumentView:
    """Some sentences of a document.

    Attributes:
      doc_id: of the document.
      metadata: of the document.
      sentences: in the order of the document.
      first, last: sentence_index of the document's first and last sentence.
    """

    doc_id: str
    metadata: Mapping[str, str]
    sentences: tuple[DocumentSentence, ...]
    first: int
    last: int

    def to_json(self) -> dict[str, Any]:
        """Return what `GET /v1/document` answers."""
        sentences = [
            {**asdict(s), "attention": [round(weight, 6) for weight in s.attention]}
            for s in self.sentences
        ]
        return {**asdict(self), "metadata": dict(self.metadata), "sentences": sentences}


def read_document(
    index: OpenIndex, doc_id: str, *, around: int = 0, window: int = 10
) -> DocumentView:
    """Read a live document around one of its sentences.

    Args:
      index: the open index.
      doc_id: of the document.
      around: sentence_index of the line in the middle.
      window: sentences to show before and after it.

    Raises:
      AbsentDocument: if there is no such live document.
      UsageError: if it has fewer sentences than that.
    """
    for shard in index.shards.values():
        number = _live_number(shard, doc_id)
        if number is not None:
            rows = np.flatnonzero(shard.sentence_documents == number)
            known = [shard.lines.row(int(row)) for row in rows]
            return _view(doc_id, shard.documents.row(number)["metadata"], known, around, window)
    for segment_id in index.unindexed:
        for document in _rows(index, "documents", ["doc_id", "metadata"], segment_id, doc_id):
            known = list(_rows(index, "sentences", _COLUMNS, segment_id, doc_id))
            return _view(doc_id, document["metadata"], known, around, window)
    raise AbsentDocument(f"there is no document {doc_id!r} in this corpus")


def _live_number(shard: OpenShard, doc_id: str) -> int | None:
    """Return the row of a live document in a shard."""
    same = pc.equal(shard.documents.column("doc_id"), doc_id).to_numpy()
    for number in np.flatnonzero(same).tolist():
        if shard.deleted is None or not shard.deleted[number]:
            return int(number)
    return None


def _rows(
    index: OpenIndex, table: str, columns: list[str], segment_id: str, doc_id: str
) -> Iterator[dict[str, Any]]:
    for batch in index.corpus.read(table, columns, [segment_id]):
        yield from batch.filter(pc.equal(batch.column("doc_id"), doc_id)).to_pylist()


def _view(
    doc_id: str, metadata: Any, rows: list[dict[str, Any]], around: int, window: int
) -> DocumentView:
    rows = sorted(rows, key=lambda row: int(row["sentence_index"]))
    if rows and around > rows[-1]["sentence_index"]:
        last = rows[-1]["sentence_index"]
        raise UsageError(
            f"sentence_index is {around}, but the last sentence of document {doc_id!r} is {last}"
        )
    shown = [row for row in rows if abs(row["sentence_index"] - around) <= window]
    return DocumentView(
        doc_id=doc_id,
        metadata=dict(metadata),
        sentences=tuple(
            DocumentSentence(
                sentence_index=row["sentence_index"],
                start=row["start"],
                text=row["text"],
                tokens=tuple(row["tokens"]),
                attention=tuple(row["attention"]),
            )
            for row in shown
        ),
        first=rows[0]["sentence_index"] if rows else 0,
        last=rows[-1]["sentence_index"] if rows else 0,
    )
