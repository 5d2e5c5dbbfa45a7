"""`Elmo`: plans batches, runs the biLM, weighs layers, pools. Keeps no state between calls."""

import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from elmo_infer.arguments import Sentences, check_layer_weights, check_pooling, check_sentences
from elmo_infer.batching import Indices, Packing, plan_batches
from elmo_infer.model import BiLm, LstmState
from elmo_infer.pooling import attention_pool, max_pool, mean_pool, mix_layers
from elmo_infer.reading import Pooling
from elmo_infer.results import EmbedResult
from elmo_infer.scattering import Scattering
from elmo_infer.transfers import HostCopy, is_out_of_memory, to_device
from elmo_infer.word_cache import WordCache, WordCounts
from elmo_infer.word_types import WordTypes

Arrays = tuple[npt.NDArray[Any], ...]

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class RunSettings:
    """Settings of a run; they change a vector by rounding only.

    Attributes:
      max_tokens_per_batch: tokens computed together.
      word_cache_bytes: size limit of the cache of context-free vectors.
    """

    max_tokens_per_batch: int = 8192
    word_cache_bytes: int = 256 * 2**20

    def __post_init__(self) -> None:
        if self.max_tokens_per_batch < 1:
            raise ValueError(
                f"max_tokens_per_batch is {self.max_tokens_per_batch}; expected at least 1"
            )
        if self.word_cache_bytes < 0:
            raise ValueError(f"word_cache_bytes is {self.word_cache_bytes}; expected at least 0")


@dataclass(frozen=True, kw_only=True, eq=False)
class _Computed:
    """One batch as the biLM leaves it.

    Attributes:
      batch: [B] which sentences.
      lengths: [B] their tokens.
      directions: per direction the layers' outputs, [slots, P] each.
      slots: per direction the slot of every token, sentence by sentence.
    """

    batch: Indices
    lengths: Indices
    directions: tuple[list[Tensor], list[Tensor]]
    slots: tuple[Tensor, Tensor]

    def layers(self) -> Tensor:
        """Return all layers, [L, n, D]."""
        halves = [
            torch.stack([output[slots] for output in outputs])
            for outputs, slots in zip(self.directions, self.slots, strict=True)
        ]
        return torch.cat(halves, dim=2)

    def mixed(self, coefficients: tuple[float, ...]) -> Tensor:
        """Return the layers' mix, [n, D]."""
        halves = [
            mix_layers(outputs, coefficients)[slots]
            for outputs, slots in zip(self.directions, self.slots, strict=True)
        ]
        return torch.cat(halves, dim=1)


# What is made of a batch on the device; and a batch's results on their way to the host.
Finish = Callable[[_Computed], tuple[Tensor, ...]]
_Leaving = tuple[Indices, HostCopy]


