"""The fast model against a slow one of another making, over every shape of biLM."""

import json
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

from elmo_infer import load

SHAPES = {
    "one highway": {},
    "two highways, tanh": {"highway": 2, "activation": "tanh"},
    "no highway": {"highway": 0},
    "three layers": {"layers": 3},
    "one layer": {"layers": 1},
    "no skip connections": {"skip_connections": False},
    "wide filters": {"filters": ((1, 3), (7, 9), (50, 2))},
    "no projection of the cells": {"cell": 8, "projection": 8, "unprojected": True},
    "no projection of the CNN": {"filters": ((1, 4), (2, 4)), "projection": 8, "bare": True},
}


def without(directory: Path, *names: str) -> Path:
    """Delete tensors from a model's weights."""
    with h5py.File(directory / "weights.hdf5", "a") as file:
        for name in names:
            del file[name]
    return directory


def write(make_elmo: Callable[..., Path], settings: dict) -> Path:
    settings = dict(settings)
    unprojected, bare = settings.pop("unprojected", False), settings.pop("bare", False)
    directory = make_elmo(**settings)
    if unprojected:
        cells = [f"RNN_{d}/RNN/MultiRNNCell/Cell{n}/LSTMCell/W_P_0" for d in (0, 1) for n in (0, 1)]
        without(directory, *cells)
    if bare:
        without(directory, "CNN_proj")
    return directory


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_layers_equal_a_slow_elmo(
    make_elmo, slow_elmo, awkward_sentences, model_bound, shape, dtype
) -> None:
    directory = write(make_elmo, SHAPES[shape])
    slow = slow_elmo(directory)

    elmo = load(directory, dtype=dtype, device="cpu")
    layers = elmo.layers(awkward_sentences)

    for tokens, computed in zip(awkward_sentences, layers, strict=True):
        assert computed.dtype == dtype
        if not tokens:
            assert computed.shape == (slow.options["lstm"]["n_layers"] + 1, 0, 16)
            continue
        expected = slow.layers(tokens)
        # In float64 too: the forget gate's 1 is added to its bias in float32.
        scale = max(1.0, float(np.abs(expected).max()))
        bound = model_bound(elmo.bilm.config, steps=len(tokens) + 2, scale=scale)
        np.testing.assert_allclose(computed, expected, atol=bound, rtol=0)


@pytest.mark.parametrize("initial_state", ["zero", "warm"])
def test_sentences_of_one_lane_do_not_see_each_other(
    tiny_elmo_dir, awkward_sentences, model_bound, initial_state
) -> None:
    elmo = load(tiny_elmo_dir, device="cpu", initial_state=initial_state)
    alone = [elmo.layers([tokens])[0] for tokens in awkward_sentences]

    elmo.bilm.n_lanes = 2
    in_lanes = elmo.layers(awkward_sentences)

    for found, expected in zip(in_lanes, alone, strict=True):
        scale = max(1.0, float(np.abs(expected).max(initial=0.0)))
        bound = model_bound(elmo.bilm.config, steps=expected.shape[1] + 2, scale=scale)
        np.testing.assert_allclose(found, expected, atol=bound, rtol=0)


def test_clips_are_reached(make_elmo, slow_elmo) -> None:
    directory = make_elmo(seed=5)
    with h5py.File(directory / "weights.hdf5", "a") as file:
        for direction in (0, 1):
            cell = file[f"RNN_{direction}/RNN/MultiRNNCell/Cell0/LSTMCell"]
            cell["B"][...] *= 50.0  # drives cells beyond 3 within a few steps
            cell["W_P_0"][...] *= 20.0
    sentence = [f"word{number}" for number in range(8)]
    unclipped = make_elmo(seed=5)
    (unclipped / "weights.hdf5").write_bytes((directory / "weights.hdf5").read_bytes())
    options = json.loads((unclipped / "options.json").read_text())
    options["lstm"] |= {"cell_clip": None, "proj_clip": None}
    (unclipped / "options.json").write_text(json.dumps(options))

    [computed] = load(directory, device="cpu", dtype="float64").layers([sentence])
    [free] = load(unclipped, device="cpu", dtype="float64").layers([sentence])

    assert np.abs(computed[1]).max() == 3.0
    assert np.abs(free[1]).max() > 3.5
    np.testing.assert_allclose(computed, slow_elmo(directory).layers(sentence), atol=1e-5)
    np.testing.assert_allclose(free, slow_elmo(unclipped).layers(sentence), atol=1e-5)


@pytest.mark.parametrize(("dtype", "floor"), [("bfloat16", 0.9999), ("int8", 0.9995)])
def test_narrow_products_stay_near_float32(shared: Path, dtype: str, floor: float) -> None:
    # Measured: no token of any layer below 0.99997 and 0.9997.
    directory = shared / "fixtures" / "elmo" / "allennlp"
    texts = json.loads((directory / "sentences.json").read_text())
    sentences = [text.split() for chain in texts for text in chain]
    expected = load(directory, device="cpu").layers(sentences)

    computed = load(directory, device="cpu", dtype=dtype).layers(sentences)

    for want, got in zip(expected, computed, strict=True):
        assert got.dtype == np.float32
        assert not np.array_equal(got, want)
        norms = np.linalg.norm(want, axis=2) * np.linalg.norm(got, axis=2)
        assert ((want * got).sum(axis=2) / norms).min() > floor
