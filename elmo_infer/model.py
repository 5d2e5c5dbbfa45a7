"""The biLM of Peters et al. (2018), in the order of the paper, on packed sentences.

CharacterEncoder   spelled word types -> context-free vectors            [N, P]  (in its own module)
ProjectedLstm      one layer, one direction, over packed slots           [slots, P]
Stack              one direction's layers
BiLm               both stacks; takes and returns their state

Axes: N word types, P width of one direction, R lanes, L layers. Lanes and slots are those of
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
from elmo_infer.character_encoder import CharacterEncoder
from elmo_infer.characters import Speller
from elmo_infer.config import BiLmConfig
from elmo_infer.placement import Placement
from elmo_infer.quantized_linear import by_output, padded_rows
from elmo_infer.weights import BiLmWeights, ReadLstm
from elmo_infer.workers import Workers

# Lanes of a batch on a CPU: enough rows to read the weights of a large model seldom, few enough
# that hardly a step of a mixed batch has less. 96 to 128 are as fast.
LANES = 112


@dataclass(frozen=True)
class LstmState:
    """The state of every layer and direction, row r for lane r.

    Attributes:
      h: [n_lstm_layers, 2, R, P] projected, clipped outputs, before the residual.
      c: [n_lstm_layers, 2, R, cell_dim] clipped cells.
    """

    h: Tensor
    c: Tensor


@dataclass(frozen=True)
class DirectionRun:
    """What one direction leaves behind.

    Attributes:
      layers: per layer [slots, P], the context-free one first.
      h, c: the state after each lane's last token, [n_lstm_layers, R, width].
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
        self.indices = placement.indices
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
          c: [R, cell_dim], the cells before each sentence of a lane; overwritten with those after
            the lane's last step.
          outputs: [>= slots, P], gets h after each step, before any residual.
        """
        width = outputs.shape[1]
        exposed = c.new_zeros((padded_rows(len(c)), c.shape[1]))
        c.mul_(2.0)
        clip = self.config.projection_clip
        starts, steps = packing.starts.tolist(), packing.rows.tolist()
        restarts = [self.indices(lanes) for lanes in packing.restarts]
        first_h, first_c = inputs[: len(c), width:].clone(), c.clone()
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
                following, lanes = steps[step + 1], restarts[step + 1]
                recurrent = inputs[slot + n : slot + n + following, width:]
                recurrent.copy_(h[:following])
                if len(lanes):
                    recurrent.index_copy_(0, lanes, first_h.index_select(0, lanes))
                    c.index_copy_(0, lanes, first_c.index_select(0, lanes))
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

    Attributes:
      n_lanes: most lanes of a batch; None for one a sentence, as the graphs of a GPU need it.
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
        self.n_lanes = LANES if stacks is None and placement.device.type == "cpu" else None
        self.encoder = CharacterEncoder(config, weights, placement)
        if stacks is None:
            stacks = [
                Stack(config, layers, placement, direction)
                for direction, layers in enumerate(weights.lstm)
            ]
        self.stacks = stacks

    def zero_state(self, n_lanes: int) -> LstmState:
        """Return the state of zeros for R lanes."""
        config, placement = self.config, self.placement
        shape = (config.n_lstm_layers, 2, n_lanes)
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
          state: what each sentence of a lane starts from; left as it is.
          n_layers: how many layers to compute, the context-free one included.

        Returns:
          Per layer the forward and the backward outputs, each [slots, P] in the slots of its own
          direction; and the state after the last token of each lane.
        """
        results = self.workers.run(self.tasks(type_vectors, type_ids, packing, state, n_layers))
        forward, backward = (run for result in results for run in result)
        after = LstmState(
            h=torch.stack([forward.h, backward.h], dim=1),
            c=torch.stack([forward.c, backward.c], dim=1),
        )
        return list(zip(forward.layers, backward.layers, strict=True)), after
