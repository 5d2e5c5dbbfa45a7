"""Sentences of several requests encoded together, under a token budget.

Requests wait only while the model is at work: what has come in meanwhile is the next batch. A long
request takes what room it can get, and then goes to the end of the queue, so that a short one
behind it waits for one batch at most.
"""

import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from time import perf_counter
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]


class Embedded(Protocol):
    """What a model's `embed` returns; see elmo_infer's EmbedResult."""

    @property
    def token_vectors(self) -> Floats: ...
    @property
    def offsets(self) -> NDArray[np.int64]: ...
    @property
    def sentence_vectors(self) -> Floats: ...
    @property
    def attention(self) -> Floats: ...


class Model(Protocol):
    """What is batched: anything with the `embed` of elmo_infer's Elmo."""

    def embed(
        self,
        sentences: Sequence[Sequence[str]],
        layer_weights: Sequence[float] | None = None,
        pooling: str = "attention",
    ) -> Embedded:
        """Return token vectors, sentence vectors and attention."""


@dataclass(frozen=True, kw_only=True, eq=False)
class BatchResult:
    """The vectors of one request; shapes as in elmo_infer's EmbedResult."""

    token_vectors: Floats
    offsets: NDArray[np.int64]
    sentence_vectors: Floats
    attention: Floats


class _Piece(NamedTuple):
    tokens: Floats
    sentence: Floats
    attention: Floats


class _How(NamedTuple):
    layer_weights: tuple[float, ...] | None
    pooling: str


@dataclass(kw_only=True, eq=False)
class _Request:
    sentences: Sequence[Sequence[str]]
    how: _How
    taken: int = 0
    pieces: list[_Piece] = field(default_factory=list)
    error: BaseException | None = None
    done: threading.Event = field(default_factory=threading.Event)


Share = tuple[_Request, Sequence[Sequence[str]]]


class MicroBatches:
    """Batches the calls of many threads to one model; itself a Model.

    Args:
      model: what computes.
      budget: tokens in a batch; a longer sentence is computed alone.
      observe: is told of every batch: sentences, tokens, seconds.
    """

    def __init__(
        self, model: Model, budget: int, observe: Callable[[int, int, float], None]
    ) -> None:
        self._model, self._budget, self._observe = model, budget, observe
        self._waiting: deque[_Request] = deque()
        self._changed = threading.Condition()
        self._closed = False
        self._thread = threading.Thread(target=self._work, name="micro-batches", daemon=True)
        self._thread.start()

    @property
    def waiting(self) -> int:
        """Requests that are not encoded yet."""
        return len(self._waiting)

    def embed(
        self,
        sentences: Sequence[Sequence[str]],
        layer_weights: Sequence[float] | None = None,
        pooling: str = "attention",
    ) -> BatchResult:
        """Return what the model would: vectors do not depend on who else is in the batch.

        Raises:
          RuntimeError: if the server is stopping.
        """
        weights = None if layer_weights is None else tuple(layer_weights)
        request = _Request(sentences=sentences, how=_How(weights, pooling))
        with self._changed:
            if self._closed:
                raise RuntimeError("the server is stopping; ask again later")
            self._waiting.append(request)
            self._changed.notify()
        request.done.wait()
        if request.error is not None:
            raise request.error
        return _join(request.pieces)

    def close(self) -> None:
        """Finish what waits, then stop."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join()

    def _work(self) -> None:
        while True:
            with self._changed:
                while not self._waiting and not self._closed:
                    self._changed.wait()
                if not self._waiting:
                    return
                how, shares = self._take()
            started = perf_counter()
            self._encode(how, shares)
            count = sum(len(sentences) for _, sentences in shares)
            tokens = sum(len(s) for _, sentences in shares for s in sentences)
            self._observe(count, tokens, perf_counter() - started)

    def _take(self) -> tuple[_How, list[Share]]:
        """Take sentences of waiting requests, in turn, while there is room in the batch."""
        how = self._waiting[0].how
        room, shares = self._budget, list[Share]()
        unfinished: list[_Request] = []
        for _ in range(len(self._waiting)):
            request = self._waiting.popleft()
            first = request.taken
            while request.how == how and request.taken < len(request.sentences):
                tokens = len(request.sentences[request.taken])
                if tokens > room and (shares or request.taken > first):
                    break
                room -= tokens
                request.taken += 1
            if request.taken > first or not request.sentences:
                shares.append((request, request.sentences[first : request.taken]))
            if request.taken < len(request.sentences):
                # Those served already go behind those that were not.
                (unfinished if request.taken > first else self._waiting).append(request)
        self._waiting += unfinished
        return how, shares

    def _encode(self, how: _How, shares: list[Share]) -> None:
        sentences = [sentence for _, mine in shares for sentence in mine]
        try:
            pieces = _split(self._model.embed(sentences, how.layer_weights, how.pooling))
        except Exception as error:
            # One request's fault must not be another's: each is tried alone.
            if len(shares) > 1:
                for share in shares:
                    self._encode(how, [share])
                return
            shares[0][0].error = error
            pieces = []
        first = 0
        for request, mine in shares:
            request.pieces += pieces[first : first + len(mine)]
            first += len(mine)
            if request.error is not None or request.taken == len(request.sentences):
                self._finish(request)

    def _finish(self, request: _Request) -> None:
        with self._changed:
            if request in self._waiting:
                self._waiting.remove(request)  # what is left of a request that failed
        request.done.set()


def _split(result: Embedded) -> list[_Piece]:
    spans = zip(result.offsets[:-1].tolist(), result.offsets[1:].tolist(), strict=True)
    return [
        _Piece(result.token_vectors[a:b], result.sentence_vectors[i], result.attention[a:b])
        for i, (a, b) in enumerate(spans)
    ]


def _join(pieces: list[_Piece]) -> BatchResult:
    if not pieces:
        empty = np.zeros((0, 0), np.float32)
        zeros = np.zeros(0, np.float32)
        return BatchResult(
            token_vectors=empty,
            offsets=np.zeros(1, np.int64),
            sentence_vectors=empty,
            attention=zeros,
        )
    lengths = [len(piece.tokens) for piece in pieces]
    return BatchResult(
        token_vectors=np.concatenate([piece.tokens for piece in pieces]),
        offsets=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        sentence_vectors=np.stack([piece.sentence for piece in pieces]),
        attention=np.concatenate([piece.attention for piece in pieces]),
    )
