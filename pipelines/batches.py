"""Packed batches of sentences, before and after the model, and their Beam coder.

A batch carries its keys and no padding. This is the one place where what the model returns meets
the schemas: `sentence_rows`, `token_rows` and `document_rows` make Arrow batches of it.
"""

import pickle
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from apache_beam import coders

from pipelines.documents import TOKENIZE, Document, Reject, raw_start
from pipelines.tokenization import PretokenizedText, TokenizedSentence, Tokenizer
from schemas import DOCUMENTS, REJECTS, first_vector_id, sentences_schema, tokens_schema
from schemas.tables import MAX_PART_ROWS


@dataclass(slots=True)
class Sentence:
    """One sentence on its way: its key, its place, its tokens.

    Attributes:
      doc_id: of its document.
      sentence_index: in its document.
      start: code points into the document's text.
      end: likewise, exclusive.
      text: of the sentence.
      tokens: [T] strings.
      token_starts: [T] code points into the document's text.
      cut: it was cut at the length limit.
      uri: file of its document.
      position: of its document in that file.
      ordinal: of the sentence in its part; its vector_id rests on it.
      first_token: ordinal of its first token in its part.
    """

    doc_id: str
    sentence_index: int
    start: int
    end: int
    text: str
    tokens: list[str]
    token_starts: list[int]
    cut: bool
    uri: str
    position: int
    ordinal: int = 0
    first_token: int = 0


@dataclass(frozen=True, slots=True)
class DocumentEnd:
    """A document whose last sentence is in the batch; a row of `documents` but for rejects."""

    doc_id: str
    sha256: str
    uri: str
    position: int
    metadata: dict[str, str]
    characters: int
    sentences: int
    tokens: int


@dataclass(slots=True)
class SentenceBatch:
    """Sentences of one part, in order, with the documents that end among them.

    Attributes:
      part: of the segment.
      sequence: number of the batch in its part.
      sentences: [B].
      ends: documents that end in this batch.
      rejects: of sentences and documents of this batch.
    """

    part: int
    sequence: int = 0
    sentences: list[Sentence] = field(default_factory=list)
    ends: list[DocumentEnd] = field(default_factory=list)
    rejects: list[Reject] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.sentences)

    @property
    def n_tokens(self) -> int:
        """Tokens of all sentences."""
        return sum(len(sentence.tokens) for sentence in self.sentences)

    @property
    def n_types(self) -> int:
        """Distinct tokens of all sentences."""
        return len({token for sentence in self.sentences for token in sentence.tokens})


@dataclass(slots=True)
class EmbeddedBatch:
    """A batch with its vectors; rows of `token_vectors` follow the tokens of the sentences.

    Attributes:
      batch: the sentences that were embedded, and those rejected.
      token_vectors: [n, D] float16 or float32.
      sentence_vectors: [B, D], likewise.
      attention: [n] float32.
    """

    batch: SentenceBatch
    token_vectors: npt.NDArray[np.floating]
    sentence_vectors: npt.NDArray[np.floating]
    attention: npt.NDArray[np.float32]

    @property
    def nbytes(self) -> int:
        """Bytes of the vectors."""
        return self.token_vectors.nbytes + self.sentence_vectors.nbytes + self.attention.nbytes


class PackedCoder(coders.Coder):
    """Moves batches between processes: arrays as their bytes, never as lists of numbers."""

    def encode(self, value: Any) -> bytes:
        """Return the bytes of a batch."""
        return pickle.dumps(value, protocol=5)

    def decode(self, encoded: bytes) -> Any:
        """Return the batch again."""
        return pickle.loads(encoded)

    def estimate_size(self, value: Any) -> int:
        """Return about how many bytes a batch takes."""
        vectors = value.nbytes if isinstance(value, EmbeddedBatch) else 0
        batch = value.batch if isinstance(value, EmbeddedBatch) else value
        return vectors + sum(
            200 + 4 * len(sentence.text) + 24 * len(sentence.tokens) for sentence in batch.sentences
        )

    def is_deterministic(self) -> bool:
        """Batches are not used as keys."""
        return False


coders.registry.register_coder(SentenceBatch, PackedCoder)
coders.registry.register_coder(EmbeddedBatch, PackedCoder)


