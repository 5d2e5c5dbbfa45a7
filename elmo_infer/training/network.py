"""The biLM in training: parameters with their official names, loss and gradients.

One step takes a batch of equally long sentences through

    characters -> token layer (once per distinct word) -> forward and backward LSTM stack
    -> one shared sampled softmax (Peters et al. 2018, section 3)

from the zero state at each sentence's start, as inference does. The two directions share
nothing but the token layer and the softmax, so on a CPU they run side by side in two threads, and
so does the token layer, in halves. Gradients are summed in a fixed order: a run can be repeated.
On a device one thread queues all work, and a few sums over words are in no fixed order.
"""

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from elmo_infer.config import BiLmConfig
from elmo_infer.training.character_cnn import convolve_to_peaks
from elmo_infer.training.lstm import Workspace, projected_lstm
from elmo_infer.training.parameters import Parameters, cell_name
from elmo_infer.training.sampled_softmax import sampled_softmax_loss
from elmo_infer.training.spelled_batch import Batch, Spellings, prepare_batch
from elmo_infer.transfers import to_device

DIRECTIONS = ("forward", "backward")
# A CPU encodes the words of a batch in parts: side by side, and the shorter ones with less padding.
# A device takes two: the few long words, and the others without their padding; what takes time
# there is to launch a part's work.
_PARTS_ON_CPU = 8
_SHORT_ON_DEVICE = 0.85

Result = TypeVar("Result")


def encode_types(
    parameters: Parameters, config: BiLmConfig, characters: Tensor, dtype: torch.dtype
) -> Tensor:
    """Return [U, P]: the context-free vectors of U spelled words.

    Args:
      parameters: under official names.
      config: of the model.
      characters: [U, W] int64 rows of char_embed; W must leave one window of padding to every
        filter, or be the full length.
      dtype: of the matrix products.
    """
    width, widest = characters.shape[1], max(span for span, _ in config.filters)
    # Windows in the padding are all alike: the first is enough, unless words fill the width.
    padded = width - widest + 1 if width < config.max_characters else width
    peaks = convolve_to_peaks(
        parameters["char_embed"],
        characters,
        [parameters[f"CNN/W_cnn_{index}"] for index, _ in enumerate(config.filters)],
        [min(padded, width - span + 1) for span, _ in config.filters],
        dtype,
    )
    biases = [parameters[f"CNN/b_cnn_{index}"] for index, _ in enumerate(config.filters)]
    activation = torch.relu if config.activation == "relu" else torch.tanh
    x = activation(peaks + torch.cat(biases))  # [U, F]
    for index in range(config.n_highway):
        name = f"CNN_high_{index}"
        low = x.to(dtype)
        carry = (low @ parameters[f"{name}/W_carry"].to(dtype)).float()
        transform = (low @ parameters[f"{name}/W_transform"].to(dtype)).float()
        gate = torch.sigmoid(carry + parameters[f"{name}/b_carry"])
        x = torch.lerp(x, torch.relu(transform + parameters[f"{name}/b_transform"]), gate)
    projected = x.to(dtype) @ parameters["CNN_proj/W_proj"].to(dtype)
    return projected.float() + parameters["CNN_proj/b_proj"]


def run_direction(
    parameters: Parameters,
    config: BiLmConfig,
    direction: int,
    tokens: Tensor,
    dtype: torch.dtype,
    workspaces: Sequence[Workspace] | None = None,
) -> list[Tensor]:
    """Return the outputs of one direction's layers, each [T, B, P], in reading order.

    Args:
      parameters: under official names.
      config: of the model.
      direction: 0 reads forward, 1 backward.
      tokens: [T, B, P] token vectors, marks included, in the order of the sentence.
      dtype: of the matrix products.
      workspaces: one for each layer, where their steps are to be captured.
    """
    x = tokens.flip(0) if direction else tokens
    layers = []
    for layer in range(config.n_lstm_layers):
        name = cell_name(direction, layer)
        y = projected_lstm(
            x,
            parameters[f"{name}/W_0"],
            parameters[f"{name}/B"],
            parameters[f"{name}/W_P_0"],
            cell_clip=config.cell_clip or torch.inf,
            projection_clip=config.projection_clip or torch.inf,
            compute_dtype=dtype,
            workspace=None if workspaces is None else workspaces[layer],
        )
        x = y + x if layer and config.use_skip_connections else y
        layers.append(x)
    return layers


