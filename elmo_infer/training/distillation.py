"""Auxiliary losses that bring the biLM's geometry to a teacher's, and learn the pooling query.

Three terms, all on the sentences of the batch at hand:

    words      1 - cos(A_l x_l, y) for every layer l and for the mix: what the teacher knows of
               a word in its sentence can be read off linearly
    relations  squared difference between cosines of pairs of words, student's against
               teacher's, pairs of the same word once more by themselves (Park et al. 2019,
               relational distillation): what a search compares are just these cosines
    sentences  the same two for attention-pooled sentence vectors; this learns the query
"""

from concurrent.futures import ThreadPoolExecutor

import torch
import torch.nn.functional as F
from torch import Tensor

from elmo_infer.training.network import Batch
from elmo_infer.training.teacher import Teacher, states_in_parallel
from elmo_infer.training.token_store import TokenStore

_PAIRED_WORDS = 1024


class Distillation:
    """The auxiliary loss of a training run with a teacher."""

    def __init__(
        self,
        teacher: Teacher,
        store: TokenStore,
        *,
        dim: int,
        n_layers: int,
        share: float = 0.5,
        seed: int = 0,
    ) -> None:
        """Prepare the loss.

        Args:
          teacher: the transformer.
          store: text that the batches index.
          dim: width D of the student's layers.
          n_layers: L of the student.
          share: of each batch's sentences that the teacher reads.
          seed: of the maps' first values.
        """
        self._teacher, self._store, self._share = teacher, store, share
        self._pool = ThreadPoolExecutor(2)
        generator = torch.Generator().manual_seed(seed)
        self.parameters = {
            f"map_{index}": torch.randn(dim, teacher.dim, generator=generator) * dim**-0.5
            for index in range(n_layers + 1)
        }
        self.parameters["map_sentence"] = torch.randn(dim, teacher.dim, generator=generator)
        self.parameters["map_sentence"] *= dim**-0.5
        self.parameters["query"] = torch.zeros(dim)
        for value in self.parameters.values():
            value.requires_grad_()

    def __call__(self, batch: Batch, layers: list[Tensor]) -> Tensor:
        """Return the loss; gradients of the own parameters are added to their .grad."""
        rows = max(2, round(len(batch.sentences) * self._share))
        rows = min(rows, len(batch.sentences))
        starts = self._store.sentences
        ids = [self._store.tokens[starts[one] : starts[one + 1]] for one in batch.sentences[:rows]]
        types = self._store.types
        sentences = [[types[token] for token in row] for row in ids]
        y_words, y_sentences = states_in_parallel(self._teacher, sentences, self._pool, 4)

        dim = layers[0].shape[2]
        stack = [layer[1:-1, :rows].transpose(0, 1) for layer in layers]  # [rows, T, D]
        mix = torch.stack(stack).mean(0)
        target = y_words.reshape(-1, y_words.shape[2])
        loss = torch.zeros(())
        for index, states in enumerate([*stack[1:], mix], start=1):
            guess = states.reshape(-1, dim) @ self.parameters[f"map_{index}"]
            loss = loss + (1 - F.cosine_similarity(guess, target)).mean() / len(stack)
        flat_ids = torch.tensor([int(token) for row in ids for token in row])
        loss = loss + 4 * _relation_loss(mix.reshape(-1, dim), target, flat_ids)

        pooled = attention_pool(mix, self.parameters["query"])
        guess = pooled @ self.parameters["map_sentence"]
        loss = loss + (1 - F.cosine_similarity(guess, y_sentences)).mean()
        cosines = F.normalize(pooled, dim=1) @ F.normalize(pooled, dim=1).t()
        loss = loss + 4 * (cosines - y_sentences @ y_sentences.t()).square().mean()

        own = list(self.parameters.values())
        grads = torch.autograd.grad(loss, own, retain_graph=True, allow_unused=True)
        for value, grad in zip(own, grads, strict=True):
            if grad is not None:
                value.grad = grad if value.grad is None else value.grad + grad
        return loss


def attention_pool(vectors: Tensor, query: Tensor) -> Tensor:
    """Pool [B, T, D] equally long sentences into [B, D] by softmax(q . k / sqrt(D))."""
    scores = vectors @ query / vectors.shape[2] ** 0.5
    return (torch.softmax(scores, dim=1)[:, :, None] * vectors).sum(1)


def _relation_loss(student: Tensor, teacher: Tensor, ids: Tensor) -> Tensor:
    """Compare cosines of word pairs; student [n, D], teacher [n, D'], ids [n]."""
    # Evenly spaced words: no randomness, and all sentences are represented.
    step = max(1, len(ids) // _PAIRED_WORDS)
    s, t = F.normalize(student[::step], dim=1), F.normalize(teacher[::step], dim=1)
    difference = (s @ s.t() - t @ t.t()).square()
    one = ids[::step]
    same = (one[:, None] == one[None, :]).float()
    same.fill_diagonal_(0.0)
    return difference.mean() + (difference * same).sum() / same.sum().clamp_min(1.0)
