"""The biLM of Peters et al. (2018), in the order of the paper, on packed sentences.

CharacterEncoder   spelled word types -> context-free vectors            [N, P]
ProjectedLstm      one layer, one direction, over packed slots           [slots, P]
Stack              one direction's layers
BiLm               both stacks; takes and returns their state

Axes: N word types, P width of one direction, B sentences, L layers. Slots are those of
elmo_infer.batching.Packing: no padding anywhere.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from elmo_infer.batching import Indices, Packing
from elmo_infer.characters import Speller, Spellings
from elmo_infer.config import BiLmConfig
from elmo_infer.linear import Linear, by_output, make_linear, padded_rows
from elmo_infer.transfers import to_device
from elmo_infer.weights import BiLmWeights, HighwayWeights, ReadLstm
from elmo_infer.workers import Workers

# The most word types, and rows of their unfolded characters, that are computed at once: what
# fits a core's cache, and what fills a device.
CPU_BLOCK = (256, 8192)
DEVICE_BLOCK = (4096, 131_072)
# Windows that a core convolves at once; more take memory and are no faster.
CPU_WINDOWS = 1024


@dataclass(frozen=True, kw_only=True)
class Placement:
    """Where a model computes, and in what.

    Attributes:
      device: where the tensors live.
      dtype: of matrix products.
    """

    device: torch.device
    dtype: torch.dtype

    @property
    def state_dtype(self) -> torch.dtype:
        """The dtype of everything that is not inside a matrix product; float32 at least."""
        return torch.promote_types(self.dtype, torch.float32)

    def tensor(self, array: np.ndarray) -> Tensor:
        """Put an array of numbers where it is needed."""
        return torch.tensor(array, dtype=self.state_dtype, device=self.device)

    def indices(self, array: Indices) -> Tensor:
        """Put indices where they are needed."""
        return to_device(array, self.device)

    def linear(self, weight: Tensor, bias: np.ndarray | None) -> Linear:
        """Prepare x -> x @ weight.T + bias; weight [out, in]."""
        return make_linear(weight, bias, self.dtype, self.device)


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


@dataclass(frozen=True)
class LstmState:
    """The state of every layer and direction, row b for sentence b.

    Attributes:
      h: [n_lstm_layers, 2, B, P] projected, clipped outputs, before the residual.
      c: [n_lstm_layers, 2, B, cell_dim] clipped cells.
    """

    h: Tensor
    c: Tensor


@dataclass(frozen=True)
class DirectionRun:
    """What one direction leaves behind.

    Attributes:
      layers: per layer [slots, P], the context-free one first.
      h, c: the state after each sentence's last token, [n_lstm_layers, B, width].
    """

    layers: list[Tensor]
    h: Tensor
    c: Tensor


class ProjectedLstm:
    """One LSTM layer of one direction, with cell clip, projection and projection clip.

    z = x W_x + h W_h + b                      (gates i, f, g, o)
    c = clip(sigmoid(f) * c + sigmoid(i) * tanh(g))
    h = clip((sigmoid(o) * tanh(c)) W_p)

    Since tanh(x) = 2 sigmoid(2x) - 1, one sigmoid over z serves all four gates once the columns
    of g are doubled; and cells are kept doubled, for the same use of theirs. x and h stand side by
    side in memory, so that a step takes one product with [W_x; W_h].
    """

    def __init__(self, config: BiLmConfig, read: ReadLstm, placement: Placement) -> None:
        doubled = double_candidates(config)
        self.config = config
        weights = read()
        projection, bias = weights.projection, weights.bias * doubled
        matrix = by_output([[weights.input], [weights.recurrent]])  # [4 cell_dim, 2P]
        del weights  # before there is yet another copy, prepared for the product
        matrix.mul_(torch.from_numpy(doubled)[:, None])
        self.gates = placement.linear(matrix, bias)
        del matrix
        self.projection = None
        if projection is not None:
            self.projection = placement.linear(by_output([[projection]]).mul_(2.0), None)

    def run(self, inputs: Tensor, packing: Packing, c: Tensor, outputs: Tensor) -> None:
        """Read packed sentences.

        Args:
          inputs: [>= slots, 2P], rows of [x, h]: x at every slot, h at those of the first step; the
            other h are filled in. The rows beyond the slots may be read, to no effect.
          packing: where each time step lies.
          c: [B, cell_dim], the cells before the first step; overwritten with those after each
            sentence's last step.
          outputs: [>= slots, P], gets h after each step, before any residual.
        """
        width = outputs.shape[1]
        exposed = c.new_zeros((padded_rows(len(c)), c.shape[1]))
        c.mul_(2.0)
        clip = self.config.projection_clip
        starts, steps = packing.starts.tolist(), packing.rows.tolist()
        n = 0
        for step, running in enumerate(steps):
            if running != n:
                n, surplus = running, padded_rows(running)
                cells, shown, shown_surplus = c[:n], exposed[:n], exposed[:surplus]
            slot = starts[step]
            gates = self.gates(inputs[slot : slot + surplus])
            advance_cells(gates[:n], cells, shown, self.config.cell_clip)
            h = outputs[slot : slot + n]
            if self.projection is None:
                torch.mul(shown, 2.0, out=h)
            elif clip is None:
                h.copy_(self.projection(shown_surplus)[:n])
            else:
                torch.clamp(self.projection(shown_surplus)[:n], -clip, clip, out=h)
            if step + 1 < len(steps):
                following = steps[step + 1]
                inputs[slot + n : slot + n + following, width:] = h[:following]
        c.mul_(0.5)


def double_candidates(config: BiLmConfig) -> npt.NDArray[np.float32]:
    """Return the factors [4 * cell_dim] that double the pre-activations of the candidates g."""
    factors = np.ones(4 * config.cell_dim, dtype=np.float32)
    factors[2 * config.cell_dim : 3 * config.cell_dim] = 2.0
    return factors


def advance_cells(gates: Tensor, c: Tensor, exposed: Tensor, clip: float | None) -> None:
    """Advance cells by one step, in place.

    Args:
      gates: [..., 4 * cell_dim] z, with g doubled; overwritten.
      c: [..., cell_dim] doubled cells; updated.
      exposed: [..., cell_dim], gets half of sigmoid(o) * tanh(c).
      clip: what cells are clipped to, not doubled.
    """
    i, f, g, o = gates.sigmoid_().chunk(4, dim=-1)
    # 2c' = f * 2c + 2i * (2g - 1)
    c.mul_(f).addcmul_(i, g, value=4.0).sub_(i, alpha=2.0)
    if clip is not None:
        c.clamp_(-2.0 * clip, 2.0 * clip)
    torch.sigmoid(c, out=exposed)
    exposed.sub_(0.5).mul_(o)


class Stack:
    """The layers of one direction; each reads the one below, never the other direction."""

    def __init__(
        self,
        config: BiLmConfig,
        layers: Sequence[ReadLstm],
        placement: Placement,
        direction: int,
    ) -> None:
        self.config = config
        self.placement = placement
        self.direction = direction
        self.layers = [ProjectedLstm(config, read, placement) for read in layers]

    def run(
        self,
        type_vectors: Tensor,
        type_ids: Indices,
        packing: Packing,
        state: LstmState,
        n_layers: int,
    ) -> list[DirectionRun]:
        """Read packed sentences; arguments as those of BiLm.forward. Returns one run."""
        order = packing.backward if self.direction else packing.forward
        inputs = type_vectors[self.placement.indices(type_ids[order])]
        slots, width = inputs.shape
        ends = self.placement.indices(packing.ends)
        h, c = state.h[:, self.direction].clone(), state.c[:, self.direction].clone()
        outputs = [inputs]
        both = inputs.new_zeros((slots + padded_rows(len(ends)), 2 * width))
        for layer, lstm in enumerate(self.layers[: n_layers - 1]):
            both[:slots, :width] = inputs
            both[: len(ends), width:] = h[layer]
            hidden = torch.empty_like(inputs)
            lstm.run(both, packing, c[layer], hidden)
            h[layer] = hidden[ends]
            if layer > 0 and self.config.use_skip_connections:
                hidden.add_(inputs)
            inputs = hidden
            outputs.append(hidden)
        return [DirectionRun(outputs, h, c)]


class StackLike(Protocol):
    """One direction, or both side by side."""

    def run(
        self,
        type_vectors: Tensor,
        type_ids: Indices,
        packing: Packing,
        state: LstmState,
        n_layers: int,
    ) -> list[DirectionRun]:
        """Read packed sentences."""
        ...


class BiLm:
    """The forward and the backward stack over the character encoder.

    Args:
      stacks: what reads the sentences, forward first; made from `weights` if not given.
    """

    def __init__(
        self,
        config: BiLmConfig,
        weights: BiLmWeights,
        speller: Speller,
        placement: Placement,
        stacks: Sequence[StackLike] | None = None,
    ) -> None:
        self.config = config
        self.speller = speller
        self.placement = placement
        # Work for a device is queued by one thread: others would queue it on other streams.
        self.workers = Workers() if placement.device.type == "cpu" else Workers(at_most=1)
        self.encoder = CharacterEncoder(config, weights, placement)
        if stacks is None:
            stacks = [
                Stack(config, layers, placement, direction)
                for direction, layers in enumerate(weights.lstm)
            ]
        self.stacks = stacks

    def zero_state(self, n_sentences: int) -> LstmState:
        """Return the state of zeros for B sentences."""
        config, placement = self.config, self.placement
        shape = (config.n_lstm_layers, 2, n_sentences)
        return LstmState(
            h=placement.tensor(np.zeros((*shape, config.projection_dim), dtype=np.float32)),
            c=placement.tensor(np.zeros((*shape, config.cell_dim), dtype=np.float32)),
        )

    @property
    def batches_at_once(self) -> int:
        """How many batches keep all workers busy."""
        return max(1, self.workers.count // 2) if len(self.stacks) == 2 else 1

    def encode_types(self, types: Sequence[str]) -> Tensor:
        """Return the context-free vectors of word types, [N, P]."""
        return self.encoder.encode(self.speller.spell(types), self.speller.padding, self.workers)

    def tasks(
        self,
        type_vectors: Tensor,
        type_ids: Indices,
        packing: Packing,
        state: LstmState,
        n_layers: int,
    ) -> list[Callable[[], list[DirectionRun]]]:
        """Return `forward`'s work as independent tasks whose results, in order, are both runs."""
        return [
            partial(stack.run, type_vectors, type_ids, packing, state, n_layers)
            for stack in self.stacks
        ]

    def forward(
        self,
        type_vectors: Tensor,
        type_ids: Indices,
        packing: Packing,
        state: LstmState,
        n_layers: int,
    ) -> tuple[list[tuple[Tensor, Tensor]], LstmState]:
        """Read sentences in both directions.

        Args:
          type_vectors: [N, P], one row per word type.
          type_ids: [slots], the type of each token, sentence by sentence.
          packing: how these sentences lie in slots.
          state: what each stack starts from; left as it is.
          n_layers: how many layers to compute, the context-free one included.

        Returns:
          Per layer the forward and the backward outputs, each [slots, P] in the slots of its own
          direction; and the state after the last token.
        """
        results = self.workers.run(self.tasks(type_vectors, type_ids, packing, state, n_layers))
        forward, backward = (run for result in results for run in result)
        after = LstmState(
            h=torch.stack([forward.h, backward.h], dim=1),
            c=torch.stack([forward.c, backward.c], dim=1),
        )
        return list(zip(forward.layers, backward.layers, strict=True)), after