@dataclass(kw_only=True)
class Elmo:
    """A loaded model. Safe to call from several threads: calls take turns.

    Attributes:
      name: the name given to `load`.
      fingerprint: hex digest of everything that changes a vector; device, dtype and batch size
        are not part of it.
      start: the state (B = 1) before the first token, for both directions.
      dim: D, width of a vector, both directions together.
      n_layers: L, with the context-free layer.
      default_layer_weights: [L] weights of the layers, used if none are given.
    """

    name: str
    fingerprint: str
    bilm: BiLm
    start: LstmState
    pooling: Pooling = field(default_factory=Pooling)
    settings: RunSettings = field(default_factory=RunSettings)

    def __post_init__(self) -> None:
        config = self.bilm.config
        self.dim = config.dim
        self.n_layers = config.n_lstm_layers + 1
        self.default_layer_weights = self.pooling.layer_weights or (
            (1.0 / self.n_layers,) * self.n_layers
        )
        self._query = None
        if self.pooling.query is not None:
            self._query = torch.tensor(self.pooling.query, device=self.bilm.placement.device)
        self._cache = WordCache(self.bilm.encode_types, self.settings.word_cache_bytes)
        self._lock = threading.Lock()

    @property
    def device(self) -> torch.device:
        """The device of the model."""
        return self.bilm.placement.device

    @property
    def dtype(self) -> str:
        """The type of matrix products: float32, float64, ..."""
        return str(self.bilm.placement.dtype).removeprefix("torch.")

    def layers(self, sentences: Sentences) -> list[npt.NDArray[np.floating]]:
        """Return every layer of every token.

        Args:
          sentences: lists of tokens.

        Returns:
          Per sentence an array [L, T, D], float32 (float64 if the model has that dtype). Layer 0
          is the context-free vector twice; layer l is the forward and the backward output.

        Raises:
          TypeError: if a token is not a string; the message names sentence and token.
        """
        check_sentences(sentences)
        results: list[npt.NDArray[np.floating]] = [
            np.zeros((self.n_layers, 0, self.dim), dtype=self._result_dtype)
        ] * len(sentences)
        with self._lock, torch.inference_mode():
            for batch, (layers,) in self._run(sentences, self.n_layers, _all_layers):
                array = layers.astype(self._result_dtype, copy=False)
                lengths = np.array([len(sentences[index]) for index in batch])
                ends = np.cumsum(lengths)
                for index, start, end in zip(batch, ends - lengths, ends, strict=True):
                    results[index] = array[:, start:end].copy()
        return results

    def embed(
        self,
        sentences: Sentences,
        layer_weights: Sequence[float] | None = None,
        pooling: str = "attention",
        focus: Sequence[int | None] | None = None,
    ) -> EmbedResult:
        """Return one vector per token (a weighted sum of the layers) and one per sentence.

        Args:
          sentences: lists of tokens.
          layer_weights: [L] weights of the layers; None for the default ones.
          pooling: "attention", "mean" or "max".
          focus: for attention: per sentence, the index of the token whose vector is used as the
            query, or None for the model's own query.

        Raises:
          TypeError: if a token is not a string.
          ValueError: if layer_weights, pooling or focus is not valid; the message says what is.
        """
        lengths = check_sentences(sentences)
        coefficients = check_layer_weights(
            self.default_layer_weights if layer_weights is None else layer_weights, self.n_layers
        )
        check_pooling(pooling, focus, lengths)
        n_layers = max(
            (layer + 1 for layer, weight in enumerate(coefficients) if weight), default=1
        )
        offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        result = EmbedResult(
            token_vectors=np.empty((int(offsets[-1]), self.dim), dtype=np.float32),
            offsets=offsets,
            sentence_vectors=np.zeros((len(sentences), self.dim), dtype=np.float32),
            attention=np.empty(int(offsets[-1]), dtype=np.float32),
        )

        def finish(computed: _Computed) -> tuple[Tensor, Tensor, Tensor]:
            vectors = computed.mixed(coefficients)
            chosen = None if focus is None else [focus[index] for index in computed.batch]
            return (vectors, *self._pool(vectors, computed.lengths, pooling, chosen))

        with self._lock, torch.inference_mode(), Scattering(result, self.device) as scatter:
            for batch, arrays in self._run(sentences, n_layers, finish):
                scatter(batch, *arrays)
        return result

    def forget_words(self) -> None:
        """Empty the cache of context-free word vectors."""
        with self._lock:
            self._cache.clear()

    def take_word_counts(self) -> WordCounts:
        """Return hits and misses of the cache of word vectors since the last call."""
        with self._lock:
            return self._cache.take_counts()

    @property
    def _result_dtype(self) -> type[np.floating]:
        return np.float64 if self.bilm.placement.dtype == torch.float64 else np.float32

    def _plan(self, sentences: Sentences) -> list[list[Indices]]:
        """Plan the sentences that have tokens: groups of batches that are computed side by side."""
        lengths = np.array([len(sentence) for sentence in sentences], dtype=np.int64)
        filled = np.flatnonzero(lengths)
        at_once = self.bilm.batches_at_once
        budget = max(1, self.settings.max_tokens_per_batch // at_once)
        batches = [filled[batch] for batch in plan_batches(lengths[filled], budget)]
        return [batches[first : first + at_once] for first in range(0, len(batches), at_once)]

    def _run(
        self, sentences: Sentences, n_layers: int, finish: Finish
    ) -> Iterator[tuple[Indices, Arrays]]:
        """Compute all sentences, group of batches by group, and finish each batch on the device.

        A group that the device's memory cannot hold is halved until it fits. A device is given the
        next group before the results of the last one are waited for.

        Raises:
          RuntimeError: if a sentence does not fit alone; names it.
        """
        waiting = self._plan(sentences)[::-1]
        types = WordTypes(self.bilm.speller.key)
        under_way: list[_Leaving] = []
        while waiting:
            group = waiting.pop()
            try:
                leaving = [
                    (computed.batch, HostCopy(finish(computed)))
                    for computed in self._compute(sentences, group, types, n_layers)
                ]
            except RuntimeError as error:
                if not is_out_of_memory(error):
                    raise
                together = np.concatenate(group)
                if len(together) == 1:
                    raise RuntimeError(self._too_long(sentences, int(together[0]))) from error
                leaving = None
            # Only here is the failed group's memory free: the exception held on to it.
            if leaving is None:
                self._split(waiting, together)
                continue
            yield from _arrived(under_way)
            under_way = leaving
            if self.device.type == "cpu":
                yield from _arrived(under_way)
                under_way = []
        yield from _arrived(under_way)

    def _split(self, waiting: list[list[Indices]], together: Indices) -> None:
        """Put the halves of a group that did not fit in front of the others, and free memory."""
        logger.warning(
            "out of memory on %s with %d sentences; trying half as many at once",
            self.device,
            len(together),
        )
        waiting += [[half] for half in np.array_split(together, 2)[::-1]]
        if self.device.type == "cuda":
            torch.cuda.empty_cache()

    def _too_long(self, sentences: Sentences, index: int) -> str:
        sentence = sentences[index]
        return (
            f"sentence {index} does not fit into the memory of {self.device}: it has "
            f"{len(sentence)} tokens and begins {' '.join(sentence[:5])!r}; split it, or load "
            "the model with device='cpu'"
        )

    def _compute(
        self, sentences: Sentences, group: list[Indices], types: WordTypes, n_layers: int
    ) -> list[_Computed]:
        """Compute the batches of a group side by side."""
        ids, asked = types.number([[sentences[i] for i in batch.tolist()] for batch in group])
        packings = [
            Packing(
                np.array([len(sentences[index]) for index in batch], dtype=np.int64),
                self.bilm.n_lanes,
            )
            for batch in group
        ]
        vectors = self._cache.vectors(asked)
        tasks = [
            task
            for type_ids, packing in zip(ids, packings, strict=True)
            for task in self.bilm.tasks(
                vectors, type_ids, packing, self._start(int(packing.rows[0])), n_layers
            )
        ]
        runs = [run for result in self.bilm.workers.run(tasks) for run in result]
        indices = self.bilm.placement.indices
        computed = []
        for batch, packing, forward, backward in zip(
            group, packings, runs[::2], runs[1::2], strict=True
        ):
            forward_slots, backward_slots = packing.slots
            computed.append(
                _Computed(
                    batch=batch,
                    lengths=packing.lengths,
                    directions=(forward.layers, backward.layers),
                    slots=(indices(forward_slots), indices(backward_slots)),
                )
            )
        return computed

    def _start(self, n_lanes: int) -> LstmState:
        """Return the state that the sentences of all lanes start from."""
        return LstmState(
            h=self.start.h.expand(-1, -1, n_lanes, -1),
            c=self.start.c.expand(-1, -1, n_lanes, -1),
        )

    def _pool(
        self,
        vectors: Tensor,
        lengths: npt.NDArray[np.int64],
        pooling: str,
        focus: Sequence[int | None] | None,
    ) -> tuple[Tensor, Tensor]:
        if pooling == "mean":
            return mean_pool(vectors, lengths)
        if pooling == "max":
            return max_pool(vectors, lengths)
        if focus is None or all(index is None for index in focus):
            return attention_pool(vectors, lengths, self._query)
        queries = mean_pool(vectors, lengths)[0] if self._query is None else self._query
        queries = queries.expand(len(lengths), -1).clone()
        starts = np.cumsum(lengths) - lengths
        chosen = [row for row, index in enumerate(focus) if index is not None]
        tokens = [int(starts[row]) + int(focus[row] or 0) for row in chosen]
        of_token, of_sentence = (
            to_device(np.array(places, dtype=np.int64), vectors.device)
            for places in (tokens, chosen)
        )
        queries[of_sentence] = vectors[of_token].to(queries.dtype)
        return attention_pool(vectors, lengths, queries)


def _all_layers(computed: _Computed) -> tuple[Tensor]:
    return (computed.layers(),)


def _arrived(leaving: list[_Leaving]) -> Iterator[tuple[Indices, Arrays]]:
    """Wait for a group's results and yield them, batch by batch."""
    for batch, copy in leaving:
        yield batch, copy.arrays()
