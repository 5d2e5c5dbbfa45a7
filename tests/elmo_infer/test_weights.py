"""Weights in their canonical form: every tensor named, every number part of the fingerprint."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from elmo_infer.config import BiLmConfig
from elmo_infer.formats.model_files import ModelFiles
from elmo_infer.reading import read_official_model
from elmo_infer.weights import BiLmWeights, fingerprint


@pytest.fixture
def official(tiny_elmo_dir: Path) -> tuple[BiLmConfig, BiLmWeights]:
    """The tiny model's shape and tensors."""
    config, weights, _, _ = read_official_model(ModelFiles.find(str(tiny_elmo_dir)))
    return config, weights


def changed(weights: BiLmWeights, which: str) -> BiLmWeights:
    """The weights with one number of one tensor changed by one bit's worth."""

    def nudge(array: np.ndarray) -> np.ndarray:
        array = array.copy()
        array.flat[-1] = np.nextafter(array.flat[-1], np.float32(9))
        return array

    if which == "characters":
        return replace(weights, characters=nudge(weights.characters))
    if which == "convolution":
        (kernel, bias), *rest = weights.convolutions
        return replace(weights, convolutions=((nudge(kernel), bias), *rest))
    if which == "highway":
        highway = weights.highways[0]()
        other = replace(highway, gate_bias=nudge(highway.gate_bias))
        return replace(weights, highways=(lambda: other, *weights.highways[1:]))
    cell = weights.lstm[1][1]()
    other_cell = replace(cell, recurrent=nudge(cell.recurrent))
    backward = (weights.lstm[1][0], lambda: other_cell)
    return replace(weights, lstm=(weights.lstm[0], backward))


def test_every_tensor_is_named_once_in_a_fixed_order(
    official: tuple[BiLmConfig, BiLmWeights],
) -> None:
    config, weights = official
    names = [name for name, _ in weights.tensors()]
    assert names == [name for name, _ in weights.tensors()]
    lstm = [
        f".lstm.{direction}.{layer}.{part}"
        for direction in (0, 1)
        for layer in range(config.n_lstm_layers)
        for part in ("input", "recurrent", "bias", "projection")
    ]
    assert names == [
        ".characters",
        *(f".convolutions.{n}.{part}" for n in range(len(config.filters)) for part in (0, 1)),
        *(f".highways.0.{p}" for p in ("transform", "transform_bias", "gate", "gate_bias")),
        ".projection.0",
        ".projection.1",
        *lstm,
    ]
    sizes = {name: array.shape for name, array in weights.tensors()}
    assert sizes[".lstm.0.1.input"] == (config.projection_dim, 4 * config.cell_dim)
    assert all(array.dtype == np.float32 for _, array in weights.tensors())


@pytest.mark.parametrize("which", ["characters", "convolution", "highway", "lstm"])
def test_one_changed_number_anywhere_changes_the_fingerprint(
    official: tuple[BiLmConfig, BiLmWeights], which: str
) -> None:
    config, weights = official
    assert fingerprint(config, weights, {}) == fingerprint(config, weights, {})
    assert fingerprint(config, changed(weights, which), {}) != fingerprint(config, weights, {})


@pytest.mark.parametrize(
    "extra",
    [{"spelling": "bytes"}, {"query": np.zeros(3, np.float32)}, {"query": np.zeros(4, np.float32)}],
)
def test_what_else_decides_a_vector_is_part_of_it(
    official: tuple[BiLmConfig, BiLmWeights], extra: dict
) -> None:
    config, weights = official
    found = {
        fingerprint(config, weights, {}),
        fingerprint(config, weights, extra),
        fingerprint(replace(config, cell_clip=2.0), weights, {}),
    }
    assert len(found) == 3
    assert all(len(each) == 32 for each in found)


def test_layers_are_read_when_they_are_asked_for(
    official: tuple[BiLmConfig, BiLmWeights],
) -> None:
    _, weights = official
    read: list[int] = []

    def noted(reader: Callable) -> Callable:
        return lambda: read.append(1) or reader()

    lazy = replace(weights, lstm=tuple(tuple(map(noted, side)) for side in weights.lstm))
    tensors = lazy.tensors()
    assert read == []
    assert len(list(tensors)) == 29
    assert len(read) == 4
