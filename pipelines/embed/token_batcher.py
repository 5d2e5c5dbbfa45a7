"""Small batches of a part -> batches up to a budget of tokens, numbered; flushed at its end."""

from collections.abc import Iterator

from pipelines.embed.batch import PartId, Sentence, SentenceBatch
from schemas.tables import MAX_PART_ROWS


class TokenBatcher:
    """Joins small batches of one part into batches of at most `max_tokens` tokens.

    It also numbers batches, sentences and tokens within their part; vector_ids rest on that.
    """

    def __init__(self, max_tokens: int) -> None:
        self._max_tokens = max_tokens
        self._part: PartId | None = None
        self._batch: SentenceBatch | None = None
        self._tokens = self._sequence = self._next_sentence = self._next_token = 0

    @property
    def open_part(self) -> PartId | None:
        """The part that is not at its end yet."""
        return self._part

    def add(self, small: SentenceBatch) -> Iterator[SentenceBatch]:
        """Take a batch; yield what is full before it, and all that is left at the part's end.

        Raises:
          RuntimeError: if a part begins before the one before it ended.
        """
        size = small.n_tokens
        if self._part is None:
            self._part = small.part
            self._sequence = self._next_sentence = self._next_token = 0
        elif small.part != self._part:
            raise RuntimeError(
                f"part {small.part.part} of segment {small.part.segment_id} began before part"
                f" {self._part.part} ended: the runner mixed the records of two parts, which is"
                " not supported; use an engine that docs/engines.md lists"
            )
        if self._batch is not None and self._tokens + size > self._max_tokens:
            yield self._take()
        if self._batch is None:
            self._batch = SentenceBatch(small.part, self._sequence)
        for sentence in small.sentences:
            self._batch.sentences.append(self._numbered(sentence))
        self._batch.ends += small.ends
        self._batch.rejects += small.rejects
        self._tokens += size
        if small.last is not None:
            self._batch.last = small.last
            self._part = None
            yield self._take()

    def _take(self) -> SentenceBatch:
        batch = self._batch
        assert batch is not None
        self._batch, self._tokens = None, 0
        self._sequence += 1
        return batch

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
