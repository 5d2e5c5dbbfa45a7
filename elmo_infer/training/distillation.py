"""Auxiliary losses that bring the biLM's geometry to a teacher's, and learn the pooling query.

Four terms, on the sentences of a batch that the teacher reads:

    words        1 - cos(A_l x_l, y) for every layer l and for the mix: what the teacher knows
                 of a word in its sentence can be read off linearly. y is what tells senses apart
                 (see discourse.py) in the word's state in the teacher's middle layers, beside
                 the sentence's vector (the last layer's states are much like that)
    relations    squared difference between cosines of pairs of words, student's against
                 teacher's (Park et al. 2019, relational distillation)
    occurrences  1 - correlation, over pairs of occurrences of the same word, of the student's
                 and the teacher's cosines, each around the mean of its own word's pairs: which
                 occurrences are near each other is just what a search by sense ranks
    sentences    words and relations once more, for attention-pooled sentence vectors; this
                 learns the query

Words here are those beyond the most frequent types: punctuation and function words have no
senses to tell apart. Occurrences are paired with those of recent batches, kept in a ring.
"""

from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from elmo_infer.training.batches import gather_batch
from elmo_infer.training.discourse import FREQUENT, in_context
from elmo_infer.training.spelled_batch import Batch
from elmo_infer.training.teacher import Teacher
from elmo_infer.training.token_store import TokenStore
from elmo_infer.transfers import to_device

CPU = torch.device("cpu")
_WORDS = 2048
_RELATED = 1024  # words whose cosines with each other are compared
# Weights of these losses beside 1. With 4 and 1 of words, what could be read off the vectors grew
# while their own nearest neighbours, which a search sees, stayed as they were.
_RELATIONS, _OCCURRENCES, _SENTENCE_RELATIONS = 16.0, 4.0, 4.0
_RING = 65_536
_PAIRS = 8  # occurrences in the ring that each word is compared with
_PARTS = 4  # a CPU's teacher reads a batch in parts, side by side


