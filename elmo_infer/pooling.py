"""From the token vectors of sentences to one vector per sentence; nothing is changed in place.

Sentences lie one after the other in [n, D], with B lengths; there is no padding to mask. A
sentence without tokens gets the zero vector. Sums and softmax are taken in float32 at least.
"""

import math

import torch
from torch import Tensor


def mix_layers(layers: list[Tensor], coefficients: tuple[float, ...]) -> Tensor:
    """Return sum_l coefficients[l] * layers[l] (Peters et al. 2018, equation 1, gamma and softmax
    already in the coefficients), in float32 at least; layers of coefficient 0 are not touched."""
    wanted = [(layers[index], weight) for index, weight in enumerate(coefficients) if weight]
    if not wanted:
        return torch.zeros_like(layers[0], dtype=_accumulator(layers[0]))
    mixed = wanted[0][0].to(_accumulator(layers[0])) * wanted[0][1]
    for layer, weight in wanted[1:]:
        mixed.add_(layer, alpha=weight)
    return mixed


def mean_pool(token_vectors: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
    """Pool by the plain mean: every token of a sentence of T tokens has the weight 1 / T.

    Args:
      token_vectors: [n, D].
      lengths: [B] int64, tokens of each sentence; they sum to n.

    Returns:
      Sentence vectors [B, D] and the tokens' weights [n].
    """
    _check(token_vectors, lengths)
    share = 1.0 / lengths.clamp(min=1).to(_accumulator(token_vectors))
    attention = share.repeat_interleave(lengths)
    return _segment_sum(token_vectors, attention, lengths), attention


def max_pool(token_vectors: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
    """Pool by the maximum of each dimension.

    Returns:
      Sentence vectors [B, D], and for each token the share of dimensions it wins, [n]; of equal
      tokens the first wins.
    """
    _check(token_vectors, lengths)
    values = token_vectors.to(_accumulator(token_vectors))
    peaks = torch.segment_reduce(values, "max", lengths=lengths, axis=0, initial=-math.inf)
    peaks = torch.where(lengths[:, None] > 0, peaks, 0.0)
    of_token = torch.repeat_interleave(lengths)
    # A token's position counted down from n: of those that reach the peak the first is largest.
    countdown = torch.arange(len(values), 0, -1, dtype=torch.float64, device=values.device)
    reached = torch.where(values == peaks[of_token], countdown[:, None], 0.0)  # [n, D]
    winners = torch.segment_reduce(reached, "max", lengths=lengths, axis=0, initial=0)
    wins = (reached == winners[of_token]) & (reached > 0)
    return peaks, wins.to(values.dtype).mean(dim=1)


def attention_pool(
    token_vectors: Tensor, lengths: Tensor, queries: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Pool by scaled dot-product attention (Vaswani et al. 2017, equation 1).

    a_i = softmax_i(q . v_i / sqrt(D)) over the sentence's tokens; its vector is sum_i a_i v_i.
    Keys and values are the token vectors as they are.

    Args:
      token_vectors: [n, D].
      lengths: [B] int64, tokens of each sentence; they sum to n.
      queries: [D] for all sentences, [B, D] one for each, or None: a sentence's mean token vector.

    Returns:
      Sentence vectors [B, D] and attention [n], which sums to 1 in each sentence.

    Raises:
      ValueError: if the shapes do not agree.
    """
    _check(token_vectors, lengths)
    values = token_vectors.to(_accumulator(token_vectors))
    if queries is None:
        queries = mean_pool(values, lengths)[0]
    if queries.shape not in (values.shape[1:], (len(lengths), values.shape[1])):
        raise ValueError(
            f"queries have shape {tuple(queries.shape)}; expected ({values.shape[1]},) or "
            f"({len(lengths)}, {values.shape[1]}), as the token vectors and lengths have it"
        )
    of_token = torch.repeat_interleave(lengths)
    queries = queries.to(values.dtype)
    scores = values @ queries if queries.dim() == 1 else (values * queries[of_token]).sum(dim=1)
    scores = scores / math.sqrt(values.shape[1])
    peaks = torch.segment_reduce(scores, "max", lengths=lengths, initial=-math.inf)
    exponentials = (scores - peaks[of_token]).exp()
    totals = torch.segment_reduce(exponentials, "sum", lengths=lengths, initial=0)
    attention = exponentials / totals[of_token]
    return _segment_sum(values, attention, lengths), attention


def _segment_sum(token_vectors: Tensor, weights: Tensor, lengths: Tensor) -> Tensor:
    """Return each sentence's weighted sum of its tokens, [B, D]."""
    weighted = token_vectors * weights[:, None]
    return torch.segment_reduce(weighted, "sum", lengths=lengths, axis=0, initial=0)


def _accumulator(values: Tensor) -> torch.dtype:
    return torch.promote_types(values.dtype, torch.float32)


def _check(token_vectors: Tensor, lengths: Tensor) -> None:
    if token_vectors.dim() != 2 or lengths.dim() != 1 or int(lengths.sum()) != len(token_vectors):
        raise ValueError(
            f"token_vectors have shape {tuple(token_vectors.shape)} and lengths sum to "
            f"{int(lengths.sum())}; expected [n, D] and lengths that sum to n"
        )
