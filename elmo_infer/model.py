"""The biLM of Peters et al. (2018), in the order of the paper, on packed sentences.

CharacterEncoder   spelled word types -> context-free vectors            [N, P]
ProjectedLstm      one layer, one direction, over packed slots           [slots, P]
BiLm               the two stacks; takes and returns their state

Axes: N word types, P width of one direction, B sentences, L layers. Slots are those of
elmo_infer.batching.Packing: no padding anywhere.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from elmo_infer.batching import Packing
from elmo_infer.characters import Speller, Spellings
from elmo_infer.config import BiLmConfig
from elmo_infer.weights import Array, BiLmWeights, HighwayWeights, LstmWeights

# Rows of a convolution's unfolded input computed at once.
WINDOWS_PER_BLOCK = 4096
# Rows of pre-activations held at once, over several time steps: 4 * cell_dim numbers each.
SLOTS_PER_BLOCK = 512


class CharacterEncoder:
    """Character embeddings -> convolutions -> max over positions -> highways -> projection."""

    def __init__(
        self, config: BiLmConfig, weights: BiLmWeights, device: torch.device, dtype: torch.dtype
    ) -> None:
        def place(array: Array) -> Tensor:
            return torch.tensor(array, dtype=dtype, device=device)

        self.config = config
        self.device = device
        self.characters = place(weights.characters)
        self.words = None if weights.words is None else place(weights.words)
        self.convolutions = [
            (place(kernel.reshape(-1, kernel.shape[-1])), place(bias))  # [width * E, count]
            for kernel, bias in weights.convolutions
        ]
        self.highways = [_Highway(highway, place) for highway in weights.highways]
        self.projection = None
        if weights.projection is not None:
            self.projection = tuple(place(array) for array in weights.projection)

    def encode(self, spellings: Spellings, padding: int) -> Tensor:
        """Return the context-free vectors of N spelled types, [N, P].

        A window that lies wholly in the padding gives the same value wherever it lies, so only
        the first such window is computed: the maximum is the same to the bit.
        """
        order = np.argsort(spellings.lengths, kind="stable")
        encoded = torch.empty(
            (len(order), self.config.projection_dim),
            dtype=self.characters.dtype,
            device=self.device,
        )
        first = 0
        while first < len(order):
            last = self._block_end(spellings.lengths[order], first)
            rows = order[first:last]
            encoded[torch.from_numpy(rows).to(self.device)] = self._encode_block(
                spellings, rows, padding
            )
            first = last
        return encoded

    def _block_end(self, lengths: np.ndarray, first: int) -> int:
        """Return how far a block of types of rising length may go."""
        last = min(len(lengths), first + WINDOWS_PER_BLOCK // int(lengths[first] + 1))
        while last > first + 1 and (last - first) * int(lengths[last - 1] + 1) > WINDOWS_PER_BLOCK:
            last = first + (last - first) * 3 // 4
        return max(last, first + 1)

    def _encode_block(self, spellings: Spellings, rows: np.ndarray, padding: int) -> Tensor:
        """Encode types of about the same length."""
        config = self.config
        longest = int(spellings.lengths[rows].max())
        widest = max(width for width, _ in config.filters)
        n_positions = min(longest + widest, config.max_characters)
        ids = np.full((len(rows), n_positions), padding, dtype=np.int64)
        known = min(n_positions, spellings.character_ids.shape[1])
        ids[:, :known] = spellings.character_ids[rows, :known]
        vectors = self.characters[torch.from_numpy(ids).to(self.device)]  # [n, positions, E]
        features = torch.cat(
            [
                self._convolve(vectors, width, min(longest + 1, n_positions - width + 1), *filters)
                for (width, _), filters in zip(config.filters, self.convolutions, strict=True)
            ],
            dim=1,
        )  # [n, F]
        for highway in self.highways:
            features = highway.apply(features)
        if self.words is not None:
            assert spellings.word_ids is not None
            word_ids = torch.from_numpy(spellings.word_ids[rows]).to(self.device)
            features = torch.cat([self.words[word_ids], features], dim=1)
        if self.projection is not None:
            kernel, bias = self.projection
            features = torch.addmm(bias, features, kernel)
        return features

    def _convolve(
        self, vectors: Tensor, width: int, n_windows: int, kernel: Tensor, bias: Tensor
    ) -> Tensor:
        """Convolve, take the maximum over windows, then activate: [n, positions, E] -> [n, count].

        Activations rise, so they commute with the maximum.
        """
        n, positions, size = vectors.shape
        windows = vectors.as_strided(
            (n, n_windows, width * size), (positions * size, size, 1)
        ).reshape(n * n_windows, width * size)
        peaks = (windows @ kernel).view(n, n_windows, -1).amax(dim=1).add_(bias)
        return peaks.relu_() if self.config.activation == "relu" else peaks.tanh_()


class _Highway:
    """y = x + g * (relu(x W_t + b_t) - x), g = sigmoid(x W_g + b_g) (Srivastava et al., 2015)."""

    def __init__(self, weights: HighwayWeights, place: Callable[[Array], Tensor]) -> None:
        self.kernel = place(np.concatenate([weights.transform, weights.gate], axis=1))  # [F, 2F]
        self.bias = place(np.concatenate([weights.transform_bias, weights.gate_bias]))

    def apply(self, features: Tensor) -> Tensor:
        both = torch.addmm(self.bias, features, self.kernel)
        transformed, gate = both.chunk(2, dim=1)
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


class ProjectedLstm:
    """One LSTM layer of one direction, with cell clip, projection and projection clip.

    z = x W_x + h W_h + b                      (gates i, f, g, o)
    c = clip(sigmoid(f) * c + sigmoid(i) * tanh(g))
    h = clip((sigmoid(o) * tanh(c)) W_p)

    With sigmoid(x) = (tanh(x / 2) + 1) / 2 and the halves folded into the weights, one tanh over
    z serves all four gates.
    """

    def __init__(
        self, config: BiLmConfig, weights: LstmWeights, device: torch.device, dtype: torch.dtype
    ) -> None:
        def place(array: Array) -> Tensor:
            return torch.tensor(array, dtype=dtype, device=device)

        cell = config.cell_dim
        halves = np.full(4 * cell, 0.5, dtype=np.float32)
        halves[2 * cell : 3 * cell] = 1.0  # the candidate is a tanh already
        self.config = config
        self.input = place(weights.input * halves)
        self.recurrent = place(weights.recurrent * halves)
        self.bias = place(weights.bias * halves)
        self.projection = None
        if weights.projection is not None:
            self.projection = place(weights.projection * np.float32(0.5))

    def run(self, inputs: Tensor, packing: Packing, h: Tensor, c: Tensor) -> Tensor:
        """Read packed sentences.

        Args:
          inputs: [slots, P], in the slots' order.
          packing: where each time step lies.
          h: [B, P], the state before the first step; left as it is.
          c: [B, cell_dim], the same; overwritten with the state after each sentence's last step.

        Returns:
          [slots, P]: h after each step, before any residual.
        """
        starts = packing.starts
        steps = len(packing.rows)
        outputs = inputs.new_empty((inputs.shape[0], h.shape[1]))
        first = 0
        while first < steps:
            limit = starts[first] + SLOTS_PER_BLOCK
            last = int(np.searchsorted(starts, limit, side="right")) - 1
            last = max(last, first + 1)
            begin, end = int(starts[first]), int(starts[last])
            block = torch.addmm(self.bias, inputs[begin:end], self.input)
            for step in range(first, last):
                slot, rows = int(starts[step]), int(packing.rows[step])
                gates = block[slot - begin : slot - begin + rows]
                output = outputs[slot : slot + rows]
                self._step(gates, h[:rows], c[:rows], output)
                h = output
            first = last
        return outputs

    def _step(self, gates: Tensor, h: Tensor, c: Tensor, output: Tensor) -> None:
        """Advance n rows: gates [n, 4 * cell] holds x W_x + b; c is updated, h goes to output."""
        gates.addmm_(h, self.recurrent).tanh_()
        i, f, g, o = gates.chunk(4, dim=1)
        c.addcmul_(c, f).add_(g.addcmul_(g, i)).mul_(0.5)
        if self.config.cell_clip is not None:
            c.clamp_(-self.config.cell_clip, self.config.cell_clip)
        exposed = torch.tanh(c)
        exposed.addcmul_(exposed, o)  # twice sigmoid(o) * tanh(c); W_p holds the half
        if self.projection is None:
            torch.mul(exposed, 0.5, out=output)
            return
        torch.mm(exposed, self.projection, out=output)
        if self.config.projection_clip is not None:
            output.clamp_(-self.config.projection_clip, self.config.projection_clip)


class BiLm:
    """The forward and the backward stack; a layer reads its own direction's layer below."""

    def __init__(
        self,
        config: BiLmConfig,
        weights: BiLmWeights,
        speller: Speller,
        device: torch.device,
        dtype: torch.dtype,
    ) -> None:
        self.config = config
        self.speller = speller
        self.device = device
        self.dtype = dtype
        self.encoder = CharacterEncoder(config, weights, device, dtype)
        self.stacks = [
            [ProjectedLstm(config, layer, device, dtype) for layer in stack]
            for stack in weights.lstm
        ]

    def zero_state(self, n_sentences: int) -> LstmState:
        """Return the state of zeros for B sentences."""
        config = self.config
        shape = (config.n_lstm_layers, 2, n_sentences)
        make = torch.zeros
        return LstmState(
            h=make((*shape, config.projection_dim), dtype=self.dtype, device=self.device),
            c=make((*shape, config.cell_dim), dtype=self.dtype, device=self.device),
        )

    def encode_types(self, types: Sequence[str]) -> Tensor:
        """Return the context-free vectors of word types, [N, P]."""
        return self.encoder.encode(self.speller.spell(types), self.speller.padding)

    def forward(
        self,
        type_vectors: Tensor,
        type_ids: Tensor,
        packing: Packing,
        state: LstmState,
        n_layers: int,
    ) -> tuple[list[tuple[Tensor, Tensor]], LstmState]:
        """Read sentences in both directions.

        Args:
          type_vectors: [N, P], one row per word type.
          type_ids: [slots] int64, the type of each token, sentence by sentence, marks included.
          packing: how these sentences lie in slots.
          state: what each stack starts from; left as it is.
          n_layers: how many layers to compute, the context-free one included.

        Returns:
          Per layer the forward and the backward outputs, each [slots, P] in the slots of its own
          direction; and the state after the last token.
        """
        after = LstmState(h=state.h.clone(), c=state.c.clone())
        ends = torch.from_numpy(
            packing.starts[packing.lengths - 1] + np.arange(len(packing.lengths))
        )
        ends = ends.to(self.device)
        stacks = []
        for direction, order in enumerate((packing.forward, packing.backward)):
            inputs = type_vectors[type_ids[torch.from_numpy(order).to(self.device)]]
            outputs = [inputs]
            for layer, lstm in enumerate(self.stacks[direction][: n_layers - 1]):
                cells = after.c[layer, direction]
                hidden = lstm.run(inputs, packing, state.h[layer, direction], cells)
                after.h[layer, direction] = hidden[ends]
                if layer > 0 and self.config.use_skip_connections:
                    hidden.add_(inputs)
                inputs = hidden
                outputs.append(hidden)
            stacks.append(outputs)
        return list(zip(*stacks, strict=True)), after
