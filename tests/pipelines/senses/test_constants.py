"""The constants of a model: read as written, those of other vectors not taken, and that is said."""

import json
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest

from elmo_infer import load
from pipelines.errors import CorpusError
from pipelines.senses.constants import (
    CONSTANTS_FILE,
    FALLBACK,
    SenseConstants,
    constants_for,
    from_bytes,
    to_bytes,
)
from pipelines.senses.split_test import SingleSenseTable

MADE_FOR = {"fingerprint": "f", "layer_weights": [0.2, 0.8], "pooling": "attention"}


@pytest.fixture
def constants(rng: np.random.Generator) -> SenseConstants:
    general, _ = from_bytes(FALLBACK.read_bytes(), "fallback")
    directions = rng.standard_normal((32, 4)).astype(np.float16).astype(np.float32)
    cohesions = np.tile(np.array([0.7, 0.1], np.float32), (len(general.table.sizes), 1))
    return SenseConstants(directions=directions, table=replace(general.table, cohesions=cohesions))


@pytest.fixture
def model(make_elmo: Callable[..., Path], constants: SenseConstants) -> Path:
    """A model directory with constants; D = 16."""
    directory = make_elmo(seed=9)
    (directory / CONSTANTS_FILE).write_bytes(to_bytes(constants, MADE_FOR))
    return directory


def test_constants_are_read_as_they_were_written(constants: SenseConstants) -> None:
    again, made_for = from_bytes(to_bytes(constants, MADE_FOR), "x")
    assert made_for == MADE_FOR
    np.testing.assert_array_equal(again.directions, constants.directions)
    for field in fields(SingleSenseTable):
        np.testing.assert_array_equal(
            getattr(again.table, field.name), getattr(constants.table, field.name)
        )


def test_a_file_of_before_cohesion_is_read(constants: SenseConstants) -> None:
    plain = replace(constants, table=replace(constants.table, cohesions=None))
    again, _ = from_bytes(to_bytes(plain, MADE_FOR), "file")
    assert again.table.cohesions is None


def test_a_damaged_file_says_what_to_do(constants: SenseConstants) -> None:
    data = to_bytes(constants, MADE_FOR)
    for damaged in (data[:40], data[:-4], b"", json.dumps({}).encode()):
        with pytest.raises(CorpusError, match=r"x cannot be read .*sensegrep train senses"):
            from_bytes(damaged, "x")


def test_a_model_s_own_constants_are_taken(model: Path) -> None:
    found = constants_for(str(model), "f", (0.2, 0.8), "attention", 16)
    assert found.directions is not None
    assert found.note == ""


@pytest.mark.parametrize(
    ("fingerprint", "weights", "pooling", "dim", "differs"),
    [
        ("g", (0.2, 0.8), "attention", 16, "another fingerprint"),
        ("f", (0.5, 0.5), "attention", 16, "another layer_weights"),
        ("f", (0.2, 0.8), "mean", 16, "another pooling"),
        ("f", (0.2, 0.8), "attention", 8, "another width"),
    ],
)
def test_those_of_other_vectors_are_not_and_it_is_said(
    model: Path,
    fingerprint: str,
    weights: tuple[float, ...],
    pooling: str,
    dim: int,
    differs: str,
) -> None:
    found = constants_for(str(model), fingerprint, weights, pooling, dim)
    assert found.directions is None
    assert differs in found.note
    assert "sensegrep train senses" in found.note


def test_a_model_without_constants_has_general_ones(make_elmo: Callable[..., Path]) -> None:
    found = constants_for(str(make_elmo(seed=8)), "f", (1.0,), "attention", 16)
    assert found.directions is None
    assert "has no settings of its own" in found.note


def test_the_bundled_model_has_its_own() -> None:
    elmo = load("en-small", device="cpu")
    weights = tuple(elmo.default_layer_weights)
    found = constants_for("en-small", elmo.fingerprint, weights, "attention", elmo.dim)
    assert found.note == ""
    assert found.directions is not None
    assert found.directions.shape == (2 * elmo.dim, 128)
