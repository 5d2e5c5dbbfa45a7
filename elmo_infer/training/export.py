"""A trained biLM in the official layout: options.json and weights.hdf5."""

import json
import os
from pathlib import Path

import h5py
import numpy as np

from elmo_infer.config import BiLmConfig
from elmo_infer.training.parameters import Parameters


def write_official_layout(
    directory: Path, config: BiLmConfig, parameters: Parameters, dtype: str = "float32"
) -> None:
    """Write options.json and weights.hdf5 so that AllenNLP and simple_elmo read them as they are.

    Both files are written beside their names and renamed, the weights first: a directory
    that has options.json is whole. The same parameters give the same bytes.

    Args:
      directory: of the model; made if absent.
      config: shape of the model.
      parameters: under official names.
      dtype: of the matrices, "float32" or "float16", half as large. Biases stay float32: AllenNLP
        adds the forget bias in the type that it finds, and would round once more.
    """
    directory.mkdir(parents=True, exist_ok=True)
    part = directory / "weights.hdf5.tmp"
    with h5py.File(part, "w", track_order=False) as file:
        for name in sorted(parameters):
            values = parameters[name].detach().cpu().numpy()
            values = values.astype(np.float32 if values.ndim == 1 else dtype)
            file.create_dataset(name, data=values, track_times=False)
    os.replace(part, directory / "weights.hdf5")
    part = directory / "options.json.tmp"
    part.write_text(json.dumps(official_options(config), indent=2) + "\n", encoding="utf-8")
    os.replace(part, directory / "options.json")


def official_options(config: BiLmConfig) -> dict[str, object]:
    """Return what options.json holds for inference."""
    return {
        "lstm": {
            "use_skip_connections": config.use_skip_connections,
            "projection_dim": config.projection_dim,
            "cell_clip": config.cell_clip,
            "proj_clip": config.projection_clip,
            "dim": config.cell_dim,
            "n_layers": config.n_lstm_layers,
        },
        "char_cnn": {
            "activation": config.activation,
            "filters": [list(pair) for pair in config.filters],
            "n_highway": config.n_highway,
            "embedding": {"dim": config.character_dim},
            "n_characters": 262,
            "max_characters_per_token": config.max_characters,
        },
    }
