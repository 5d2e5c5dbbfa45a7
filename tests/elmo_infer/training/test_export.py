"""A trained model in the official layout, read back."""

from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
import torch.nn.functional as F

from elmo_infer import load
from elmo_infer.training.bilm import train_bilm
from elmo_infer.training.checkpoint import PretrainOptions
from elmo_infer.training.network import encode_types, run_direction
from elmo_infer.training.presets import preset
from elmo_infer.training.token_store import TokenStore

CONFIG = preset("tiny")


def options(**changes: object) -> PretrainOptions:
    return PretrainOptions(
        **{"steps": 8, "tokens_per_batch": 64, "warmup_steps": 2, "draws": 32, **changes}  # type: ignore[arg-type]
    )


def test_exported_model_computes_what_was_trained(store: TokenStore, tmp_path: Path) -> None:
    out = _made(tmp_path / "out")
    state = train_bilm(store, out, CONFIG, options())
    words = ["the", "hill", "sat", "."]
    types = np.array([[store.types.index(word) for word in words]])
    network = state.network
    batch = network.prepare(types, np.array([0]), np.random.default_rng(0))
    with torch.no_grad():
        vectors = encode_types(network.parameters, CONFIG, batch.characters, torch.float32)
        tokens = F.embedding(batch.places, vectors)
        forward = run_direction(network.parameters, CONFIG, 0, tokens, torch.float32)
        backward = run_direction(network.parameters, CONFIG, 1, tokens, torch.float32)
    expected = [torch.cat([tokens, tokens], 2)]
    expected += [torch.cat([f, b.flip(0)], 2) for f, b in zip(forward, backward, strict=True)]

    (layers,) = load(str(out), device="cpu").layers([words])

    np.testing.assert_allclose(
        layers, torch.stack(expected)[:, 1:-1, 0].numpy(), atol=2e-5, rtol=1e-5
    )


def test_weights_are_stored_in_half_the_room(store: TokenStore, tmp_path: Path) -> None:
    for dtype in ("float32", "float16"):
        train_bilm(store, _made(tmp_path / dtype), CONFIG, options(weights_dtype=dtype))
    whole, half = (tmp_path / dtype / "weights.hdf5" for dtype in ("float32", "float16"))
    assert half.stat().st_size < 0.6 * whole.stat().st_size
    words = [["the", "cat", "sat"]]
    one, two = (load(str(path.parent), device="cpu").layers(words)[0] for path in (whole, half))
    assert 0 < np.abs(one - two).max() < 5e-3
    with h5py.File(half) as file:
        biases = file["RNN_0/RNN/MultiRNNCell/Cell0/LSTMCell/B"]
        assert biases.dtype == np.float32  # a reader adds the forget bias to them
    with pytest.raises(
        ValueError, match="unknown weights_dtype 'int8'; expected float32 or float16"
    ):
        options(weights_dtype="int8")


def _made(path: Path) -> Path:
    path.mkdir(parents=True)
    return path
