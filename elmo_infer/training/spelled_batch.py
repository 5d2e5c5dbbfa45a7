"""The input of one training step as indices: spellings of words, places, targets."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from elmo_infer.characters import ByteSpeller
from elmo_infer.training.sampled_softmax import Candidates, choose_candidates
from elmo_infer.transfers import to_device

# Ids of the softmax: the ends of a sentence and everything rare come first, then the types.
SENTENCE_END, SENTENCE_START, UNKNOWN = 0, 1, 2
N_SPECIAL = 3


@dataclass(frozen=True, kw_only=True)
class TaughtBatch:
    """What a teacher makes of a batch.

    Attributes:
      places: [n] int64 taught words, as places among T x B, time first, marks not counted.
      words: [n, K] float16 of length 1, what is taught of each.
      types: [n] int64, equal where two are occurrences of one word.
      columns: [m] int64, the sentences among the B that the teacher has read.
      sentences: [m, dim] float16 of length 1.
      single_places: [s] int64, words that are taught alone, as places among the distinct ones.
      single: [s, dim] float16, what is taught of each.
      single_weights: [s] float32, the part of each in the loss.
    """

    places: Tensor
    words: Tensor
    types: Tensor
    columns: Tensor
    sentences: Tensor
    single_places: Tensor
    single: Tensor
    single_weights: Tensor


@dataclass(frozen=True, kw_only=True)
class Batch:
    """One batch, as indices.

    Attributes:
      characters: [U, W] int64 spellings of the distinct words, shortest first.
      spelled_lengths: [U] int64 characters of each, markers included.
      places: [T + 2, B] int64, each position's word among the U, marks included, time first.
      targets: per direction [(T + 1) * B] int64 places in the candidates' rows.
      candidates: the sample, shared by both directions.
      n_targets: predictions per direction, (T + 1) * B.
      sentences: [B] int64 indices into the token store.
      kinds: [T, B] int8 of the words, see forms.py; empty where they are not known.
      taught: by a teacher, or None.
    """

    characters: Tensor
    spelled_lengths: np.ndarray
    places: Tensor
    targets: tuple[Tensor, Tensor]
    candidates: Candidates
    n_targets: int
    sentences: np.ndarray
    kinds: Tensor
    taught: TaughtBatch | None = None

    @property
    def n_tokens(self) -> int:
        """Return the number of words in the sentences, marks not counted."""
        marked, sentences = self.places.shape
        return (marked - 2) * sentences

    def to(self, device: torch.device) -> "Batch":
        """Return the same with its tensors on a device; nothing waits for it."""
        if device.type == "cpu":
            return self
        return _with_tensors(
            self,
            lambda one: (
                one.to(device, non_blocking=True)
                if one.is_pinned()
                else to_device(one.numpy(), device)
            ),
        )

    def pin_memory(self) -> "Batch":
        """Return the same in memory that a device copies from by itself; a DataLoader asks."""
        return _with_tensors(self, Tensor.pin_memory)


Record = TypeVar("Record", Batch, TaughtBatch, Candidates)


def _with_tensors(record: Record, change: Callable[[Tensor], Tensor]) -> Record:
    """Return a record with each of its tensors changed."""
    found: dict[str, Any] = {}
    for each in fields(record):
        value = getattr(record, each.name)
        if isinstance(value, Tensor):
            found[each.name] = change(value)
        elif isinstance(value, tuple):
            found[each.name] = tuple(change(one) for one in value)
        elif isinstance(value, TaughtBatch):  # noqa: SIM114 - apart for the type checker
            found[each.name] = _with_tensors(value, change)
        elif isinstance(value, Candidates):
            found[each.name] = _with_tensors(value, change)
    return replace(record, **found)


@dataclass(kw_only=True)
class Spellings:
    """The spelling of every type, and of the two sentence marks after them.

    Attributes:
      table: [V + 2, C] uint16 character ids.
      lengths: [V + 2] int64 characters before the padding, markers included.
    """

    table: np.ndarray
    lengths: np.ndarray

    @classmethod
    def of(cls, types: Sequence[str], max_characters: int) -> "Spellings":
        """Spell all types; V + 0 is the start mark and V + 1 the end mark."""
        speller = ByteSpeller(max_characters)
        words = [*types, speller.start, speller.end]
        table = np.full((len(words), max_characters), speller.padding, dtype=np.uint16)
        lengths = np.empty(len(words), dtype=np.int64)
        for low in range(0, len(words), 50_000):
            spelled = speller.spell(words[low : low + 50_000])
            width = spelled.character_ids.shape[1]
            table[low : low + 50_000, :width] = spelled.character_ids
            lengths[low : low + 50_000] = spelled.lengths
        return cls(table=table, lengths=lengths)


def word_ids(types: np.ndarray, vocabulary: int) -> np.ndarray:
    """Return the softmax ids of type ids; rare types are UNKNOWN."""
    ids = types + N_SPECIAL
    return np.where(ids < vocabulary, ids, UNKNOWN)


def prepare_batch(
    types: np.ndarray,
    sentences: np.ndarray,
    rng: np.random.Generator,
    *,
    spellings: Spellings,
    vocabulary: int,
    draws: int,
    kinds: np.ndarray | None = None,
) -> tuple[Batch, np.ndarray]:
    """Turn sentences of equal length into the indices of one step.

    Args:
      types: [B, T] type ids.
      sentences: [B] int64 indices into the token store.
      rng: of the softmax sample.
      spellings: of all types.
      vocabulary: words of the softmax, special ones included.
      draws: of its sample.
      kinds: [V] int8 of the types, or None.

    Returns:
      The batch, and [U] int64: the types of its distinct words, in the order of its spellings.
    """
    n_types = len(spellings.lengths) - 2
    marked = np.empty((types.shape[1] + 2, types.shape[0]), dtype=np.int64)
    marked[0], marked[1:-1], marked[-1] = n_types, types.T, n_types + 1
    distinct, places = np.unique(marked, return_inverse=True)
    lengths = spellings.lengths[distinct]
    order = np.argsort(lengths, kind="stable")
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order))
    words = word_ids(types.T, vocabulary)
    ends = np.full((1, types.shape[0]), SENTENCE_END, dtype=np.int64)
    forward = np.concatenate([words, ends])
    # The backward model reads from the end; it predicts the last word first.
    backward = np.concatenate([words[::-1], np.full_like(ends, SENTENCE_START)])
    candidates = choose_candidates(np.stack([forward, backward]), vocabulary, draws, rng)
    rows = candidates.rows.numpy()
    forward_places, backward_places = (
        torch.from_numpy(np.searchsorted(rows, ids.ravel())) for ids in (forward, backward)
    )
    seen = np.empty((0, 0), dtype=np.int8) if kinds is None else kinds[types.T]
    batch = Batch(
        characters=torch.from_numpy(spellings.table[distinct[order]].astype(np.int64)),
        spelled_lengths=lengths[order],
        places=torch.from_numpy(rank[places].reshape(marked.shape)),
        targets=(forward_places, backward_places),
        candidates=candidates,
        n_targets=forward.size,
        sentences=sentences,
        kinds=torch.from_numpy(np.ascontiguousarray(seen)),
    )
    return batch, distinct[order]
