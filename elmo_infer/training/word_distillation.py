"""Train the token layer on single words with a teacher, before sentences.

A word's knowledge sits in the token layer, and sentences teach it slowly: most of their words are
frequent ones, and a rare word comes up a few times in all. So before the sentences a teacher reads
each of the text's frequent words alone, once, and the token layer learns what it makes of it:

    words      1 - cos(A x, y): y can be read off linearly
    relations  squared difference between cosines of pairs of words, student's against teacher's
    before     squared error, in units of its variance, of reading the vector that the word had
               before off linearly: where a model is fine-tuned, its LSTMs know these

y is a word's state in the teacher's last layer and some of the vector of the word as a sentence,
around the mean over words: what all words have in common tells none of them apart.
"""

import math
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from elmo_infer.training.forms import RARE
from elmo_infer.training.network import Network
from elmo_infer.training.optimizer import Moments, adam_update, clip_gradients
from elmo_infer.training.parameters import cell_name
from elmo_infer.training.teacher import Teacher
from elmo_infer.training.token_store import TokenStore
from elmo_infer.transfers import to_device

WORDS = 150_000  # most frequent types, which are taught
_BATCH = 512  # small: what counts here is how often the layer is changed
_SENTENCE = 0.75  # the part of the vector of a word as a sentence in what is taught of it
_READ = 512  # words that are read at once, by the teacher or the token layer
_PARTS = 4  # of them, encoded side by side; more would sum gradients more than they share work
_WARMUP_STEPS = 50
_REVIEW_EVERY, _REVIEW_RATE = 2, 0.5
REPORT_SECONDS = 10.0


@dataclass(frozen=True, kw_only=True)
class WordLessons:
    """How the token layer is taught.

    Attributes:
      epochs: words drawn, in multiples of the number of words.
      words: how many of the most frequent types are taught.
      learning_rate: at its peak; it rises over the first steps and falls along a cosine.
      max_gradient_norm: gradients are scaled down to it.
      seed: of the words drawn and the maps' first values.
    """

    epochs: float
    words: int = WORDS
    learning_rate: float = 2e-3
    max_gradient_norm: float = 1.0
    seed: int = 1

    def __post_init__(self) -> None:
        for name in ("epochs", "words", "learning_rate"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} is {getattr(self, name)}; expected more than 0")


@dataclass(frozen=True, kw_only=True)
class LessonProgress:
    """Where the lessons stand: first the teacher reads the words, then they are taught.

    Attributes:
      words: words read, or taught, so far; taught ones with their repeats.
      total_words: words there will be.
      words_per_second: since the last report.
      loss: mean over the words since the last report, of words and relations together; None while
        the teacher reads.
    """

    words: int
    total_words: int
    words_per_second: float
    loss: float | None


def teach_words(
    network: Network,
    store: TokenStore,
    targets: Tensor,
    lessons: WordLessons,
    *,
    keep: bool = False,
    report: Callable[[LessonProgress], None] | None = None,
) -> None:
    """Train a biLM's token layer on single words; nothing else of the network is trained.

    Args:
      network: its token layer, and with `keep` the first LSTM layers' reading of it, are changed
        in place.
      store: text whose words are taught, the more often the more frequent they are.
      targets: [N, dim] what `word_targets` returns for its most frequent words.
      lessons: how much and how.
      keep: the network has been trained: hold on to its vectors, and let its LSTMs read them off
        the new ones.
      report: told of progress.
    """
    n_words = min(lessons.words, len(targets))
    targets = targets[:n_words]
    before = token_vectors(network, n_words) if keep else None
    counts = store.counts[:n_words]
    learner = Learner(network, targets, before, counts, lessons.seed)
    shares = _drawing_shares(counts).cumsum()
    total = math.ceil(lessons.epochs * n_words / _BATCH)
    clock = _Clock(report, total * _BATCH)
    for step in range(total):
        drawn = _draw(shares, _BATCH, np.random.default_rng((lessons.seed, 11, step)))
        rise = min(1.0, (step + 1) / _WARMUP_STEPS)
        fall = 0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * step / total))
        rate = lessons.learning_rate * rise * fall
        clock.tell((step + 1) * _BATCH, learner.step(drawn, rate, lessons.max_gradient_norm))
    if before is not None:
        read_as_before(network, before, token_vectors(network, n_words), counts)


def _drawing_shares(counts: np.ndarray) -> np.ndarray:
    """Return [N] how often each word is drawn: p a / (a + p), as it weighs in the text's sums.

    Sums of a sentence's rarer words tell senses apart (see fading.py), and the layer cannot hold
    all words: of lessons by powers of the count, 0.5 and 0.75, too many went to words that hardly
    ever stand in a sum.
    """
    shares = counts / counts.sum()
    return shares * RARE / (RARE + shares)