def tokenize_document(
    document: Document, tokenizer: Tokenizer | PretokenizedText, max_tokens: int
) -> Iterator[SentenceBatch]:
    """Yield the sentences of a document in batches of at most `max_tokens`, the last with its end.

    A document that the tokeniser fails on gives a last batch with a reject instead of an end.
    """
    batch = SentenceBatch(document.part)
    n_sentences = n_tokens = in_batch = 0
    try:
        for found in tokenizer.sentences(document.text):
            if batch.sentences and in_batch + len(found.tokens) > max_tokens:
                yield batch
                batch, in_batch = SentenceBatch(document.part), 0
            batch.sentences.append(_sentence(document, n_sentences, found))
            n_sentences += 1
            in_batch += len(found.tokens)
            n_tokens += len(found.tokens)
    except Exception as error:  # whatever a tokeniser raises is this document's
        if n_sentences > len(batch.sentences):
            raise RuntimeError(
                f"tokenising {document.doc_id!r} failed half-way: {error}"
            ) from error
        detail = raw_start(f"the tokeniser failed: {error!r}")
        yield SentenceBatch(
            document.part, rejects=[_document_reject(document, "tokenizer-failed", detail)]
        )
        return
    batch.ends.append(
        DocumentEnd(
            document.doc_id,
            document.sha256,
            document.uri,
            document.position,
            document.metadata,
            len(document.text),
            n_sentences,
            n_tokens,
        )
    )
    yield batch


class TokenBatcher:
    """Joins small batches of one part into batches of at most `max_tokens` tokens.

    It also numbers batches, sentences and tokens within their part; vector_ids rest on that.
    """

    def __init__(self, max_tokens: int) -> None:
        self._max_tokens = max_tokens
        self._batch: SentenceBatch | None = None
        self._tokens = self._sequence = self._next_sentence = self._next_token = 0

    def add(self, small: SentenceBatch) -> Iterator[SentenceBatch]:
        """Take a batch; yield what is full before it."""
        size = small.n_tokens
        if self._batch is not None and small.part != self._batch.part:
            yield from self.flush()
            self._sequence = self._next_sentence = self._next_token = 0
        elif self._batch is not None and self._tokens + size > self._max_tokens:
            yield from self.flush()
        if self._batch is None:
            self._batch = SentenceBatch(small.part, self._sequence)
        for sentence in small.sentences:
            self._batch.sentences.append(self._numbered(sentence))
        self._batch.ends += small.ends
        self._batch.rejects += small.rejects
        self._tokens += size

    def flush(self) -> Iterator[SentenceBatch]:
        """Yield what is left."""
        if self._batch is not None:
            yield self._batch
            self._batch, self._tokens = None, 0
            self._sequence += 1

    def _numbered(self, sentence: Sentence) -> Sentence:
        sentence.ordinal, sentence.first_token = self._next_sentence, self._next_token
        self._next_sentence += 1
        self._next_token += len(sentence.tokens)
        if self._next_token > MAX_PART_ROWS:
            raise RuntimeError(
                f"a part has more than {MAX_PART_ROWS} tokens (at document {sentence.doc_id!r});"
                " split the document"
            )
        return sentence


def sentence_rows(embedded: EmbeddedBatch, segment: int, dtype: str) -> pa.RecordBatch:
    """Return the rows of `sentences` of one batch."""
    sentences = embedded.batch.sentences
    first = first_vector_id(segment, "sentences", embedded.batch.part)
    schema = sentences_schema(dtype, embedded.sentence_vectors.shape[1])
    lengths = [len(sentence.tokens) for sentence in sentences]
    offsets = pa.array(np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32))
    tokens = [token for sentence in sentences for token in sentence.tokens]
    starts = [start for sentence in sentences for start in sentence.token_starts]
    columns = [
        pa.array([first + s.ordinal for s in sentences], pa.int64()),
        pa.array([s.doc_id for s in sentences], pa.string()),
        pa.array([s.sentence_index for s in sentences], pa.int32()),
        pa.array([s.start for s in sentences], pa.int64()),
        pa.array([s.end for s in sentences], pa.int64()),
        pa.array([s.text for s in sentences], pa.string()),
        pa.ListArray.from_arrays(offsets, pa.array(tokens, pa.string())),
        pa.ListArray.from_arrays(offsets, pa.array(starts, pa.int64())),
        pa.ListArray.from_arrays(offsets, pa.array(embedded.attention, pa.float32())),
        pa.array([s.cut for s in sentences], pa.bool_()),
        _vectors(embedded.sentence_vectors, schema.field("vector").type),
    ]
    return pa.RecordBatch.from_arrays(_typed(columns, schema), schema=schema)


