"""The character convolutions with their backward pass written by hand.

A filter's maximum over the windows of a word passes its gradient to one window only. Autograd
would convolve with gradients that are nearly all zero. Here the winning windows are remembered,
and since a window is a row of character embeddings, one after the other,

    peak[u, f] = sum_t embedding[c[u, place[u, f] + t]] . kernel[t, :, f]

its gradient is first summed per character, [characters, filters] for each offset t of the filter:
an addition a weight, and two small products with what all words share make the rest.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor


def convolve_to_peaks(
    embedding: Tensor,
    characters: Tensor,
    kernels: Sequence[Tensor],
    n_windows: Sequence[int],
    compute_dtype: torch.dtype = torch.float32,
) -> Tensor:
    """Convolve words and take each filter's maximum over the windows.

    Where windows tie, the first has the gradient. Sums over words are taken in float32 (float64
    for float64 embeddings); on CUDA in no fixed order.

    Args:
      embedding: [V, E] float32 character embeddings.
      characters: [U, W] int64 rows of the embedding.
      kernels: per filter width w, [1, w, E, n] float32.
      n_windows: per filter width, how many windows to look at, from the first; at most W - w + 1.
      compute_dtype: of the matrix products.

    Returns:
      [U, F] maxima in the dtype of the embedding, the widths one after the other.
    """
    peaks: Tensor = _Peaks.apply(embedding, characters, tuple(n_windows), compute_dtype, *kernels)
    return peaks


class _Peaks(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        embedding: Tensor,
        characters: Tensor,
        n_windows: tuple[int, ...],
        dtype: torch.dtype,
        *kernels: Tensor,
    ) -> Tensor:
        words, width = characters.shape
        size = embedding.shape[1]
        vectors = embedding.to(dtype)[characters]  # [U, W, E]
        peaks, winners = [], []
        for kernel, count in zip(kernels, n_windows, strict=True):
            span = kernel.shape[1] * size
            windows = vectors.as_strided((words, count, span), (width * size, size, 1))
            scores = windows.reshape(words * count, span) @ kernel.reshape(span, -1).to(dtype)
            scores = scores.view(words, count, kernel.shape[3])
            best = scores.amax(dim=1, keepdim=True)
            peaks.append(best[:, 0].to(embedding.dtype))
            winners.append(_first_equal(scores, best))
        ctx.save_for_backward(embedding, characters, *kernels, *winners)
        return torch.cat(peaks, dim=1)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        (grad,) = grads
        embedding, characters, *rest = ctx.saved_tensors
        kernels, winners = rest[: len(rest) // 2], rest[len(rest) // 2 :]
        d_embedding = torch.zeros_like(embedding)
        d_kernels = []
        # A CPU's caches hold one offset of a filter; a device would wait for each to be launched.
        back = gradients_by_offset if embedding.device.type == "cpu" else gradients_at_once
        parts = grad.split([kernel.shape[3] for kernel in kernels], dim=1)
        for kernel, winner, d_peaks in zip(kernels, winners, parts, strict=True):
            d_kernel, more = back(embedding, characters, kernel[0], winner.long(), d_peaks)
            d_kernels.append(d_kernel[None])
            d_embedding += more
        return d_embedding, None, None, None, *d_kernels


def gradients_by_offset(
    embedding: Tensor, characters: Tensor, kernel: Tensor, winners: Tensor, d_peaks: Tensor
) -> tuple[Tensor, Tensor]:
    """Return the gradients of a kernel [w, E, n] and, through it, of the embedding [V, E].

    Args:
      embedding: [V, E].
      characters: [U, W] int64.
      kernel: [w, E, n].
      winners: [U, n] int64, the window of each maximum.
      d_peaks: [U, n], the gradient of the maxima.
    """
    d_kernel, d_embedding = torch.empty_like(kernel), torch.zeros_like(embedding)
    d_peaks = d_peaks.contiguous()
    for offset in range(len(kernel)):
        by_character = d_peaks.new_zeros(len(embedding), kernel.shape[2])
        by_character.scatter_add_(0, characters.gather(1, winners + offset), d_peaks)
        torch.mm(embedding.t(), by_character, out=d_kernel[offset])
        d_embedding.addmm_(by_character, kernel[offset].t())
    return d_kernel, d_embedding


def gradients_at_once(
    embedding: Tensor, characters: Tensor, kernel: Tensor, winners: Tensor, d_peaks: Tensor
) -> tuple[Tensor, Tensor]:
    """Return what `gradients_by_offset` does, in a few operations on w times as much memory."""
    span, _, count = kernel.shape
    offsets = torch.arange(span, device=winners.device)[:, None, None]
    places = characters.expand(span, -1, -1).gather(2, winners + offsets)  # [w, U, n]
    by_character = d_peaks.new_zeros(span, len(embedding), count)
    by_character.scatter_add_(1, places, d_peaks.expand(span, -1, -1))
    return embedding.t() @ by_character, torch.bmm(by_character, kernel.transpose(1, 2)).sum(0)


def _first_equal(scores: Tensor, best: Tensor) -> Tensor:
    """Return [U, n]: the first window of [U, windows, n] whose score is the best, [U, 1, n].

    A maximum over small integers is several times faster than one that returns its index.
    """
    count = scores.shape[1]
    equal = scores.eq(best)
    # As bytes where they suffice: nothing is copied, and four times as many fit a register.
    marks = equal.view(torch.int8) if count <= torch.iinfo(torch.int8).max else equal.int()
    from_end = torch.arange(count, 0, -1, dtype=marks.dtype, device=scores.device)[:, None]
    # No score equals NaN; the last window is as good as any then, and stays in range.
    found = (marks * from_end).amax(dim=1).clamp_(min=1)
    return count - found
