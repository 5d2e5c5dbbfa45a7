"""The weighted mean of models of one shape, tensor by tensor."""

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

import h5py
import numpy as np
import torch

from elmo_infer.config import BiLmConfig
from elmo_infer.training.export import write_official_layout
from elmo_infer.training.saved_softmax import read_softmax, write_softmax

POOLING = "pooling.safetensors"


def mean_of_models(
    directories: Sequence[Path], weights: Sequence[float], out: Path, dtype: str = "float32"
) -> dict[str, str]:
    """Write the mean of models in the official layout.

    The pooling query and the mix of layers are those of the model that weighs most, of equal ones
    the first: a mean of queries is the query of none. The softmax is a mean too, where all models
    have one of the same words.

    Args:
      directories: of the models.
      weights: of each; they are divided by their sum.
      out: directory to write; made if it is absent.
      dtype: of the matrices, "float32" or "float16".

    Returns:
      What became of `pooling` and `softmax`, in words.

    Raises:
      FileNotFoundError: if a model's file is missing.
      ValueError: if the models differ in shape, or a weight is negative or all are 0.
    """
    total = sum(weights)
    if min(weights) < 0 or total <= 0:
        raise ValueError(
            f"the weights are {', '.join(map(str, weights))}; expected 0 or more, and not all 0"
        )
    configs = [_config_of(path) for path in directories]
    for path, config in zip(directories, configs, strict=True):
        if config != configs[0]:
            raise ValueError(
                f"{path} has another shape than {directories[0]}: found {config}, expected "
                f"{configs[0]}; a mean needs models of one shape"
            )
    shares = [weight / total for weight in weights]
    found: dict[str, np.ndarray] = {}
    for path, share in zip(directories, shares, strict=True):
        for name, value in _tensors_of(path).items():
            found[name] = found.get(name, 0.0) + share * value.astype(np.float64)
    parameters = {name: torch.from_numpy(value.astype(np.float32)) for name, value in found.items()}
    write_official_layout(out, configs[0], parameters, dtype)
    heaviest = directories[int(np.argmax(shares))]
    said = {"pooling": f"none: {heaviest} has no query", "softmax": _mean_softmax(
        directories, shares, out)}  # fmt: skip
    if (heaviest / POOLING).is_file():
        shutil.copyfile(heaviest / POOLING, out / POOLING)
        said["pooling"] = f"of {heaviest}"
    return said


def _config_of(directory: Path) -> BiLmConfig:
    path = directory / "options.json"
    if not path.is_file() or not (directory / "weights.hdf5").is_file():
        raise FileNotFoundError(
            f"{directory} is not a model in the official layout: expected options.json and "
            "weights.hdf5"
        )
    return BiLmConfig.from_options(json.loads(path.read_text(encoding="utf-8")), str(path))


def _tensors_of(directory: Path) -> Mapping[str, np.ndarray]:
    found: dict[str, np.ndarray] = {}

    def take(name: str, item: h5py.Group | h5py.Dataset) -> None:
        if isinstance(item, h5py.Dataset):
            found[name] = item[()]

    with h5py.File(directory / "weights.hdf5", "r") as file:
        file.visititems(take)
    return found


def _mean_softmax(directories: Sequence[Path], shares: Sequence[float], out: Path) -> str:
    saved = [read_softmax(path) for path in directories]
    present = [one for one in saved if one is not None]
    if len(present) < len(saved):
        missing = directories[[one is None for one in saved].index(True)]
        return f"none: {missing} has no softmax.safetensors"
    if any(words != present[0][1] for _, words in present):
        return "none: the models' softmaxes have other words"
    table = sum(share * table for share, (table, _) in zip(shares, present, strict=True))
    assert isinstance(table, torch.Tensor)
    write_softmax(out, table, present[0][1])
    return "a mean of all"