def _draw(shares: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """Return [count] words, given the running sums of their shares."""
    return np.searchsorted(shares[:-1], rng.random(count) * shares[-1], side="right")


class WordReview:
    """Single words taught on while sentences are, lest the token layer forget the rarer ones.

    It trains the token layer with Adam's moments of its own, after every second batch of sentences
    and at half their learning rate, so that sentences have more to say than words alone.

    Attributes:
      buffers: what it remembers from one batch to the next, changed in place: the map that reads
        what is taught, and the moments.
    """

    def __init__(
        self, network: Network, store: TokenStore, targets: Tensor, batch: int, seed: int
    ) -> None:
        """Prepare it for a token layer that has had lessons, or not.

        Args:
          network: its token layer is changed in place.
          store: text whose words are taught.
          targets: [N, dim] what `word_targets` returns for its most frequent words.
          batch: words at a time.
          seed: of the words drawn.
        """
        counts = store.counts[: len(targets)]
        self._batch, self._seed = batch, seed
        self._shares = _drawing_shares(counts).cumsum()
        self._learner = Learner(network, targets, None, counts, seed)
        reading = best_reading(token_vectors(network, len(targets)), targets, counts)
        with torch.no_grad():
            self._learner.maps["target"].copy_(reading[:-1])
        self.buffers = {name: value.detach() for name, value in self._learner.maps.items()}
        moments = self._learner.moments | self._learner.map_moments
        for name, one in moments.items():
            self.buffers |= {f"{name}/{kind}": value for kind, value in vars(one).items()}

    def after(self, step: int, rate: float, max_norm: float) -> None:
        """Go over some words after a batch of sentences, if it is their turn.

        Args:
          step: batches of sentences before this one.
          rate: its learning rate.
          max_norm: gradients are scaled down to it.
        """
        if step % _REVIEW_EVERY == 0:
            drawn = _draw(self._shares, self._batch, np.random.default_rng((self._seed, 13, step)))
            self._learner.step(drawn, _REVIEW_RATE * rate, max_norm)


class _Clock:
    """Tells of progress every few seconds, and at the end."""

    def __init__(self, report: Callable[[LessonProgress], None] | None, total_words: int) -> None:
        self._report, self._total = report, total_words
        self._began, self._words = time.monotonic(), 0
        self._losses: list[Tensor] = []

    def tell(self, words: int, loss: Tensor | None = None) -> None:
        """Count the words done so far, and the loss of the last ones."""
        if loss is not None:
            self._losses.append(loss)
        seconds = time.monotonic() - self._began
        if self._report is None or (seconds < REPORT_SECONDS and words < self._total):
            return
        self._report(
            LessonProgress(
                words=words,
                total_words=self._total,
                words_per_second=(words - self._words) / max(seconds, 1e-9),
                loss=float(torch.stack(self._losses).mean()) if self._losses else None,
            )
        )
        self._began, self._words, self._losses = time.monotonic(), words, []


def word_targets(
    teacher: Teacher,
    words: list[str],
    report: Callable[[LessonProgress], None] | None = None,
) -> Tensor:
    """Return [N, dim] float32: what is taught of each of N words alone, around the words' mean.

    Words of the same pieces are read once; the longest come last, so that little is padded.

    Args:
      teacher: a transformer.
      words: to read.
      report: told of progress.
    """
    spelled: dict[tuple[int, ...], int] = {}
    places = np.array([spelled.setdefault(tuple(teacher.pieces(w)), len(spelled)) for w in words])
    _, first = np.unique(places, return_index=True)
    keys = list(spelled)
    order = sorted(range(len(keys)), key=lambda key: len(keys[key]))
    parts = [order[low : low + _READ] for low in range(0, len(order), _READ)]

    def read(part: list[int]) -> Tensor:
        states, sentences = teacher.states([[words[first[key]]] for key in part])
        return F.normalize(states[:, 0], dim=1) + _SENTENCE * sentences

    # A device's work is queued by one thread.
    with ThreadPoolExecutor(2 if teacher.device.type == "cpu" else 1) as pool:
        clock, found = _Clock(report, len(order)), []
        for values in pool.map(read, parts):
            found.append(values)
            clock.tell(min(len(found) * _READ, len(order)))
    rank = np.empty(len(order), dtype=np.int64)
    rank[order] = np.arange(len(order))
    targets = torch.cat(found)[to_device(rank[places], teacher.device)]
    return targets - targets.mean(0)


class Learner:
    """The token layer, the maps that read it, and their moments."""

    def __init__(
        self,
        network: Network,
        targets: Tensor,
        before: Tensor | None,
        counts: np.ndarray,
        seed: int,
    ) -> None:
        self._network, self._targets, self._before = network, targets, before
        width, device = network.config.projection_dim, network.device
        if before is None:
            drawn = torch.randn(
                width, targets.shape[1], generator=torch.Generator().manual_seed(seed)
            )
            self.maps = {"target": drawn.mul_(width**-0.5).to(device)}
        else:
            self.maps = {
                "target": best_reading(before, targets, counts)[:-1].clone(),
                "before": torch.eye(width, device=device),
                "bias": torch.zeros(width, device=device),
            }
            self._scale = float(1 / before.var(0).mean())
        self.maps = {name: value.requires_grad_() for name, value in self.maps.items()}
        layer = {
            name: value
            for name, value in network.parameters.items()
            if name.startswith(("char_embed", "CNN"))
        }
        self.moments = {name: Moments.for_array(value) for name, value in layer.items()}
        self.map_moments = {
            name: Moments.for_array(each.detach()) for name, each in self.maps.items()
        }

    def step(self, words: np.ndarray, rate: float, max_norm: float) -> Tensor:
        """Learn from some words, repeats among them; return the loss of words and relations.

        It is on the device: reading it waits for the step.
        """
        network = self._network
        distinct, counts = np.unique(words, return_counts=True)
        order, chunks = _encode(network, distinct)
        distinct, counts = distinct[order], counts[order]
        vectors = torch.cat([each.detach() for each, _ in chunks]).requires_grad_()
        maps = self.maps
        places = to_device(distinct, network.device)
        weights = to_device((counts / counts.sum()).astype(np.float32), network.device)
        loss = self._loss(vectors, maps, self._targets[places], weights)
        total = loss
        if self._before is not None:
            found = vectors @ maps["before"] + maps["bias"]
            error = (found - self._before[places]).square().mean(1) * self._scale
            total = loss + (error * weights).sum()
        d_vectors, *d_maps = torch.autograd.grad(total, [vectors, *maps.values()])
        gradients = network.token_layer_gradients(chunks, d_vectors)
        clip_gradients([*gradients.values(), *d_maps], max_norm)
        with torch.no_grad():
            adam_update(
                [*(network.parameters[name] for name in gradients), *maps.values()],
                [*gradients.values(), *d_maps],
                [*(self.moments[name] for name in gradients), *self.map_moments.values()],
                rate,
            )
        return loss.detach()

    @staticmethod
    def _loss(vectors: Tensor, maps: dict[str, Tensor], target: Tensor, weights: Tensor) -> Tensor:
        words = 1 - F.cosine_similarity(vectors @ maps["target"], target)
        student, teacher = F.normalize(vectors, dim=1), F.normalize(target, dim=1)
        error = (student @ student.t() - teacher @ teacher.t()).square()
        return (words * weights).sum() + 4 * (weights @ error @ weights)


def _encode(
    network: Network, types: np.ndarray
) -> tuple[np.ndarray, list[tuple[Tensor, dict[str, Tensor]]]]:
    """Encode types, the shortest first; return their order and what Network.encode returns."""
    lengths = network.spellings.lengths[types]
    order = np.argsort(lengths, kind="stable")
    spelled = to_device(network.spellings.table[types[order]].astype(np.int64), network.device)
    return order, network.encode(spelled, lengths[order], parts=_PARTS)


def token_vectors(network: Network, n_words: int) -> Tensor:
    """Return [N, P]: the token layer's vectors of the most frequent words."""
    found = []
    for low in range(0, n_words, _READ):
        with torch.no_grad():
            order, chunks = _encode(network, np.arange(low, min(low + _READ, n_words)))
        vectors = torch.cat([each.detach() for each, _ in chunks])
        found.append(vectors[to_device(np.argsort(order), network.device)])
    return torch.cat(found)


def read_as_before(network: Network, before: Tensor, after: Tensor, counts: np.ndarray) -> None:
    """Let the first LSTM layers read words' old vectors off their new ones.

    The best linear map from new to old, least squares over all tokens of these words, goes into
    the kernels: x_old W = (x_new M + c) W.

    Args:
      network: its first layers' kernels and biases are changed in place.
      before: [N, P] the old vectors.
      after: [N, P] the new ones.
      counts: [N] how often each word stands in the text.
    """
    solution = best_reading(after, before, counts)
    width = network.config.projection_dim
    for direction in range(2):
        name = cell_name(direction, 0)
        kernel, bias = network.parameters[f"{name}/W_0"], network.parameters[f"{name}/B"]
        old = kernel[:width].clone()
        kernel[:width] = solution[:-1] @ old
        bias += solution[-1] @ old


def best_reading(vectors: Tensor, wanted: Tensor, counts: np.ndarray) -> Tensor:
    """Return [D + 1, M]: the linear map from [N, D] to [N, M], and its constant in the last row.

    It has the least squared error over words as often as they are counted, [N]: whole numbers, or
    shares.
    """
    weights = to_device(np.sqrt(counts.astype(np.float64)), vectors.device)[:, None]
    columns = torch.cat([vectors, vectors.new_ones(len(vectors), 1)], dim=1).double()
    return torch.linalg.lstsq(columns * weights, wanted.double() * weights).solution.float()
