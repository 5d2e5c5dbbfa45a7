"""Read models of ELMoForManyLangs (Che et al., 2018).

A directory holds config.json (of which only `config_path` counts: the model's own configuration),
char.dic, word.dic, token_embedder.pkl and encoder.pkl. What differs from the official layout is
spelled out in elmo_infer.characters.DictionarySpeller and below.
"""

import hashlib
import json
import pickle
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from io import BytesIO
from typing import Any

import numpy as np
import torch

from elmo_infer.characters import DictionarySpeller
from elmo_infer.config import BiLmConfig
from elmo_infer.formats.model_files import ModelFiles, read_json
from elmo_infer.formats.tensors import TensorReader
from elmo_infer.weights import BiLmWeights, HighwayWeights, LstmWeights

# What the configuration files hold that ship with ELMoForManyLangs and not with its models.
SHIPPED_CONFIGS = ("cnn_50_100_512_4096.json", "cnn_0_100_512_4096.json")
SHIPPED_CONFIG: dict[str, Any] = {
    "encoder": {
        "name": "elmo",
        "projection_dim": 512,
        "cell_clip": 3,
        "proj_clip": 3,
        "dim": 4096,
        "n_layers": 2,
    },
    "token_embedder": {
        "name": "cnn",
        "activation": "relu",
        "filters": [[1, 32], [2, 32], [3, 64], [4, 128], [5, 256], [6, 512], [7, 1024]],
        "n_highway": 2,
        "word_dim": 100,
        "char_dim": 50,
        "max_characters_per_token": 50,
    },
}
NEEDED_CHARACTERS = ("<oov>", "<bos>", "<eos>", "<pad>", "<bow>", "<eow>")
NEEDED_WORDS = ("<oov>",)
# A line of one field: stripping took the key away, which was white space.
STRIPPED_KEY = "\u3000"


@dataclass(frozen=True, kw_only=True)
class ManyLangsModel:
    """One model, read.

    Attributes:
      spelling: what of the spelling decides a vector, for the fingerprint.
    """

    config: BiLmConfig
    weights: BiLmWeights
    speller: DictionarySpeller
    spelling: list[str]


def read_many_langs(files: ModelFiles) -> ManyLangsModel:
    """Read an ELMoForManyLangs model.

    Raises:
      ValueError: if a file cannot be read, or files do not belong together; says which and how.
    """
    where, settings = _find_config(files)
    config = _config_of(settings, where)
    characters = read_dictionary(files, "char.dic", NEEDED_CHARACTERS)
    words = read_dictionary(files, "word.dic", NEEDED_WORDS) if config.word_dim else None
    return ManyLangsModel(
        config=config,
        weights=_read_weights(files, config, characters, words),
        speller=DictionarySpeller(config.max_characters, characters, words),
        spelling=["code points", _digest(characters), _digest(words or {})],
    )


def _find_config(files: ModelFiles) -> tuple[str, dict[str, Any]]:
    """Return the model's configuration and the name of its file."""
    path = read_json(files, "config.json").get("config_path")
    if not isinstance(path, str):
        raise ValueError(
            f"{files.label('config.json')}: config_path is {path!r}; expected the name of the "
            "model's configuration file"
        )
    name = path.replace("\\", "/").rpartition("/")[2]
    if name in files.names:
        return files.label(name), read_json(files, name)
    if name in SHIPPED_CONFIGS:
        return f"{files.label(name)} (as ELMoForManyLangs ships it)", SHIPPED_CONFIG
    raise ValueError(
        f"{files.label('config.json')}: config_path is {path!r}, but {name} is not beside it "
        f"(found {', '.join(files.names)}); put that file into the model's directory"
    )


def _config_of(settings: Mapping[str, Any], where: str) -> BiLmConfig:
    try:
        encoder, embedder = settings["encoder"], settings["token_embedder"]
        for part, name, known in (
            ("encoder", encoder["name"].lower(), "elmo"),
            ("token_embedder", embedder["name"].lower(), "cnn"),
        ):
            if name != known:
                raise ValueError(
                    f"{where}: {part} is {name!r}; only {known!r} can be loaded "
                    "(a character CNN under projected LSTMs)"
                )
        return BiLmConfig(
            filters=tuple((int(width), int(count)) for width, count in embedder["filters"]),
            activation=str(embedder["activation"]),
            n_highway=int(embedder["n_highway"]),
            character_dim=int(embedder["char_dim"]),
            max_characters=int(embedder.get("max_characters_per_token", 50)),
            word_dim=int(embedder["word_dim"] or 0),
            cell_dim=int(encoder["dim"]),
            projection_dim=int(encoder["projection_dim"]),
            n_lstm_layers=int(encoder["n_layers"]),
            cell_clip=float(encoder["cell_clip"]),
            projection_clip=float(encoder["proj_clip"]),
            use_skip_connections=True,
        )
    except KeyError as error:
        raise ValueError(f"{where}: the key {error} is missing") from error
    except (TypeError, AttributeError) as error:
        raise ValueError(f"{where}: not laid out as a model's configuration: {error}") from error


