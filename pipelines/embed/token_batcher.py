"""Small batches of a part -> batches up to a budget of tokens, numbered."""

from collections.abc import Iterator

from pipelines.embed.batch import Sentence, SentenceBatch
from schemas.tables import MAX_PART_ROWS


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
