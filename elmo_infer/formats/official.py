"""Read a weights.hdf5 in the official layout (bilm-tf)."""

from functools import partial

import numpy as np

from elmo_infer.characters import N_BYTE_CHARACTERS
from elmo_infer.config import BiLmConfig
from elmo_infer.formats.model_files import Hdf5Tensors
from elmo_infer.formats.tensors import TensorReader
from elmo_infer.weights import Array, BiLmWeights, HighwayWeights, LstmWeights


def read_official(file: Hdf5Tensors, config: BiLmConfig, where: str) -> BiLmWeights:
    """Read a weights.hdf5 in the layout of bilm-tf, whose matrices are (in, out).

    Its gate order is input, candidate, forget, output, and the forget gate's 1 is not in the file.

    Raises:
      ValueError: if a tensor is missing or misshapen, or the biLM reads words.
    """
    if "char_embed" not in file and "embedding" in file:
        raise ValueError(
            f"{where}: holds word vectors ('embedding') and no 'char_embed': a word-input biLM; "
            "only character-input biLMs can be loaded; give another model, such as en-small"
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