class Distillation:
    """The auxiliary loss of a training run with a teacher.

    Attributes:
      parameters: what the loss learns: maps to what is taught, [D, K] of words and [D, teacher's
        dim] of sentences, and the pooling query [D].
      buffers: `senses` [2 dim, K], and the ring of recent occurrences, with the place of the next:
        `types` [R] int64 (-1 where empty), `student` [R, D] and `teacher` [R, K] float16 of
        length 1, `next` [1]. `types` and `next` are on the CPU, where pairs are chosen.
    """

    def __init__(
        self,
        teacher: Teacher,
        store: TokenStore,
        senses: Tensor,
        *,
        dim: int,
        layer_weights: Sequence[float],
        share: float = 0.5,
        seed: int = 0,
        device: torch.device = CPU,
    ) -> None:
        """Prepare the loss.

        Args:
          teacher: the transformer.
          store: text that the batches index.
          senses: [2 dim, K] what is taught of a word in its sentence, see discourse.sense_map.
          dim: width D of the student's layers.
          layer_weights: [L] of the mix whose geometry is taught.
          share: of each batch's sentences that the teacher reads.
          seed: of the maps' first values.
          device: where the student's layers are; the teacher's states are handed over there.
        """
        self._teacher, self._store, self._share = teacher, store, share
        self._layer_weights = tuple(layer_weights)
        self._pieces = teacher.table_of(store.types)
        # A device's work is queued by one thread, in one part.
        on_cpu = device.type == "cpu"
        self._pool, self._parts = ThreadPoolExecutor(2 if on_cpu else 1), _PARTS if on_cpu else 1
        self._device = device
        self._ahead: deque[tuple[np.ndarray, list[Future[tuple[Tensor, Tensor]]]]] = deque()
        generator = torch.Generator().manual_seed(seed)
        self.parameters = {
            f"map_{index}": torch.randn(dim, senses.shape[1], generator=generator) * dim**-0.5
            for index in range(len(layer_weights) + 1)
        }
        self.parameters["map_sentence"] = torch.randn(dim, teacher.dim, generator=generator)
        self.parameters["map_sentence"] *= dim**-0.5
        self.parameters["query"] = torch.zeros(dim)
        self.parameters = {
            name: value.to(device).requires_grad_() for name, value in self.parameters.items()
        }
        self.buffers = {
            "senses": senses,
            "types": torch.full((_RING,), -1, dtype=torch.int64),
            "student": torch.zeros(_RING, dim, dtype=torch.float16, device=device),
            "teacher": torch.zeros(_RING, senses.shape[1], dtype=torch.float16, device=device),
            "next": torch.zeros(1, dtype=torch.int64),
        }

    def start(self, sentences: np.ndarray) -> None:
        """Let the teacher read a batch that is trained on later, in the background.

        Args:
          sentences: [B] int64 indices into the token store. Batches are started in the order in
            which they are trained on.
        """
        rows = min(max(2, round(len(sentences) * self._share)), len(sentences))
        words = gather_batch(self._store, sentences[:rows])
        parts = np.array_split(words, min(self._parts, rows))
        read, layers = self._teacher.states_of, self._teacher.middle_layers
        states = [self._pool.submit(read, self._pieces, part, layers) for part in parts]
        self._ahead.append((sentences, states))

    def __call__(self, batch: Batch, layers: list[Tensor]) -> Tensor:
        """Return the loss, as a function of the layers and of the own parameters."""
        y_words, y_sentences = self._teacher_states(batch.sentences)
        rows, length = y_words.shape[:2]
        dim = layers[0].shape[2]
        stack = [layer[1:-1, :rows].transpose(0, 1) for layer in layers]  # [rows, T, D]
        weighed = [layer * w for layer, w in zip(stack, self._layer_weights, strict=True)]
        mix = torch.stack(weighed).sum(0)

        starts = self._store.sentences[batch.sentences[:rows]]
        types = self._store.tokens[starts[:, None] + np.arange(length)].ravel().astype(np.int64)
        chosen = choose_words(types)
        places = to_device(chosen, self._device)
        y = y_words.reshape(rows * length, -1)[places]
        target = in_context(y, y_sentences[places // length]) @ self.buffers["senses"]
        words = [layer.reshape(rows * length, dim)[places] for layer in [*stack, mix]]
        loss = torch.zeros((), device=self._device)
        for index, states in enumerate(words):
            guess = states @ self.parameters[f"map_{index}"]
            loss = loss + (1 - F.cosine_similarity(guess, target)).mean() / len(stack)
        student, teacher = F.normalize(words[-1], dim=1), F.normalize(target, dim=1)
        step = -(-len(student) // _RELATED)
        some, wanted = student[::step], teacher[::step]
        loss = loss + _RELATIONS * (some @ some.t() - wanted @ wanted.t()).square().mean()
        loss = loss + _OCCURRENCES * self.follow_occurrences(types[chosen], student, teacher)

        pooled = attention_pool(mix, self.parameters["query"])
        guess = pooled @ self.parameters["map_sentence"]
        loss = loss + (1 - F.cosine_similarity(guess, y_sentences)).mean()
        cosines = F.normalize(pooled, dim=1) @ F.normalize(pooled, dim=1).t()
        return (
            loss + _SENTENCE_RELATIONS * (cosines - y_sentences @ y_sentences.t()).square().mean()
        )

    def _teacher_states(self, sentences: np.ndarray) -> tuple[Tensor, Tensor]:
        """Return [rows, T, dim] word states and [rows, dim] sentence vectors of a batch."""
        if not self._ahead:
            self.start(sentences)
        started, states = self._ahead.popleft()
        assert started is sentences, "batches must be trained on in the order they were started"
        found = [one.result() for one in states]
        return torch.cat([words for words, _ in found]), torch.cat([whole for _, whole in found])

    def follow_occurrences(self, types: np.ndarray, student: Tensor, teacher: Tensor) -> Tensor:
        """Compare words with occurrences in the ring, then put them there.

        Args:
          types: [n] int64.
          student: [n, D] of length 1.
          teacher: [n, K] of length 1.
        """
        ring = self.buffers
        own, other = pair_occurrences(types, ring["types"].numpy(), _PAIRS)
        loss = torch.zeros((), device=self._device)
        if len(own):
            mine, theirs = to_device(own, self._device), to_device(other, self._device)
            s = (student[mine] * ring["student"][theirs].float()).sum(1)
            t = (teacher[mine] * ring["teacher"][theirs].float()).sum(1)
            loss = 1 - within_group_correlation(s, t, mine, len(types))
        places = (torch.arange(len(types)) + ring["next"]) % _RING
        ring["types"][places] = torch.from_numpy(types)
        there = to_device(places.numpy(), self._device)
        ring["student"][there] = student.detach().half()
        ring["teacher"][there] = teacher.half()
        ring["next"] += len(types)
        ring["next"] %= _RING
        return loss


def choose_words(types: np.ndarray) -> np.ndarray:
    """Return [n] places of at most _WORDS words beyond the most frequent types, evenly spaced.

    Args:
      types: [N] int64 ranks by frequency. If none is rare enough, all are candidates.
    """
    places = np.flatnonzero(types >= FREQUENT)
    if len(places) < 2:
        places = np.arange(len(types))
    step = -(-len(places) // _WORDS)
    return places[::step]


def pair_occurrences(
    types: np.ndarray, others: np.ndarray, most: int
) -> tuple[np.ndarray, np.ndarray]:
    """Pair each word with occurrences of its type.

    Args:
      types: [n] int64.
      others: [m] int64 types of other occurrences.
      most: how many others each word is paired with, evenly spaced among its type's.

    Returns:
      [P] places in types and [P] places in others. A word with fewer than two is left out: one
      pair has no rank.
    """
    order = np.argsort(others, kind="stable")
    first = np.searchsorted(others, types, side="left", sorter=order)
    count = np.searchsorted(others, types, side="right", sorter=order) - first
    taken = np.where(count < 2, 0, np.minimum(count, most))
    own = np.repeat(np.arange(len(types)), taken)
    nth = np.arange(len(own)) - np.repeat(np.cumsum(taken) - taken, taken)
    return own, order[first[own] + nth * count[own] // np.maximum(taken[own], 1)]


def within_group_correlation(x: Tensor, y: Tensor, groups: Tensor, n_groups: int) -> Tensor:
    """Return Pearson's correlation of x and y, each around the mean of its group, a scalar.

    Args:
      x, y: [P] float32.
      groups: [P] int64 below n_groups.
    """
    none = x.new_zeros(n_groups)
    sizes = none.index_add(0, groups, torch.ones_like(y)).clamp_min(1.0)
    x = x - (none.index_add(0, groups, x) / sizes)[groups]
    y = y - (none.index_add(0, groups, y) / sizes)[groups]
    return F.cosine_similarity(x, y, dim=0)


def attention_pool(vectors: Tensor, query: Tensor) -> Tensor:
    """Pool [B, T, D] equally long sentences into [B, D] by softmax(q . k / sqrt(D))."""
    scores = vectors @ query / vectors.shape[2] ** 0.5
    return (torch.softmax(scores, dim=1)[:, :, None] * vectors).sum(1)