def token_rows(
    embedded: EmbeddedBatch, segment: int, dtype: str, keep: Callable[[str], bool] | None
) -> pa.RecordBatch:
    """Return the rows of `tokens` of one batch.

    Args:
      embedded: the batch.
      segment: number of the segment.
      dtype: of the stored vectors.
      keep: says of a token whether its vector is stored; None keeps all.
    """
    sentences = embedded.batch.sentences
    kept: list[int] = []  # index in its sentence of each token kept
    texts: list[str] = []
    starts: list[int] = []
    counts = []
    for sentence in sentences:
        tokens = sentence.tokens
        chosen = [i for i, token in enumerate(tokens) if keep is None or keep(token)]
        kept += chosen
        texts += [tokens[i] for i in chosen]
        starts += [sentence.token_starts[i] for i in chosen]
        counts.append(len(chosen))
    # Of each kept token its sentence in the batch; what is the sentence's is taken by it.
    owner = np.repeat(np.arange(len(sentences)), counts)
    indices = np.array(kept, dtype=np.int64)
    lengths = [len(sentence.tokens) for sentence in sentences]
    rows = indices + (np.cumsum(lengths) - lengths)[owner]
    first_tokens = np.array([sentence.first_token for sentence in sentences], dtype=np.int64)
    first = first_vector_id(segment, "tokens", embedded.batch.part)
    schema = tokens_schema(dtype, embedded.token_vectors.shape[1])
    begins, words = pa.array(starts, pa.int64()), pa.array(texts, pa.string())
    columns = [
        pa.array(first + first_tokens[owner] + indices, pa.int64()),
        pa.array([sentence.doc_id for sentence in sentences], pa.string()).take(pa.array(owner)),
        pa.array([sentence.sentence_index for sentence in sentences], pa.int32()).take(
            pa.array(owner)
        ),
        pa.array(indices.astype(np.int32)),
        begins,
        pc.add(begins, pc.cast(pc.utf8_length(words), pa.int64())),
        words,
        _vectors(embedded.token_vectors[rows], schema.field("vector").type),
    ]
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def document_rows(rows: list[dict[str, Any]]) -> pa.RecordBatch:
    """Return rows of `documents`."""
    return pa.RecordBatch.from_pylist(
        [{**row, "metadata": list(row["metadata"].items())} for row in rows], schema=DOCUMENTS
    )


def reject_rows(rejects: Iterable[Reject]) -> pa.RecordBatch:
    """Return rows of `rejects`."""
    names = REJECTS.names
    rows = [{name: getattr(reject, name) for name in names} for reject in rejects]
    return pa.RecordBatch.from_pylist(rows, schema=REJECTS)


def _sentence(document: Document, index: int, found: TokenizedSentence) -> Sentence:
    return Sentence(
        document.doc_id,
        index,
        found.start,
        found.end,
        document.text[found.start : found.end],
        found.tokens,
        found.token_starts,
        found.cut,
        document.uri,
        document.position,
    )


def _document_reject(document: Document, reason: str, detail: str) -> Reject:
    return Reject(
        document.uri,
        document.position,
        TOKENIZE,
        reason,
        detail,
        document.doc_id,
        None,
        raw_start(document.text),
    )


def _vectors(vectors: npt.NDArray[np.floating], column: pa.DataType) -> pa.Array:
    flat = pa.array(np.ascontiguousarray(vectors).reshape(-1), column.value_type)
    return pa.FixedSizeListArray.from_arrays(flat, type=column)


def _typed(columns: list[pa.Array], schema: pa.Schema) -> list[pa.Array]:
    return [c.cast(f.type) if c.type != f.type else c for c, f in zip(columns, schema, strict=True)]