@dataclass(kw_only=True)
class StepResult:
    """What one step found.

    Attributes:
      loss: mean negative log likelihood per predicted word under the sample, a scalar for each
        direction, on the device: reading it waits for the step.
      auxiliary: the auxiliary loss, likewise, or None.
      gradients: of the parameters, under their names.
      table_gradient: [R, P + 1] of the softmax rows in the batch.
    """

    loss: tuple[Tensor, Tensor]
    auxiliary: Tensor | None
    gradients: Parameters
    table_gradient: Tensor


# (batch, layers of both directions joined, each [T + 2, B, 2P], the token layer's [U, P] of the
# batch's distinct words) -> scalar loss of the batch. What it learns itself are leaves whose .grad
# its backward pass fills.
Auxiliary = Callable[[Batch, list[Tensor], Tensor], Tensor]


@dataclass(kw_only=True)
class Network:
    """A biLM in training: parameters, softmax table, and how to take a step.

    Attributes:
      config: shape of the model.
      parameters: under official names.
      table: [V + 3, P + 1] softmax rows with their bias.
      spellings: of all types of the training text.
      dtype: of the matrix products.
      draws: softmax samples drawn a batch.
      freeze_token_layer: a step leaves the token layer as it is, and returns no gradients of it.
      new_workspace: makes what an LSTM layer computes in on a device; None on a CPU.
    """

    config: BiLmConfig
    parameters: Parameters
    table: Tensor
    spellings: Spellings
    dtype: torch.dtype = torch.float32
    draws: int = 4096
    freeze_token_layer: bool = False
    new_workspace: Callable[[], Workspace] | None = None
    _workspaces: tuple[list[Workspace] | None, ...] = field(init=False, repr=False)
    _pool: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(2), repr=False)

    def __post_init__(self) -> None:
        new, layers = self.new_workspace, range(self.config.n_lstm_layers)
        self._workspaces = tuple(
            None if new is None else [new() for _ in layers] for _ in DIRECTIONS
        )

    @property
    def vocabulary(self) -> int:
        """Return the number of words the softmax knows, special ids included."""
        return len(self.table)

    @property
    def device(self) -> torch.device:
        """Where it computes: where its parameters are."""
        return self.table.device

    def _map(self, work: Callable[..., Result], *arguments: Iterable[Any]) -> list[Result]:
        """Work through arguments, in threads on a CPU; a device's work is queued by one thread."""
        if self.device.type == "cpu":
            return list(self._pool.map(work, *arguments))
        return list(map(work, *arguments))

    def prepare(self, types: np.ndarray, sentences: np.ndarray, rng: np.random.Generator) -> Batch:
        """Turn [B, T] type ids into the indices of one step."""
        batch, _ = prepare_batch(
            types,
            sentences,
            rng,
            spellings=self.spellings,
            vocabulary=self.vocabulary,
            draws=self.draws,
        )
        return batch.to(self.device)

    def encode(
        self, characters: Tensor, spelled_lengths: np.ndarray, parts: int
    ) -> list[tuple[Tensor, Parameters]]:
        """Encode spelled words in chunks, in parallel; each on its own leaves.

        Args:
          characters: [U, W] int64 spellings; those of like length together cost least.
          spelled_lengths: [U] int64 characters of each, markers included.
          parts: how many chunks on a CPU; a device takes two.
        """
        if self.device.type == "cpu":
            bounds = np.linspace(0, len(characters), parts + 1).astype(int)
        else:
            bounds = np.array([0, int(_SHORT_ON_DEVICE * len(characters)), len(characters)])
        widest = max(span for span, _ in self.config.filters)
        remember = torch.is_grad_enabled()  # each thread has a mode of its own

        def chunk(low: int, high: int) -> tuple[Tensor, Parameters]:
            leaves = self._leaves("char_embed", "CNN")
            width = int(spelled_lengths[low:high].max(initial=1)) + widest
            part = characters[low:high, : min(width, self.config.max_characters)]
            with torch.set_grad_enabled(remember):
                return encode_types(leaves, self.config, part, self.dtype), leaves

        return self._map(chunk, bounds[:-1], bounds[1:])

    def step(
        self, batch: Batch, auxiliary: Auxiliary | None = None, auxiliary_weight: float = 1.0
    ) -> StepResult:
        """Return losses and gradients of one batch; nothing is updated."""
        learns = not self.freeze_token_layer
        with torch.set_grad_enabled(learns):
            chunks = self.encode(batch.characters, batch.spelled_lengths, _PARTS_ON_CPU)
        vectors = torch.cat([vectors.detach() for vectors, _ in chunks]).requires_grad_(learns)
        rows = self.table[batch.candidates.rows]
        directions = self._map(lambda d: self._direction_loss(d, batch, vectors, rows), (0, 1))
        extra: list[list[Tensor]] = [[], []]
        token_grad = torch.zeros((), device=self.device)
        auxiliary_loss = None
        if auxiliary is not None:
            auxiliary_loss, token_grad, extra = self._auxiliary_gradients(
                auxiliary, auxiliary_weight, batch, vectors, directions
            )
        found = self._map(
            lambda d: self._direction_gradients(directions[d], batch.n_targets, extra[d]), (0, 1)
        )
        gradients: Parameters = {}
        for direction, (_, *grads) in zip(directions, found, strict=True):
            gradients |= dict(zip(direction.leaves, grads[: len(direction.leaves)], strict=True))
        if learns:
            d_vectors = found[0][-1] + found[1][-1] + token_grad
            gradients |= self.token_layer_gradients(chunks, d_vectors)
        return StepResult(
            loss=(
                directions[0].loss.detach() / batch.n_targets,
                directions[1].loss.detach() / batch.n_targets,
            ),
            auxiliary=auxiliary_loss,
            gradients=gradients,
            table_gradient=found[0][0] + found[1][0],
        )

    def _leaves(self, *prefixes: str) -> Parameters:
        return {
            name: value.detach().requires_grad_()
            for name, value in self.parameters.items()
            if name.startswith(prefixes)
        }

    def _direction_loss(
        self, direction: int, batch: Batch, vectors: Tensor, rows: Tensor
    ) -> "_Direction":
        leaves = self._leaves(f"RNN_{direction}/")
        own_vectors = vectors.detach().requires_grad_(vectors.requires_grad)
        own_rows = rows.detach().requires_grad_()
        tokens = F.embedding(batch.places, own_vectors)
        layers = run_direction(
            leaves, self.config, direction, tokens, self.dtype, self._workspaces[direction]
        )
        # The last position has nothing left to predict.
        hidden = layers[-1][:-1].reshape(batch.n_targets, -1)
        loss = sampled_softmax_loss(
            hidden, own_rows, batch.targets[direction], batch.candidates, self.dtype
        )
        return _Direction(
            vectors=own_vectors, rows=own_rows, leaves=leaves, layers=layers, loss=loss
        )

    @staticmethod
    def _direction_gradients(
        direction: "_Direction", n_targets: int, extra: list[Tensor]
    ) -> tuple[Tensor, ...]:
        outputs = [direction.loss, *(direction.layers if extra else [])]
        # Both directions count: the loss is their mean, so each weighs a half.
        half = torch.full((), 0.5 / n_targets, device=direction.loss.device)
        weights = [half, *extra]
        # Of the softmax's rows, of the leaves, and last of the vectors where they learn.
        wanted = [direction.rows, *direction.leaves.values()]
        if direction.vectors.requires_grad:
            wanted.append(direction.vectors)
        return torch.autograd.grad(outputs, wanted, weights)

    @staticmethod
    def _auxiliary_gradients(
        auxiliary: Auxiliary,
        weight: float,
        batch: Batch,
        vectors: Tensor,
        directions: list["_Direction"],
    ) -> tuple[Tensor, Tensor, list[list[Tensor]]]:
        own = vectors.detach().requires_grad_(vectors.requires_grad)
        tokens = F.embedding(batch.places, own)
        forward = [layer.detach().requires_grad_() for layer in directions[0].layers]
        backward = [layer.detach().requires_grad_() for layer in directions[1].layers]
        layers = [torch.cat([tokens, tokens], dim=2)]
        layers += [torch.cat([f, b.flip(0)], dim=2) for f, b in zip(forward, backward, strict=True)]
        loss = auxiliary(batch, layers, own) * weight
        # One pass for the leaves here and for what the auxiliary loss learns itself.
        loss.backward()
        extra = [
            [torch.zeros_like(leaf) if leaf.grad is None else leaf.grad for leaf in leaves]
            for leaves in (forward, backward)
        ]
        token_grad = torch.zeros_like(own) if own.grad is None else own.grad
        return loss.detach(), token_grad, extra

    def token_layer_gradients(
        self, chunks: list[tuple[Tensor, Parameters]], d_vectors: Tensor
    ) -> Parameters:
        """Return the token layer's gradients, given those of the vectors [U, P] of `encode`."""
        pieces = d_vectors.split([len(vectors) for vectors, _ in chunks])

        def chunk(part: tuple[tuple[Tensor, Parameters], Tensor]) -> tuple[Tensor, ...]:
            (vectors, leaves), grad = part
            return torch.autograd.grad(vectors, list(leaves.values()), grad)

        found = self._map(chunk, zip(chunks, pieces, strict=True))
        gradients: Parameters = {}
        for name, *grads in zip(chunks[0][1], *found, strict=True):
            total = grads[0]
            for grad in grads[1:]:
                total = total + grad
            gradients[name] = total
        return gradients

    def layers(self, batch: Batch) -> tuple[list[Tensor], Tensor]:
        """Return a batch's layers, each [T + 2, B, 2P], and its words' vectors [U, P].

        Call it without gradients.
        """
        chunks = self.encode(batch.characters, batch.spelled_lengths, parts=2)
        vectors = torch.cat([vectors for vectors, _ in chunks])
        tokens = F.embedding(batch.places, vectors)
        forward, backward = (
            run_direction(self.parameters, self.config, direction, tokens, self.dtype)
            for direction in range(2)
        )
        layers = [torch.cat([tokens, tokens], dim=2)]
        layers += [torch.cat([f, b.flip(0)], dim=2) for f, b in zip(forward, backward, strict=True)]
        return layers, vectors

    @torch.inference_mode()
    def likelihood(self, batch: Batch, word_targets: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
        """Return [2] float64: summed negative log likelihood under the full softmax.

        Args:
          batch: the sentences.
          word_targets: per direction [(T + 1) * B] softmax ids.
        """
        vectors = torch.cat(
            [
                vectors
                for vectors, _ in self.encode(batch.characters, batch.spelled_lengths, parts=2)
            ]
        )
        tokens = F.embedding(batch.places, vectors)
        weights = self.table[:, :-1].to(self.dtype).t()
        totals = np.zeros(2)
        for direction in range(2):
            layers = run_direction(self.parameters, self.config, direction, tokens, self.dtype)
            hidden = layers[-1][:-1].reshape(batch.n_targets, -1)
            for low in range(0, batch.n_targets, 512):
                scores = (hidden[low : low + 512].to(self.dtype) @ weights).float()
                scores += self.table[:, -1]
                right = to_device(word_targets[direction][low : low + 512], self.device)
                totals[direction] += float(F.cross_entropy(scores, right, reduction="sum"))
        return totals


@dataclass(kw_only=True)
class _Direction:
    vectors: Tensor
    rows: Tensor
    leaves: Parameters
    layers: list[Tensor]
    loss: Any
