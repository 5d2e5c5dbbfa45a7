"""Packed batches of sentences, before and after the model: keys, texts, tokens, no padding."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from pipelines.reading.documents import Document, Reject


class PartId(NamedTuple):
    """Names one part of one segment.

    Attributes:
      segment_id: of the segment.
      number: of the segment; the part's vector_ids begin with it.
      part: of the segment, from 0.
    """

    segment_id: str
    number: int
    part: int


@dataclass(frozen=True, slots=True)
class PartEnd:
    """The mark that follows the last record of a part; what gathers rows closes the part at it.

    Attributes:
      documents: of the part, as planned; each is written or rejected.
      segment_parts: how many parts the segment has.
      supersede: for each live segment the documents in it that the part replaces.
    """

    documents: int
    segment_parts: int = 1
    supersede: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PartRecord:
    """One record on its way into a part, or the mark that there are no more."""

    part: PartId
    record: Document | Reject | PartEnd


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
      last: the mark of the part's end, on its last batch only.
    """

    part: PartId
    sequence: int = 0
    sentences: list[Sentence] = field(default_factory=list)
    ends: list[DocumentEnd] = field(default_factory=list)
    rejects: list[Reject] = field(default_factory=list)
    last: PartEnd | None = None

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
