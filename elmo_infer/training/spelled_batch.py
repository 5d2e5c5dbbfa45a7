"""The input of one training step as indices: spellings of words, places, targets."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from elmo_infer.characters import ByteSpeller
from elmo_infer.training.sampled_softmax import Candidates
from elmo_infer.transfers import to_device


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
    """

    characters: Tensor
    spelled_lengths: np.ndarray
    places: Tensor
    targets: tuple[Tensor, Tensor]
    candidates: Candidates
    n_targets: int
    sentences: np.ndarray

    @property
    def n_tokens(self) -> int:
        """Return the number of words in the sentences, marks not counted."""
        marked, sentences = self.places.shape
        return (marked - 2) * sentences

    def to(self, device: torch.device) -> "Batch":
        """Return the same with its tensors on a device; nothing waits for it."""
        forward, backward = (to_device(one.numpy(), device) for one in self.targets)
        return replace(
            self,
            characters=to_device(self.characters.numpy(), device),
            places=to_device(self.places.numpy(), device),
            targets=(forward, backward),
            candidates=self.candidates.to(device),
        )


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
