"""Weights in one canonical form, whatever file they came from.

Canonical: float32 NumPy, matrices are (in, out) for x @ W, LSTM gates in the order input, forget,
candidate, output, and the forget gate's constant 1 inside the bias.

What is large is read each time it is asked for, and not kept: a model is prepared layer by layer,
and so never lies in memory twice.
"""

import dataclasses
import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from elmo_infer.config import BiLmConfig

Array = npt.NDArray[np.float32]
Kept = TypeVar("Kept")


@dataclass(frozen=True, kw_only=True)
class HighwayWeights:
    """y = g * relu(x @ transform + b) + (1 - g) * x, g = sigmoid(x @ gate + b); F = filters."""

    transform: Array  # [F, F]
    transform_bias: Array  # [F]
    gate: Array  # [F, F]
    gate_bias: Array  # [F]


@dataclass(frozen=True, kw_only=True)
class LstmWeights:
    """One LSTM layer of one direction; H = projection_dim is the width of its state h."""

    input: Array  # [P, 4 * cell_dim]
    recurrent: Array  # [H, 4 * cell_dim]
    bias: Array  # [4 * cell_dim]
    projection: Array | None  # [cell_dim, H]; None: h is the cell's output itself


ReadLstm = Callable[[], LstmWeights]


@dataclass(frozen=True, kw_only=True)
class BiLmWeights:
    """All tensors of a biLM.

    Attributes:
      characters: [n characters, E] embeddings.
      convolutions: per filter W [width, E, count] and b [count].
      highways: n_highway functions that read one.
      projection: W [word_dim + F, P] and b [P]; None where F is P and none is wanted.
      words: [n words, word_dim], or None.
      lstm: [direction][layer], functions that read one; direction 0 reads forward, 1 backward.
    """

    characters: Array
    convolutions: tuple[tuple[Array, Array], ...]
    highways: tuple[Callable[[], HighwayWeights], ...]
    projection: tuple[Array, Array] | None
    words: Array | None
    lstm: tuple[tuple[ReadLstm, ...], tuple[ReadLstm, ...]]

    def tensors(self) -> Iterator[tuple[str, Array]]:
        """Yield every tensor with its name, in a fixed order, reading what is read on demand."""
        yield from _walk("", self)

    def in_memory(self) -> "BiLmWeights":
        """Return the same with everything read, once."""
        forward, backward = (tuple(_kept(read) for read in layers) for layers in self.lstm)
        highways = tuple(_kept(read) for read in self.highways)
        return dataclasses.replace(self, highways=highways, lstm=(forward, backward))


def _kept(read: Callable[[], Kept]) -> Callable[[], Kept]:
    kept = read()
    return lambda: kept


def _walk(name: str, value: Any) -> Iterator[tuple[str, Array]]:
    if isinstance(value, np.ndarray):
        yield name, value
    elif isinstance(value, tuple):
        for index, item in enumerate(value):
            yield from _walk(f"{name}.{index}", item)
    elif dataclasses.is_dataclass(value):
        for field in dataclasses.fields(value):
            yield from _walk(f"{name}.{field.name}", getattr(value, field.name))
    elif callable(value):
        yield from _walk(name, value())


def fingerprint(config: BiLmConfig, weights: BiLmWeights, extra: dict[str, Any]) -> str:
    """Return a hex digest of what a model computes: its shape, its tensors, and `extra`.

    Args:
      extra: JSON values, or arrays, of what else decides a vector (spelling, initial state, query).
    """
    digest = hashlib.sha256()
    arrays = [(name, value) for name, value in extra.items() if isinstance(value, np.ndarray)]
    plain = {name: value for name, value in extra.items() if not isinstance(value, np.ndarray)}
    described = {"config": dataclasses.asdict(config), "extra": plain}
    digest.update(json.dumps(described, sort_keys=True).encode())
    for name, array in [*weights.tensors(), *sorted(arrays)]:
        digest.update(f"\n{name}:{array.shape}:".encode())
        digest.update(np.ascontiguousarray(array, dtype="<f4").data)
    return digest.hexdigest()[:32]
