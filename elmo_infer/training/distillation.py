"""Auxiliary losses that bring the biLM's geometry to a teacher's, and learn the pooling query.

Three terms, all on the sentences of the batch at hand:

    words      1 - cos(A_l x_l, y) for every layer l and for the mix: what the teacher knows of
               a word in its sentence can be read off linearly
    relations  squared difference between cosines of pairs of words, student's against
               teacher's, pairs of the same word once more by themselves (Park et al. 2019,
               relational distillation): what a search compares are just these cosines
    sentences  the same two for attention-pooled sentence vectors; this learns the query
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from elmo_infer.training.network import Batch
from elmo_infer.training.teacher import Teacher, states_in_parallel
from elmo_infer.training.token_store import TokenStore

_WORDS = 1024


class Distillation:
    """The auxiliary loss of a training run with a teacher."""

    def __init__(
        self,
        teacher: Teacher,
        store: TokenStore,
        *,
        dim: int,
        layer_weights: Sequence[float],
        share: float = 0.5,
        seed: int = 0,
    ) -> None:
        """Prepare the loss.

        Args:
          teacher: the transformer.
          store: text that the batches index.
          dim: width D of the student's layers.
          layer_weights: [L] of the mix whose geometry is taught.
          share: of each batch's sentences that the teacher reads.
          seed: of the maps' first values.
        """
        self._teacher, self._store, self._share = teacher, store, share
        self._layer_weights = tuple(layer_weights)
        self._pool = ThreadPoolExecutor(2)
        generator = torch.Generator().manual_seed(seed)
        self.parameters = {
            f"map_{index}": torch.randn(dim, teacher.dim, generator=generator) * dim**-0.5
            for index in range(len(layer_weights) + 1)
        }
        self.parameters["map_sentence"] = torch.randn(dim, teacher.dim, generator=generator)
        self.parameters["map_sentence"] *= dim**-0.5
        self.parameters["query"] = torch.zeros(dim)
        for value in self.parameters.values():
            value.requires_grad_()

    def __call__(self, batch: Batch, layers: list[Tensor]) -> Tensor:
        """Return the loss, as a function of the layers and of the own parameters."""
        rows = max(2, round(len(batch.sentences) * self._share))
        rows = min(rows, len(batch.sentences))
        starts = self._store.sentences
        ids = [self._store.tokens[starts[one] : starts[one + 1]] for one in batch.sentences[:rows]]
        types = self._store.types
        sentences = [[types[token] for token in row] for row in ids]
        y_words, y_sentences = states_in_parallel(self._teacher, sentences, self._pool, 4)

        dim = layers[0].shape[2]
        stack = [layer[1:-1, :rows].transpose(0, 1) for layer in layers]  # [rows, T, D]
        weighed = [layer * w for layer, w in zip(stack, self._layer_weights, strict=True)]
        mix = torch.stack(weighed).sum(0)
        # Evenly spaced words: no randomness, and all sentences are represented.
        step = max(1, y_words.shape[0] * y_words.shape[1] // _WORDS)
        target = y_words.reshape(-1, y_words.shape[2])[::step]
        words = [layer.reshape(-1, dim)[::step] for layer in [*stack[1:], mix]]
        loss = torch.zeros(())
        for index, states in enumerate(words, start=1):
            guess = states @ self.parameters[f"map_{index}"]
            loss = loss + (1 - F.cosine_similarity(guess, target)).mean() / len(stack)
        loss = loss + 4 * _relation_loss(words[-1], target, np.concatenate(ids)[::step])

        pooled = attention_pool(mix, self.parameters["query"])
        guess = pooled @ self.parameters["map_sentence"]
        loss = loss + (1 - F.cosine_similarity(guess, y_sentences)).mean()
        cosines = F.normalize(pooled, dim=1) @ F.normalize(pooled, dim=1).t()
        return loss + 4 * (cosines - y_sentences @ y_sentences.t()).square().mean()


def attention_pool(vectors: Tensor, query: Tensor) -> Tensor:
    """Pool [B, T, D] equally long sentences into [B, D] by softmax(q . k / sqrt(D))."""
    scores = vectors @ query / vectors.shape[2] ** 0.5
    return (torch.softmax(scores, dim=1)[:, :, None] * vectors).sum(1)


def _relation_loss(student: Tensor, teacher: Tensor, ids: np.ndarray) -> Tensor:
    """Compare cosines of word pairs; student [n, D], teacher [n, D'], ids [n]."""
    s, t = F.normalize(student, dim=1), F.normalize(teacher, dim=1)
    difference = (s @ s.t() - t @ t.t()).square()
    one = torch.from_numpy(ids)
    same = (one[:, None] == one[None, :]).float()
    same.fill_diagonal_(0.0)
    return difference.mean() + (difference * same).sum() / same.sum().clamp_min(1.0)
