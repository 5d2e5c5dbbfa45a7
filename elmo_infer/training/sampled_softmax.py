"""Sampled softmax: the likelihood of the right word against a sample of the vocabulary.

Jean et al. 2015, section 3, with the log-uniform (Zipfian) proposal that TensorFlow made
usual: word ids are sorted by falling frequency and P(k) = (log(k + 2) - log(k + 1)) / log(V + 1).
All tokens of a batch share one sample; a logit is corrected by the log of its expected count.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Candidates:
    """The rows of the softmax table that one batch needs.

    Attributes:
      rows: [R] int64 distinct word ids, sorted; samples and targets of both directions.
      sampled: [S] int64 places in rows of the sampled words.
      column: [R] int64 place among the sampled words, -1 for a row that was not sampled.
      log_expected: [R] float32 log of the expected count of each row in the sample.
    """

    rows: Tensor
    sampled: Tensor
    column: Tensor
    log_expected: Tensor


def log_uniform_sample(vocabulary: int, draws: int, rng: np.random.Generator) -> np.ndarray:
    """Draw word ids log-uniformly and return the distinct ones, sorted, as [S] int64."""
    uniform = rng.random(draws)
    ids = np.floor(np.exp(uniform * np.log(vocabulary + 1.0))).astype(np.int64) - 1
    return np.unique(np.clip(ids, 0, vocabulary - 1))


def log_expected_count(ids: np.ndarray, vocabulary: int, draws: int) -> np.ndarray:
    """Return [N] float32: log(1 - (1 - P(id))^draws), the chance that an id is in the sample."""
    probability = np.log((ids + 2.0) / (ids + 1.0)) / np.log(vocabulary + 1.0)
    return np.log(-np.expm1(draws * np.log1p(-probability))).astype(np.float32)


def choose_candidates(
    targets: np.ndarray, vocabulary: int, draws: int, rng: np.random.Generator
) -> Candidates:
    """Sample words for one batch and gather them with its targets.

    Args:
      targets: int64 of any shape, the words to predict.
      vocabulary: V, number of words in the softmax.
      draws: how many ids to draw; fewer are distinct.
      rng: source of the sample.
    """
    sampled = log_uniform_sample(vocabulary, draws, rng)
    rows = np.union1d(sampled, targets.ravel())
    places = np.searchsorted(rows, sampled)
    column = np.full(len(rows), -1, dtype=np.int64)
    column[places] = np.arange(len(sampled))
    return Candidates(
        rows=torch.from_numpy(rows),
        sampled=torch.from_numpy(places),
        column=torch.from_numpy(column),
        log_expected=torch.from_numpy(log_expected_count(rows, vocabulary, draws)),
    )


def sampled_softmax_loss(
    hidden: Tensor,
    table: Tensor,
    targets: Tensor,
    candidates: Candidates,
    compute_dtype: torch.dtype = torch.float32,
) -> Tensor:
    """Return the summed negative log likelihood of the targets, a float32 scalar.

    Args:
      hidden: [M, P] float32 outputs of the language model.
      table: [R, P + 1] float32 rows of the candidates; the last column is the bias.
      targets: [M] int64 places of the right words in the candidates' rows.
      candidates: of this batch.
      compute_dtype: of the matrix products.
    """
    loss: Tensor = _SampledSoftmax.apply(hidden, table, targets, candidates, compute_dtype)
    return loss


class _SampledSoftmax(torch.autograd.Function):
    """Loss and gradient on one [M, S] array, where autograd would keep three."""

    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        table: Tensor,
        targets: Tensor,
        candidates: Candidates,
        dtype: torch.dtype,
    ) -> Tensor:
        weights, bias = table[:, :-1], table[:, -1] - candidates.log_expected
        h = hidden.to(dtype)
        sampled = weights[candidates.sampled].to(dtype)
        scores = torch.mm(h, sampled.t()).float()
        scores += bias[candidates.sampled]
        # The right word counts once: where the sample holds it too, that copy is struck out.
        column = candidates.column[targets][:, None]  # [M, 1]
        place = column.clamp_min(0)
        scores.scatter_(1, place, scores.gather(1, place).masked_fill_(column >= 0, -torch.inf))
        right_rows = weights[targets]
        right = (hidden * right_rows).sum(1) + bias[targets]
        top = torch.maximum(scores.amax(1), right)
        scores.sub_(top[:, None]).exp_()
        total = scores.sum(1) + (right - top).exp()
        log_total = total.log() + top
        ctx.save_for_backward(h, sampled, right_rows, targets, hidden)
        ctx.scores, ctx.candidates, ctx.rows = scores, candidates, len(table)
        ctx.inverse_total = total.reciprocal()
        ctx.right = (right - log_total).exp()
        return (log_total - right).sum()

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        (grad,) = grads
        h, sampled, right_rows, targets, hidden = ctx.saved_tensors
        d_scores = ctx.scores.mul_((ctx.inverse_total * grad)[:, None])
        ctx.scores = None
        d_right = (ctx.right - 1.0) * grad
        low = d_scores.to(h.dtype)
        d_hidden = torch.mm(low, sampled).float().addcmul_(d_right[:, None], right_rows)
        d_table = hidden.new_zeros(ctx.rows, hidden.shape[1] + 1)
        d_sampled = torch.cat([torch.mm(low.t(), h).float(), d_scores.sum(0)[:, None]], dim=1)
        d_table[ctx.candidates.sampled] = d_sampled
        d_target = torch.cat([hidden * d_right[:, None], d_right[:, None]], dim=1)
        d_table.index_add_(0, targets, d_target)
        return d_hidden, d_table, None, None, None
