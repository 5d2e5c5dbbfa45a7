"""The mean of models: number by number, of one shape alone."""

from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from elmo_infer.training.export import write_official_layout
from elmo_infer.training.model_mean import POOLING, mean_of_models
from elmo_infer.training.parameters import initial_parameters
from elmo_infer.training.presets import preset, resized
from elmo_infer.training.saved_softmax import read_softmax, write_softmax


def model(directory: Path, seed: int, *, cells: int = 64, words: str = "ab") -> Path:
    config = resized(preset("tiny"), cells=cells)
    write_official_layout(directory, config, initial_parameters(config, seed))
    write_softmax(directory, torch.full((5, 3), float(seed)), list(words))
    save_file({"query": torch.full((4,), float(seed))}, str(directory / POOLING))
    return directory


def weights_of(directory: Path, name: str = "CNN_proj/W_proj") -> np.ndarray:
    with h5py.File(directory / "weights.hdf5") as file:
        found: np.ndarray = file[name][()]
    return found


def test_weights_and_softmax_are_means_and_the_query_is_the_heaviest_ones(tmp_path: Path) -> None:
    one, other = model(tmp_path / "one", 1), model(tmp_path / "other", 2)
    out = tmp_path / "mean"
    said = mean_of_models([one, other], [1, 3], out)
    expected = 0.25 * weights_of(one) + 0.75 * weights_of(other)
    np.testing.assert_allclose(weights_of(out), expected, atol=1e-6)
    softmax = read_softmax(out)
    assert softmax is not None
    assert float(softmax[0][0, 0]) == 1.75
    assert load_file(out / POOLING)["query"].tolist() == [2.0] * 4
    assert said == {"pooling": f"of {other}", "softmax": "a mean of all"}


def test_a_mean_of_one_is_itself_in_half_the_room(tmp_path: Path) -> None:
    one = model(tmp_path / "one", 1)
    mean_of_models([one], [2], tmp_path / "mean", "float16")
    found = weights_of(tmp_path / "mean")
    assert found.dtype == np.float16
    np.testing.assert_allclose(found, weights_of(one), atol=2e-3)


def test_softmaxes_of_other_words_and_models_without_a_query_are_said(tmp_path: Path) -> None:
    one, other = model(tmp_path / "one", 1), model(tmp_path / "other", 2, words="ba")
    (one / POOLING).unlink()
    said = mean_of_models([one, other], [1, 1], tmp_path / "mean")
    assert said == {
        "pooling": f"none: {one} has no query",
        "softmax": "none: the models' softmaxes have other words",
    }


def test_models_of_other_shapes_have_no_mean(tmp_path: Path) -> None:
    one, other = model(tmp_path / "one", 1), model(tmp_path / "other", 2, cells=32)
    with pytest.raises(ValueError, match=r"has another shape than .*a mean needs models of one"):
        mean_of_models([one, other], [1, 1], tmp_path / "mean")


@pytest.mark.parametrize("weights", [[0, 0], [1, -0.5]])
def test_impossible_weights_are_refused(weights: list[float], tmp_path: Path) -> None:
    one = model(tmp_path / "one", 1)
    with pytest.raises(ValueError, match="expected 0 or more, and not all 0"):
        mean_of_models([one, one], weights, tmp_path / "mean")


def test_what_is_no_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="is not a model in the official layout: expected"):
        mean_of_models([tmp_path], [1], tmp_path / "mean")
