"""Fixtures that every part of the tests shares: a tiny seeded ELMo, and where ../shared is."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from hypothesis import settings
from safetensors.torch import save_file

ROOT = Path(__file__).resolve().parent.parent
SHARED = ROOT.parent / "shared"

# The same examples everywhere, and no time limit for one: a loaded machine is no failure.
settings.register_profile("same everywhere", deadline=None, derandomize=True)
settings.load_profile("same everywhere")


@pytest.fixture
def rng() -> np.random.Generator:
    """The one source of randomness in tests."""
    return np.random.default_rng(20240229)


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of shared fixtures and data, or a skip that says what is missing."""
    if not SHARED.is_dir():
        pytest.skip(f"needs the shared fixtures and data, which are not at {SHARED}")
    return SHARED


def write_random_elmo(
    directory: Path,
    *,
    cell: int = 12,
    projection: int = 8,
    filters: tuple[tuple[int, int], ...] = ((1, 4), (2, 6), (3, 8)),
    characters: int = 4,
    highway: int = 1,
    layers: int = 2,
    activation: str = "relu",
    skip_connections: bool = True,
    seed: int = 0,
) -> Path:
    """Write random weights in the official layout (options.json, weights.hdf5)."""
    rng = np.random.default_rng(seed)
    directory.mkdir(parents=True, exist_ok=True)
    options: dict[str, Any] = {
        "lstm": {
            "use_skip_connections": skip_connections,
            "projection_dim": projection,
            "cell_clip": 3,
            "proj_clip": 3,
            "dim": cell,
            "n_layers": layers,
        },
        "char_cnn": {
            "activation": activation,
            "filters": [list(pair) for pair in filters],
            "n_highway": highway,
            "embedding": {"dim": characters},
            "n_characters": 262,
            "max_characters_per_token": 50,
        },
    }
    (directory / "options.json").write_text(json.dumps(options), encoding="utf-8")
    width = sum(count for _, count in filters)

    def put(file: h5py.File, name: str, *shape: int, scale: float = 0.5) -> None:
        values = rng.standard_normal(shape) * scale
        file.create_dataset(name, data=values.astype(np.float32))

    with h5py.File(directory / "weights.hdf5", "w") as file:
        put(file, "char_embed", 261, characters)
        for index, (span, count) in enumerate(filters):
            put(file, f"CNN/W_cnn_{index}", 1, span, characters, count)
            put(file, f"CNN/b_cnn_{index}", count, scale=0.1)
        for index in range(highway):
            for part in ("carry", "transform"):
                put(file, f"CNN_high_{index}/W_{part}", width, width, scale=width**-0.5)
                put(file, f"CNN_high_{index}/b_{part}", width, scale=0.1)
        put(file, "CNN_proj/W_proj", width, projection, scale=width**-0.5)
        put(file, "CNN_proj/b_proj", projection, scale=0.1)
        for direction in range(2):
            for layer in range(layers):
                cell_name = f"RNN_{direction}/RNN/MultiRNNCell/Cell{layer}/LSTMCell"
                put(file, f"{cell_name}/W_0", 2 * projection, 4 * cell)
                put(file, f"{cell_name}/B", 4 * cell, scale=0.1)
                put(file, f"{cell_name}/W_P_0", cell, projection)
    return directory


@pytest.fixture(scope="session")
def make_elmo(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """A function that writes a random model; its keywords are those of write_random_elmo."""

    def make(**settings: Any) -> Path:
        return write_random_elmo(tmp_path_factory.mktemp("elmo"), **settings)

    return make


@pytest.fixture(scope="session")
def tiny_elmo_dir(make_elmo: Callable[..., Path]) -> Path:
    """A directory with a tiny two-layer model in the official layout; D = 16, L = 3."""
    return make_elmo()


def write_random_teacher(
    directory: Path,
    pieces: Sequence[str],
    *,
    dim: int = 16,
    heads: int = 4,
    layers: int = 2,
    kind: str = "bert",
) -> Path:
    """Write a random BERT or MPNet encoder in the layout of sentence-transformers.

    It reads 128 positions at most.
    """
    directory.mkdir(parents=True)
    generator = torch.Generator().manual_seed(0)
    shapes: dict[str, tuple[int, ...]] = {
        "embeddings.word_embeddings.weight": (len(pieces), dim),
        "embeddings.position_embeddings.weight": (128 + 2 * (kind == "mpnet"), dim),
        "embeddings.LayerNorm.weight": (dim,),
        "embeddings.LayerNorm.bias": (dim,),
    }
    if kind == "mpnet":
        shapes["encoder.relative_attention_bias.weight"] = (32, heads)
        products = ("attention.attn.q", "attention.attn.k", "attention.attn.v", "attention.attn.o")
        norms = ("attention.LayerNorm", "output.LayerNorm")
    else:
        shapes["embeddings.token_type_embeddings.weight"] = (2, dim)
        products = ("attention.self.query", "attention.self.key", "attention.self.value",
                    "attention.output.dense")  # fmt: skip
        norms = ("attention.output.LayerNorm", "output.LayerNorm")
    for layer in range(layers):
        name = f"encoder.layer.{layer}"
        for part in products:
            shapes |= {f"{name}.{part}.weight": (dim, dim), f"{name}.{part}.bias": (dim,)}
        for part in norms:
            shapes |= {f"{name}.{part}.weight": (dim,), f"{name}.{part}.bias": (dim,)}
        shapes |= {f"{name}.intermediate.dense.weight": (32, dim),
                   f"{name}.intermediate.dense.bias": (32,),
                   f"{name}.output.dense.weight": (dim, 32),
                   f"{name}.output.dense.bias": (dim,)}  # fmt: skip
    weights = {name: torch.randn(shape, generator=generator) for name, shape in shapes.items()}
    save_file(weights, str(directory / "model.safetensors"))
    config = {"model_type": kind, "num_attention_heads": heads, "num_hidden_layers": layers,
              "hidden_size": dim}  # fmt: skip
    (directory / "config.json").write_text(json.dumps(config))
    (directory / "vocab.txt").write_text("\n".join(pieces) + "\n")
    return directory


@pytest.fixture(scope="session")
def make_teacher(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """A function that writes a random teacher; its arguments are those of write_random_teacher."""

    def make(pieces: Sequence[str], **settings: Any) -> Path:
        return write_random_teacher(tmp_path_factory.mktemp("teacher") / "bert", pieces, **settings)

    return make
