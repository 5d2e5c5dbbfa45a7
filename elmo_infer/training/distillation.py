"""Auxiliary losses that bring the biLM's geometry to a teacher's, and learn the pooling query.

What the teacher makes of the text has been read before (teacher_cache.py) and comes with each
batch: of a word, what tells senses apart in its state beside its sentence's vector (discourse.py);
of a sentence, its vector. The losses are named and weighed in loss_weights.py; those of occurrences
are in occurrence_losses.py, those of sentences in sentence_losses.py.

Words here are those with senses to tell apart, see forms.py.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from elmo_infer.training.loss_weights import LossWeights
from elmo_infer.training.occurrence_losses import (
    OccurrenceRing,
    cosines_with_ring,
    nearest_in_common,
    nearest_loss,
    order_loss,
    threshold_loss,
)
from elmo_infer.training.sentence_losses import (
    SentenceRing,
    attention_weights,
    masses,
    relation_loss,
)
from elmo_infer.training.spelled_batch import Batch, TaughtBatch

CPU = torch.device("cpu")
COMMON_NAME = "nearest_in_common"


@dataclass(frozen=True, kw_only=True, eq=False)
class Rings:
    """What the losses remember of earlier batches."""

    occurrences: OccurrenceRing
    sentences: SentenceRing

    @property
    def buffers(self) -> dict[str, Tensor]:
        """Their arrays, by name."""
        return {
            f"{kind}_{name}": one
            for kind, ring in (("occurrences", self.occurrences), ("sentences", self.sentences))
            for name, one in ring.buffers.items()
        }


class Distillation:
    """The auxiliary loss of a training run with a teacher.

    Attributes:
      parameters: what the loss learns: maps to what is taught, [D, K] of words, [D, teacher's dim]
        of sentences and [P, teacher's dim] of single words, and the pooling query [D].
      buffers: of the rings.
      parts: by name, the losses of the last batch before they are weighed, on the device.
    """

    def __init__(
        self,
        *,
        dim: int,
        taught: int,
        teacher_dim: int,
        layer_weights: Sequence[float],
        weights: LossWeights | None = None,
        ring: int = 65_536,
        seed: int = 0,
        device: torch.device = CPU,
    ) -> None:
        """Prepare the loss.

        Args:
          dim: width D of the student's layers.
          taught: width K of what is taught of a word.
          teacher_dim: of the teacher's states.
          layer_weights: [L] of the mix whose geometry is taught.
          weights: of the losses.
          ring: occurrences that are remembered, and sentences.
          seed: of the maps' first values.
          device: where the student's layers are.
        """
        self._weights = weights or LossWeights()
        self._layer_weights = torch.tensor(layer_weights, dtype=torch.float32).to(device)
        self._sizes = (ring, dim, taught, teacher_dim)
        self._device = device
        generator = torch.Generator().manual_seed(seed)

        def drawn(rows: int, columns: int) -> Tensor:
            return torch.randn(rows, columns, generator=generator) * rows**-0.5

        found = {f"map_{index}": drawn(dim, taught) for index in range(len(layer_weights) + 1)}
        found["map_sentence"] = drawn(dim, teacher_dim)
        found["map_word"] = drawn(dim // 2, teacher_dim)
        found["query"] = torch.zeros(dim)
        self.parameters = {name: one.to(device).requires_grad_() for name, one in found.items()}
        self._rings = self.new_rings()
        self.buffers = self._rings.buffers
        self.parts: dict[str, Tensor] = {}

    def new_rings(self) -> Rings:
        """Return empty rings of its sizes."""
        ring, dim, taught, teacher_dim = self._sizes
        return Rings(
            occurrences=OccurrenceRing(ring, dim, taught, self._device),
            sentences=SentenceRing(ring, dim, teacher_dim, self._device),
        )

    def __call__(self, batch: Batch, layers: list[Tensor], vectors: Tensor) -> Tensor:
        """Return the loss, as a function of layers and vectors and of the own parameters."""
        parts = self.losses(batch, layers, vectors, self._rings)
        self.parts = {name: one.detach() for name, one in parts.items()}
        weighed = [getattr(self._weights, name) * one for name, one in parts.items()]
        return torch.stack(weighed).sum() if weighed else vectors.sum() * 0.0

    def losses(
        self,
        batch: Batch,
        layers: list[Tensor],
        vectors: Tensor,
        rings: Rings,
        *,
        measure: bool = False,
    ) -> dict[str, Tensor]:
        """Return the losses that have a weight, and remember the batch.

        Args:
          batch: with what is taught.
          layers: [L] of [T + 2, B, D], time first.
          vectors: [U, P] of the batch's distinct words.
          rings: compared with, and written to.
          measure: also the share of nearest occurrences in common, as `nearest_in_common`.
        """
        assert batch.taught is not None, "the batch was prepared without a teacher's cache"
        stack = torch.stack([layer[1:-1] for layer in layers])  # [L, T, B, D]
        mix = torch.einsum("l,ltbd->tbd", self._layer_weights, stack)
        found = self._of_words(batch.taught, stack, mix, rings.occurrences, measure)
        found |= self._of_sentences(batch, mix, rings.sentences)
        weights = self._weights
        if weights.single_words and len(batch.taught.single_places):
            found["single_words"] = self._of_single_words(batch.taught, vectors)
        return {
            name: one
            for name, one in found.items()
            if name == COMMON_NAME or getattr(weights, name)
        }

    def _of_words(
        self,
        taught: TaughtBatch,
        stack: Tensor,
        mix: Tensor,
        ring: OccurrenceRing,
        measure: bool,
    ) -> dict[str, Tensor]:
        if not len(taught.places):
            return {}
        weights, found = self._weights, {}
        wanted = taught.words.float()
        mixed = mix.flatten(0, 1).index_select(0, taught.places)
        if weights.words:
            states = stack.flatten(1, 2).index_select(1, taught.places)
            total = mixed.new_zeros(())
            for index, state in enumerate([*states, mixed]):
                guess = state @ self.parameters[f"map_{index}"]
                total = total + (1 - F.cosine_similarity(guess, wanted)).mean()
            found["words"] = total / len(stack)
        student = F.normalize(mixed, dim=1)
        if weights.relations:
            found["relations"] = relation_loss(student, wanted)
        if not (weights.occurrences or weights.across or weights.nearest):
            return found
        # Until batches have come before there is nothing to compare with: no loss, not a wrong one.
        if int(ring.buffers["next"]):
            mine, theirs, real = cosines_with_ring(ring, taught.types, student, wanted)
            some = real.any().float()
            found["occurrences"] = some * order_loss(mine, theirs, real)
            found["across"] = some * threshold_loss(mine, theirs, real)
            found["nearest"] = nearest_loss(mine, theirs, real)
            if measure:
                found[COMMON_NAME] = nearest_in_common(mine, theirs, real)
        ring.put(taught.types, student, wanted)
        return found

    def _of_sentences(self, batch: Batch, mix: Tensor, ring: SentenceRing) -> dict[str, Tensor]:
        assert batch.taught is not None
        weights, found = self._weights, {}
        rows = mix.transpose(0, 1)  # [B, T, D]
        attention = attention_weights(rows, self.parameters["query"])
        if (weights.punctuation or weights.stop_words) and batch.kinds.numel():
            found["punctuation"], found["stop_words"] = masses(attention, batch.kinds.t())
        columns = batch.taught.columns
        if not len(columns):
            return found
        pooled = torch.einsum("bt,btd->bd", attention, rows).index_select(0, columns)
        wanted = batch.taught.sentences.float()
        if weights.sentences:
            guess = pooled @ self.parameters["map_sentence"]
            found["sentences"] = (1 - F.cosine_similarity(guess, wanted)).mean()
        student = F.normalize(pooled, dim=1)
        if weights.sentence_relations:
            found["sentence_relations"] = relation_loss(student, wanted)
        if weights.near_sentences:
            found["near_sentences"] = ring.near_loss(student, wanted)
            ring.put(student, wanted)
        return found

    def _of_single_words(self, taught: TaughtBatch, vectors: Tensor) -> Tensor:
        own = vectors.index_select(0, taught.single_places)
        wanted, shares = taught.single.float(), taught.single_weights
        guess = own @ self.parameters["map_word"]
        read = ((1 - F.cosine_similarity(guess, wanted)) * shares).sum()
        step = -(-len(own) // 2048)
        student, teacher = F.normalize(own[::step], dim=1), F.normalize(wanted[::step], dim=1)
        some = shares[::step] / shares[::step].sum().clamp_min(1e-30)
        error = (student @ student.t() - teacher @ teacher.t()).square()
        return read + 4 * (some @ error @ some)
