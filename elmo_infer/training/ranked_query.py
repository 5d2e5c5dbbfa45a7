"""Learn the pooling query from a teacher: which of the sentences near to one are nearest.

A teacher's losses on batches of the text teach a query mostly what tells any two sentences apart,
and any two have little in common. What a search ranks are sentences that are near already. So for
each of some sentences those nearest by the teacher's vectors are looked up, and the query of
attention pooling (softmax(q . k / sqrt(D)) over a sentence's token vectors) is trained for

    1 - correlation of cosines, the model's against the teacher's, between a sentence and those
        near to it, each around the mean of its own sentence
    + attention's mass on punctuation and on stop words, each with its weight: what a sentence means
        can be read from where attention lies only if that is on words which mean something

The model itself stays as it is.
"""

import math
from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from elmo_infer.training.sentence_losses import masses
from elmo_infer.training.token_store import TokenStore

SENTENCES = 30_000
_SHORTEST, _LONGEST = 5, 20  # words; in long sentences all of attention's weights are small
_NEAR = 20  # a sentence's nearest, of which each step takes some
_COMPARED = 16
_BATCH = 64
_STEPS, _RATE = 400, 0.02
# Attention that is sharp enough for this text is a little too sharp for others (by STS-B).
_SOFTER = 0.8


def choose_sentences(
    store: TokenStore, vectors: np.ndarray, count: int, rng: np.random.Generator
) -> np.ndarray:
    """Return [S] int64 indices of sentences of middling length, the shortest first.

    Args:
      store: the text.
      vectors: [sentences of the text, dim] the teacher's, 0 of those that it has not read.
      count: how many, at most.
      rng: draws them.

    Raises:
      ValueError: if the text has too few of them.
    """
    lengths = store.lengths
    found = np.flatnonzero((lengths >= _SHORTEST) & (lengths <= _LONGEST))
    found = found[np.asarray(vectors[found]).any(1)]
    if len(found) <= _NEAR:
        raise ValueError(
            f"the text has {len(found)} sentences of {_SHORTEST} to {_LONGEST} words; expected "
            f"more than {_NEAR}, to compare each with those near to it"
        )
    chosen = rng.choice(found, min(count, len(found)), replace=False)
    return chosen[np.lexsort((chosen, lengths[chosen]))]


def nearest_sentences(taught: Tensor, count: int) -> Tensor:
    """Return [S, count] int64: for each of S vectors [S, K] of length 1 the nearest others."""
    found = []
    for low in range(0, len(taught), 1024):
        cosines = taught[low : low + 1024] @ taught.t()
        rows = torch.arange(len(cosines))
        cosines[rows, rows + low] = -torch.inf
        found.append(cosines.topk(count, dim=1).indices)
    return torch.cat(found)


def learn_ranking(
    vectors: np.ndarray,
    offsets: np.ndarray,
    taught: Tensor,
    start: Tensor,
    *,
    steps: int = _STEPS,
    learning_rate: float = _RATE,
    seed: int = 0,
    kinds: np.ndarray | None = None,
    penalty: tuple[float, float] = (0.0, 0.0),
    report: Callable[[int, float], None] | None = None,
) -> Tensor:
    """Learn a pooling query.

    Args:
      vectors: [n, D] mixed token vectors of S sentences, one after the other.
      offsets: [S + 1] where each sentence starts.
      taught: [S, K] the teacher's vectors of the sentences, of length 1.
      start: [D] the query to go on from.
      steps: batches of sentences.
      learning_rate: of Adam at first; it falls along a cosine to a fiftieth.
      seed: of the sentences drawn.
      kinds: [n] int8 of the tokens, see forms.py; needed by a penalty.
      penalty: weights of attention's mass on punctuation and on stop words.
      report: told (step, loss) at every step.

    Returns:
      [D] float32, a little shorter than what was learned.
    """
    lengths = np.diff(offsets)
    padded = torch.zeros(len(lengths), int(lengths.max()), vectors.shape[1], dtype=torch.float16)
    real = torch.from_numpy(np.arange(padded.shape[1]) < lengths[:, None])
    padded[real] = torch.from_numpy(vectors).half()
    kind = torch.full(real.shape, -1, dtype=torch.int8)
    if kinds is not None:
        kind[real] = torch.from_numpy(kinds)
    near = nearest_sentences(taught, min(_NEAR, len(lengths) - 1))
    query = start.clone().requires_grad_()
    optimizer = torch.optim.Adam([query], lr=learning_rate)
    rng = np.random.default_rng(seed)

    def pool(rows: Tensor) -> tuple[Tensor, Tensor]:
        """Return the pooled sentences, and what their attention costs."""
        tokens = padded[rows].float()
        scores = tokens @ query / tokens.shape[2] ** 0.5
        weights = torch.softmax(scores.masked_fill(~real[rows], -torch.inf), dim=1)
        pooled = F.normalize((weights[:, :, None] * tokens).sum(1), dim=1)
        if kinds is None:
            return pooled, tokens.new_zeros(())
        on_punctuation, on_stop_words = masses(weights, kind[rows])
        return pooled, penalty[0] * on_punctuation + penalty[1] * on_stop_words

    for step in range(steps):
        rows = torch.from_numpy(rng.choice(len(lengths), min(_BATCH, len(lengths)), replace=False))
        ranks = torch.from_numpy(rng.integers(0, near.shape[1], (len(rows), _COMPARED)))
        others = near[rows].gather(1, ranks)
        own = torch.arange(len(rows)).repeat_interleave(_COMPARED)
        (pooled, cost), (near_ones, their_cost) = pool(rows), pool(others.ravel())
        mine = (pooled[own] * near_ones).sum(1)
        wanted = (taught[rows][own] * taught[others.ravel()]).sum(1)
        loss = 1 - within_group_correlation(mine, wanted, own, len(rows)) + cost + their_cost
        fall = 0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * step / steps))
        optimizer.param_groups[0]["lr"] = learning_rate * fall
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if report is not None:
            report(step + 1, float(loss.detach()))
    return _SOFTER * query.detach()


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