def read_dictionary(files: ModelFiles, name: str, needed: tuple[str, ...]) -> dict[str, int]:
    """Read a .dic file: lines of key, tab, id; of equal keys the last counts."""
    if name not in files.names:
        raise FileNotFoundError(f"{files.location}: {name} is missing beside config.json")
    entries: dict[str, int] = {}
    for number, line in enumerate(files.read(name).decode("utf-8").split("\n"), start=1):
        fields = line.strip().split("\t")
        if fields == [""]:
            continue
        if len(fields) == 1:
            fields.insert(0, STRIPPED_KEY)
        if len(fields) != 2 or not fields[1].isdecimal():
            raise ValueError(
                f"{files.label(name)}: line {number} is {line[:60]!r}; expected a key, a tab and "
                "an id"
            )
        entries[fields[0]] = int(fields[1])
    missing = [key for key in needed if key not in entries]
    if missing:
        raise ValueError(f"{files.label(name)}: the entries {', '.join(missing)} are missing")
    return entries


def _digest(entries: Mapping[str, int]) -> str:
    listed = json.dumps(sorted(entries.items()))
    return hashlib.sha256(listed.encode()).hexdigest()


def _tensors(files: ModelFiles, name: str) -> TensorReader:
    """Open a pickled state dict with torch's weights-only loader."""
    try:
        state = torch.load(BytesIO(files.read(name)), map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, OSError) as error:
        raise ValueError(
            f"{files.label(name)}: cannot be read as tensors alone: {error}. The file is damaged, "
            "or holds code, which is not run"
        ) from error
    if not isinstance(state, Mapping):
        raise ValueError(
            f"{files.label(name)}: holds {type(state).__name__}, expected named tensors"
        )
    return TensorReader(files.label(name), lambda key: state[key].numpy() if key in state else None)


def _read_weights(
    files: ModelFiles,
    config: BiLmConfig,
    characters: Mapping[str, int],
    words: Mapping[str, int] | None,
) -> BiLmWeights:
    """Read both state dicts; torch stores matrices as (out, in)."""
    embedder, encoder = _tensors(files, "token_embedder.pkl"), _tensors(files, "encoder.pkl")
    size = config.n_filters
    character_vectors = embedder("char_emb_layer.embedding.weight", None, config.character_dim)
    _check_rows(files, "char.dic", characters, character_vectors)
    word_vectors = None
    if words is not None:
        word_vectors = embedder("word_emb_layer.embedding.weight", None, config.word_dim)
        _check_rows(files, "word.dic", words, word_vectors)
    convolutions = tuple(
        (
            embedder(f"convolutions.{index}.weight", count, config.character_dim, width).transpose(
                2, 1, 0
            ),
            embedder(f"convolutions.{index}.bias", count),
        )
        for index, (width, count) in enumerate(config.filters)
    )
    forward, backward = (
        tuple(
            partial(_read_cell, encoder, f"{direction}_layer_{layer}", config)
            for layer in range(config.n_lstm_layers)
        )
        for direction in ("forward", "backward")
    )
    return BiLmWeights(
        characters=character_vectors,
        convolutions=convolutions,
        highways=tuple(
            partial(_read_highway, embedder, index, size) for index in range(config.n_highway)
        ),
        projection=(
            embedder("projection.weight", config.projection_dim, config.word_dim + size).T,
            embedder("projection.bias", config.projection_dim),
        ),
        words=word_vectors,
        lstm=(forward, backward),
    )


def _check_rows(
    files: ModelFiles, name: str, entries: Mapping[str, int], vectors: np.ndarray
) -> None:
    expected = max(entries.values()) + 1
    if len(vectors) != expected:
        raise ValueError(
            f"{files.label(name)}: its largest id needs {expected} vectors, but "
            f"token_embedder.pkl has {len(vectors)}; the files belong to different models"
        )


def _read_highway(read: TensorReader, index: int, size: int) -> HighwayWeights:
    """Read gate * x + (1 - gate) * relu(...): our gate is theirs turned round."""
    weight = read(f"highways._layers.{index}.weight", 2 * size, size)
    bias = read(f"highways._layers.{index}.bias", 2 * size)
    return HighwayWeights(
        transform=weight[:size].T,
        transform_bias=bias[:size],
        gate=-weight[size:].T,
        gate_bias=-bias[size:],
    )


def _read_cell(read: TensorReader, name: str, config: BiLmConfig) -> LstmWeights:
    """Read a cell; its gate order is ours and its bias holds the forget gate's 1."""
    cell, width = config.cell_dim, config.projection_dim
    return LstmWeights(
        input=read(f"{name}.input_linearity.weight", 4 * cell, width).T,
        recurrent=read(f"{name}.state_linearity.weight", 4 * cell, width).T,
        bias=read(f"{name}.state_linearity.bias", 4 * cell),
        projection=read(f"{name}.state_projection.weight", width, cell).T,
    )
