"""The token layer: spelled word types to context-free vectors, each type once.

Axes: N word types, E width of a character, F filters in all, P width of a vector.
"""

from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from torch import Tensor

from elmo_infer.batching import Indices
from elmo_infer.characters import Spellings
from elmo_infer.config import BiLmConfig
from elmo_infer.placement import Placement
from elmo_infer.quantized_linear import by_output, padded_rows
from elmo_infer.weights import BiLmWeights, HighwayWeights
from elmo_infer.workers import Workers

# The most word types, and rows of their unfolded characters, that are computed at once: what
# fits a core's cache, and what fills a device.
CPU_BLOCK = (256, 8192)
DEVICE_BLOCK = (4096, 131_072)
# Windows that a core convolves at once; more take memory and are no faster.
CPU_WINDOWS = 1024


class CharacterEncoder:
    """Character embeddings -> convolutions -> max over positions -> highways -> projection."""

    def __init__(self, config: BiLmConfig, weights: BiLmWeights, placement: Placement) -> None:
        self.config = config
        self.placement = placement
        self.characters = placement.tensor(weights.characters)
        self.words = None if weights.words is None else placement.tensor(weights.words)
        self.convolutions = [
            (placement.tensor(kernel.reshape(-1, kernel.shape[-1])), placement.tensor(bias))
            for kernel, bias in weights.convolutions
        ]  # [width * E, count], [count]
        self.highways = [_Highway(read, placement) for read in weights.highways]
        self.projection = None
        if weights.projection is not None:
            matrix, bias = weights.projection
            self.projection = placement.linear(by_output([[matrix]]), bias)

    def encode(self, spellings: Spellings, padding: int, workers: Workers) -> Tensor:
        """Return the context-free vectors of N spelled types, [N, P].

        A window that lies wholly in the padding gives the same value wherever it lies, so only
        the first such window is computed: the maximum is the same.
        """
        order = np.argsort(spellings.lengths, kind="stable")
        limits = CPU_BLOCK if self.placement.device.type == "cpu" else DEVICE_BLOCK
        blocks = plan_blocks(spellings.lengths[order], *limits)
        tasks = [
            partial(self._encode_block, spellings, order[first:last], padding)
            for first, last in blocks
        ]
        encoded = self.characters.new_empty((len(order), self.config.projection_dim))
        for (first, last), vectors in zip(blocks, workers.run(tasks), strict=True):
            encoded[self.placement.indices(order[first:last])] = vectors[: last - first]
        return encoded

    def _encode_block(self, spellings: Spellings, rows: Indices, padding: int) -> Tensor:
        """Encode types of about the same length; returns surplus rows too, of no meaning."""
        config = self.config
        longest = int(spellings.lengths[rows].max())
        widest = max(width for width, _ in config.filters)
        n_positions = min(longest + widest, config.max_characters)
        ids = np.full((padded_rows(len(rows)), n_positions), padding, dtype=np.int64)
        known = min(n_positions, spellings.character_ids.shape[1])
        ids[: len(rows), :known] = spellings.character_ids[rows, :known]
        vectors = self.characters[self.placement.indices(ids)]  # [n, positions, E]
        features = vectors.new_empty((len(ids), config.n_filters))
        max_rows = CPU_WINDOWS if self.placement.device.type == "cpu" else None
        first = 0
        for (width, count), (kernel, bias) in zip(config.filters, self.convolutions, strict=True):
            n_windows = min(longest + 1, n_positions - width + 1)
            peaks = convolve_and_pool(vectors, n_windows, kernel, max_rows)
            torch.add(peaks, bias, out=features[:, first : first + count])
            first += count
        # Rising activations commute with the maximum.
        features = features.relu_() if config.activation == "relu" else features.tanh_()
        for highway in self.highways:
            features = highway(features)
        if self.words is not None:
            assert spellings.word_ids is not None
            word_ids = np.zeros(len(ids), dtype=np.int64)
            word_ids[: len(rows)] = spellings.word_ids[rows]
            features = torch.cat([self.words[self.placement.indices(word_ids)], features], dim=1)
        return features if self.projection is None else self.projection(features)


def plan_blocks(lengths: Indices, max_types: int, max_windows: int) -> list[tuple[int, int]]:
    """Divide types of rising length into (first, last) blocks that are bounded in size.

    Args:
      lengths: [N] characters, rising.
      max_types: bound of the types in a block.
      max_windows: bound of types x windows, unless a block is one type.
    """
    blocks = []
    first = 0
    while first < len(lengths):
        last = min(first + max_types, len(lengths))
        while last > first + 1 and (last - first) * int(lengths[last - 1] + 1) > max_windows:
            last = first + (last - first) // 2
        blocks.append((first, last))
        first = last
    return blocks


def convolve_and_pool(
    vectors: Tensor, n_windows: int, kernel: Tensor, max_rows: int | None = None
) -> Tensor:
    """Convolve and take the maximum over windows.

    Args:
      vectors: [n, positions, E], contiguous.
      n_windows: how many windows to look at, from the first.
      kernel: [width * E, count].
      max_rows: bound of the windows unfolded at once, unless one type has more; None for all.

    Returns:
      [n, count].
    """
    n, positions, size = vectors.shape
    windows = vectors.as_strided((n, n_windows, kernel.shape[0]), (positions * size, size, 1))
    peaks = vectors.new_empty((n, kernel.shape[1]))
    at_once = n if max_rows is None else max(1, max_rows // n_windows)
    for first in range(0, n, at_once):
        some = windows[first : first + at_once].reshape(-1, kernel.shape[0])
        torch.amax(
            (some @ kernel).view(-1, n_windows, kernel.shape[1]),
            dim=1,
            out=peaks[first : first + at_once],
        )
    return peaks


class _Highway:
    """y = x + g * (relu(x W_t + b_t) - x), g = sigmoid(x W_g + b_g) (Srivastava et al., 2015)."""

    def __init__(self, read: Callable[[], HighwayWeights], placement: Placement) -> None:
        weights = read()
        matrix = by_output([[weights.transform, weights.gate]])  # [2F, F]
        bias = np.concatenate([weights.transform_bias, weights.gate_bias])
        del weights  # before there is yet another copy, prepared for the product
        self.both = placement.linear(matrix, bias)

    def __call__(self, features: Tensor) -> Tensor:
        transformed, gate = self.both(features).chunk(2, dim=1)
        return features.addcmul_(transformed.relu_().sub_(features), gate.sigmoid_())
