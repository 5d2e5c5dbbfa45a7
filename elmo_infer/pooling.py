"""Pooling: from the token vectors of sentences to one vector per sentence.

Sentences lie one after the other in [n, D], with B lengths; there is no padding to mask. A
sentence without tokens gets the zero vector. Sums and softmax are taken in float32 at least.

Lengths are NumPy, on the host, so that nothing here waits for a device.
"""

import math

import numpy as np
import torch
from torch import Tensor

from elmo_infer.batching import Indices
from elmo_infer.transfers import to_device


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


def mean_pool(token_vectors: Tensor, lengths: Indices) -> tuple[Tensor, Tensor]:
    """Pool by the plain mean: every token of a sentence of T tokens has the weight 1 / T.

    Args:
      token_vectors: [n, D].
      lengths: [B], tokens of each sentence; they sum to n.

    Returns:
      Sentence vectors [B, D] and the tokens' weights [n].

    Raises:
      ValueError: if the shapes do not agree.
    """
    sentences = _Sentences(token_vectors, lengths)
    values = token_vectors.to(_accumulator(token_vectors))
    shares = np.repeat(1.0 / np.maximum(lengths, 1), lengths)
    attention = to_device(shares, values.device).to(values.dtype)
    return sentences.reduce(values * attention[:, None], "sum", 0.0), attention


def max_pool(token_vectors: Tensor, lengths: Indices) -> tuple[Tensor, Tensor]:
    """Pool by the maximum of each dimension.

    Args, Raises: as for mean_pool.

    Returns:
      Sentence vectors [B, D], and for each token the share of dimensions it wins, [n]; of equal
      tokens the first wins.
    """
    sentences = _Sentences(token_vectors, lengths)
    values = token_vectors.to(_accumulator(token_vectors))
    peaks = sentences.reduce(values, "max", -math.inf)
    # A token's position counted down from n: of those that reach the peak the first is largest.
    countdown = torch.arange(len(values), 0, -1, dtype=torch.float64, device=values.device)
    reached = torch.where(values == peaks[sentences.of_token], countdown[:, None], 0.0)  # [n, D]
    winners = sentences.reduce(reached, "max", 0.0)
    wins = reached == torch.where(winners > 0, winners, -1.0)[sentences.of_token]
    return torch.where(peaks > -math.inf, peaks, 0.0), wins.to(values.dtype).mean(dim=1)


def attention_pool(
    token_vectors: Tensor, lengths: Indices, queries: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Pool by scaled dot-product attention (Vaswani et al. 2017, equation 1).

    a_i = softmax_i(q . v_i / sqrt(D)) over the sentence's tokens; its vector is sum_i a_i v_i.
    Keys and values are the token vectors as they are.

    Args:
      token_vectors: [n, D].
      lengths: [B], tokens of each sentence; they sum to n.
      queries: [D] for all sentences, [B, D] one for each, or None: a sentence's mean token vector.

    Returns:
      Sentence vectors [B, D] and attention [n], which sums to 1 in each sentence.

    Raises:
      ValueError: if the shapes do not agree.
    """
    sentences = _Sentences(token_vectors, lengths)
    values = token_vectors.to(_accumulator(token_vectors))
    if queries is None:
        queries = mean_pool(values, lengths)[0]
    if queries.shape not in (values.shape[1:], (len(lengths), values.shape[1])):
        raise ValueError(
            f"queries have shape {tuple(queries.shape)}; expected ({values.shape[1]},) or "
            f"({len(lengths)}, {values.shape[1]}), as the token vectors and lengths have it"
        )
    queries = queries.to(values.dtype)
    of_token = sentences.of_token
    scores = values @ queries if queries.dim() == 1 else (values * queries[of_token]).sum(dim=1)
    scores = scores / math.sqrt(values.shape[1])
    peaks = sentences.reduce(scores, "max", -math.inf)
    exponentials = (scores - peaks[of_token]).exp()
    attention = exponentials / sentences.reduce(exponentials, "sum", 0.0)[of_token]
    return sentences.reduce(values * attention[:, None], "sum", 0.0), attention


class _Sentences:
    """Which token belongs to which sentence."""

    def __init__(self, token_vectors: Tensor, lengths: Indices) -> None:
        total = int(lengths.sum())
        if token_vectors.dim() != 2 or lengths.ndim != 1 or total != len(token_vectors):
            raise ValueError(
                f"token_vectors have shape {tuple(token_vectors.shape)} and lengths sum to "
                f"{total}; expected [n, D] and lengths that sum to n"
            )
        device = token_vectors.device
        self.lengths = to_device(lengths, device)
        self.of_token = to_device(np.repeat(np.arange(len(lengths)), lengths), device)

    def reduce(self, values: Tensor, how: str, empty: float) -> Tensor:
        """Reduce each sentence's rows to one: [n, ...] -> [B, ...]; `empty` where there are none.

        The check that segment_reduce would make, and wait for, was made above.
        """
        return torch.segment_reduce(
            values, how, lengths=self.lengths, axis=0, initial=empty, unsafe=True
        )


def _accumulator(values: Tensor) -> torch.dtype:
    return torch.promote_types(values.dtype, torch.float32)
