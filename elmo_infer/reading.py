"""Find a model by its bundled name, path or URL, and read it: arrays and settings, no PyTorch.

`elmo_infer.loading` makes a model for batches of it, `elmo_infer.sentence_encoder` one for single
sentences.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from elmo_infer.characters import ByteSpeller, Speller
from elmo_infer.config import BiLmConfig
from elmo_infer.formats.model_files import ModelFiles, read_json
from elmo_infer.formats.official import read_official
from elmo_infer.formats.safetensors_file import read_safetensors
from elmo_infer.initial_state import InitialState, describe_start
from elmo_infer.results import Floats
from elmo_infer.weights import BiLmWeights, fingerprint

MODELS = Path(__file__).parent / "models"
POOLING_FILE = "pooling.safetensors"


@dataclass(frozen=True, kw_only=True, eq=False)
class Pooling:
    """What a model ships for pooling; the defaults are those of a model that ships nothing.

    Attributes:
      query: [D] learned attention query, or None: a sentence's mean token vector is its query.
      layer_weights: [L] coefficients of the default layer mix, or None: the plain mean.
    """

    query: Floats | None = None
    layer_weights: tuple[float, ...] | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class ModelParts:
    """A model as its files have it, checked.

    Attributes:
      config: its shape.
      weights: its tensors.
      speller: how it spells words.
      pooling: what it ships for pooling.
      start: its initial state, as `describe_start` describes it.
      fingerprint: hex digest of all of these.
    """

    config: BiLmConfig
    weights: BiLmWeights
    speller: Speller
    pooling: Pooling
    start: dict[str, Any]
    fingerprint: str


def read_model(
    files: ModelFiles, initial_state: InitialState, *, keep_all: bool = False
) -> ModelParts:
    """Read an ELMo model and check every tensor.

    Args:
      files: of an ELMo model: their kind is not "other".
      initial_state: LSTM state at the start of each sentence.
      keep_all: read each tensor once and keep it, instead of reading large ones again when they
        are asked for.

    Raises:
      ValueError: if a file or the initial state cannot be used.
    """
    config, weights, speller, spelling = _READERS[files.kind](files)
    pooling = read_pooling(files, config)
    start = describe_start(config, initial_state)
    extra = {
        "spelling": spelling,
        "query": pooling.query,
        "layer_weights": pooling.layer_weights,
        **start,
    }
    if keep_all:
        weights = weights.in_memory()
    return ModelParts(
        config=config,
        weights=weights,
        speller=speller,
        pooling=pooling,
        start=start,
        fingerprint=fingerprint(config, weights, extra),
    )


def model_location(name: str) -> str:
    """Return the directory of a bundled model; a path or URL as it is.

    Raises:
      FileNotFoundError: if it is neither; lists the bundled models.
    """
    if "/" in name or "\\" in name or Path(name).exists():
        return name
    if (MODELS / name).is_dir():
        return str(MODELS / name)
    bundled = sorted(entry.name for entry in MODELS.glob("*/")) if MODELS.is_dir() else []
    raise FileNotFoundError(
        f"no model {name!r}: it is neither a file or directory here nor a bundled model; "
        f"bundled are: {', '.join(bundled) or 'none'}"
    )


def earlier_versions(name: str) -> list[str]:
    """Return the bundled names of a bundled model's earlier weights, the newest first.

    They stay loadable, so that what was embedded with them can be searched.
    """
    if "/" in name or "\\" in name or not (MODELS / name).is_dir():
        return []
    return sorted((entry.name for entry in MODELS.glob(f"{name}-*/")), reverse=True)


def read_beside(name: str, file: str) -> bytes | None:
    """Return the bytes of a file that lies beside a model's weights; None if there is none.

    Args:
      name: of a model, as `load` takes it.
      file: base name.
    """
    try:
        found = ModelFiles.find(model_location(name))
    except (FileNotFoundError, ValueError, OSError):
        return None
    return found.read(file) if file in found.paths else None


Read = tuple[BiLmConfig, BiLmWeights, Speller, Any]


def read_official_model(files: ModelFiles) -> Read:
    """Return shape, weights, speller and kind of spelling of a model in the official layout."""
    options = read_json(files, files.options)
    config = BiLmConfig.from_options(options, files.label(files.options))
    file = files.open_hdf5(files.weights)
    weights = read_official(file, config, files.label(files.weights))
    return config, weights, ByteSpeller(config.max_characters), "utf-8 bytes"


def _read_many_langs_model(files: ModelFiles) -> Read:
    from elmo_infer.formats.many_langs import read_many_langs  # its pickles need PyTorch

    model = read_many_langs(files)
    return model.config, model.weights, model.speller, model.spelling


_READERS: dict[str, Callable[[ModelFiles], Read]] = {
    "official": read_official_model,
    "many_langs": _read_many_langs_model,
}


def read_pooling(files: ModelFiles, config: BiLmConfig) -> Pooling:
    """Read pooling.safetensors (`query` [D], `layer_weights` [L]) where a model ships one."""
    if POOLING_FILE not in files.names:
        return Pooling()
    where = files.label(POOLING_FILE)
    tensors = read_safetensors(files.read(POOLING_FILE), where)
    expected = {"query": (config.dim,), "layer_weights": (config.n_lstm_layers + 1,)}
    for key, values in tensors.items():
        if key not in expected:
            raise ValueError(f"{where}: unknown tensor {key!r}; expected {', '.join(expected)}")
        if values.shape != expected[key] or not np.isfinite(values).all():
            raise ValueError(
                f"{where}: tensor {key!r} has shape {values.shape}, expected {expected[key]}, "
                "finite"
            )
    pooling = Pooling()
    if "query" in tensors:
        pooling = replace(pooling, query=tensors["query"].astype(np.float32))
    if "layer_weights" in tensors:
        pooling = replace(pooling, layer_weights=tuple(tensors["layer_weights"].tolist()))
    return pooling
