"""Weights in one canonical form, whatever file they came from; every shape checked.

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
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from elmo_infer.characters import N_BYTE_CHARACTERS
from elmo_infer.config import BiLmConfig
from elmo_infer.model_files import Hdf5Tensors

Array = npt.NDArray[np.float32]


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


class TensorReader:
    """Hands out named float32 tensors of known shape; says exactly what is wrong otherwise.

    Args:
      where: the file, for errors.
      get: returns a tensor by name, or None if there is none of that name.
    """

    def __init__(self, where: str, get: Callable[[str], npt.NDArray[Any] | None]) -> None:
        self.where = where
        self._get = get

    def has(self, name: str) -> bool:
        """Return whether there is such a tensor."""
        return self._get(name) is not None

    def __call__(self, name: str, *shape: int | None) -> Array:
        """Return tensor `name` of `shape`; None in the shape stands for any size.

        Raises:
          ValueError: if it is missing, has another shape, or holds numbers that are not finite.
        """
        found = self._get(name)
        if found is None:
            raise ValueError(
                f"{self.where}: tensor {name!r} is missing; expected shape {_show(shape)} "
                "by the options. The weights and the options may belong to different models"
            )
        if len(found.shape) != len(shape) or any(
            want is not None and have != want for have, want in zip(found.shape, shape, strict=True)
        ):
            raise ValueError(
                f"{self.where}: tensor {name!r} has shape {_show(found.shape)}, expected "
                f"{_show(shape)} by the options. The weights and the options may belong to "
                "different models"
            )
        values = np.asarray(found, dtype=np.float32)
        if not np.isfinite(values).all():
            raise ValueError(f"{self.where}: tensor {name!r} holds NaN or infinity; file damaged?")
        return values


def _show(shape: tuple[int | None, ...]) -> str:
    return "(" + ", ".join("any" if size is None else str(size) for size in shape) + ")"


def read_official(file: Hdf5Tensors, config: BiLmConfig, where: str) -> BiLmWeights:
    """Read a weights.hdf5 in the layout of bilm-tf, whose matrices are (in, out).

    Its gate order is input, candidate, forget, output, and the forget gate's 1 is not in the file.

    Raises:
      ValueError: if a tensor is missing or misshapen, or the biLM reads words.
    """
    if "char_embed" not in file and "embedding" in file:
        raise ValueError(
            f"{where}: holds word vectors ('embedding') and no 'char_embed': a word-input biLM; "
            "only character-input biLMs can be loaded"
        )
    read = TensorReader(where, file.get)
    convolutions = tuple(
        (
            read(f"CNN/W_cnn_{index}", 1, width, config.character_dim, count)[0],
            read(f"CNN/b_cnn_{index}", count),
        )
        for index, (width, count) in enumerate(config.filters)
    )
    size = config.n_filters
    projection = None
    # bilm-tf leaves the projection out where the convolutions already have its width.
    if size != config.projection_dim or "CNN_proj/W_proj" in file:
        projection = (
            read("CNN_proj/W_proj", size, config.projection_dim),
            read("CNN_proj/b_proj", config.projection_dim),
        )
    forward, backward = (
        tuple(
            partial(
                _read_cell, read, f"RNN_{direction}/RNN/MultiRNNCell/Cell{layer}/LSTMCell", config
            )
            for layer in range(config.n_lstm_layers)
        )
        for direction in range(2)
    )
    return BiLmWeights(
        characters=read("char_embed", N_BYTE_CHARACTERS, config.character_dim),
        convolutions=convolutions,
        highways=tuple(
            partial(_read_highway, read, f"CNN_high_{index}", size)
            for index in range(config.n_highway)
        ),
        projection=projection,
        words=None,
        lstm=(forward, backward),
    )


def _read_highway(read: TensorReader, name: str, size: int) -> HighwayWeights:
    return HighwayWeights(
        transform=read(f"{name}/W_transform", size, size),
        transform_bias=read(f"{name}/b_transform", size),
        gate=read(f"{name}/W_carry", size, size),
        gate_bias=read(f"{name}/b_carry", size),
    )


def _read_cell(read: TensorReader, name: str, config: BiLmConfig) -> LstmWeights:
    cell, width = config.cell_dim, config.projection_dim
    projected = read.has(f"{name}/W_P_0")
    if not projected and width != cell:
        read(f"{name}/W_P_0", cell, width)  # raises, naming what is missing
    both = reorder_gates(read(f"{name}/W_0", 2 * width, 4 * cell), cell)
    bias = reorder_gates(read(f"{name}/B", 4 * cell), cell)
    bias[cell : 2 * cell] += 1.0
    return LstmWeights(
        input=both[:width],
        recurrent=both[width:],
        bias=bias,
        projection=read(f"{name}/W_P_0", cell, width) if projected else None,
    )


def reorder_gates(values: Array, cell: int) -> Array:
    """Turn TensorFlow's gate order (i, j, f, o) on the last axis into ours (i, f, j, o)."""
    parts = [values[..., gate * cell : (gate + 1) * cell] for gate in (0, 2, 1, 3)]
    return np.concatenate(parts, axis=-1)
