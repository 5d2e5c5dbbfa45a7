"""What a training step asks of a device, seen without one; and what a checkpoint keeps of it."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from elmo_infer.training import checkpoint, pretrain
from elmo_infer.training.checkpoint import (
    PretrainOptions,
    TrainingState,
    new_state,
    read_checkpoint,
    write_checkpoint,
)
from elmo_infer.training.distillation import Distillation
from elmo_infer.training.presets import preset
from elmo_infer.training.spelled_batch import TaughtBatch
from elmo_infer.training.token_store import TokenStore, build_token_store

META = torch.device("meta")
CONFIG = preset("tiny")
OPTIONS = PretrainOptions(steps=2, tokens_per_batch=64, draws=32, vocabulary=12)


@pytest.fixture
def store(tmp_path: Path, rng: np.random.Generator) -> TokenStore:
    documents = [[[str(word) for word in rng.integers(0, 20, 6)]] for _ in range(40)]
    return build_token_store(documents, tmp_path / "text")


def taught_batch() -> TaughtBatch:
    """What a teacher makes of ten sentences of six words, on the device."""
    return TaughtBatch(
        places=torch.zeros(20, dtype=torch.int64, device=META),
        words=torch.zeros(20, 12, dtype=torch.float16, device=META),
        types=torch.zeros(20, dtype=torch.int64, device=META),
        columns=torch.zeros(5, dtype=torch.int64, device=META),
        sentences=torch.zeros(5, 8, dtype=torch.float16, device=META),
        single_places=torch.zeros(7, dtype=torch.int64, device=META),
        single=torch.zeros(7, 8, dtype=torch.float16, device=META),
        single_weights=torch.zeros(7, device=META),
    )


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[Tensor]:
    """Lets a device be asked for a number, and counts how often."""
    asked: list[Tensor] = []
    monkeypatch.setattr(Tensor, "__float__", lambda self: float(asked.append(self) or 0.5))
    return asked


def on_device(store: TokenStore, monkeypatch: pytest.MonkeyPatch, precision: str) -> TrainingState:
    monkeypatch.setattr(checkpoint, "choose_device", lambda _: META)
    return new_state(store, CONFIG, replace(OPTIONS, precision=precision))


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("taught", [False, True], ids=["alone", "taught"])
def test_a_step_stays_on_the_device(
    store: TokenStore,
    device_watch: Any,
    reads: list[Tensor],
    monkeypatch: pytest.MonkeyPatch,
    precision: str,
    taught: bool,
) -> None:
    state = on_device(store, monkeypatch, precision)
    lesson = None
    if taught:
        lesson = Distillation(
            dim=CONFIG.dim, taught=12, teacher_dim=8, layer_weights=(0.4, 0.3, 0.3), ring=64,
            device=META,
        )  # fmt: skip
        pretrain.adopt_auxiliary(state, lesson)
    before = dict(state.network.parameters)
    rng = np.random.default_rng(0)
    for number in range(2):
        sentences = np.arange(number * 10, number * 10 + 10)
        types = store.tokens.reshape(-1, 6)[sentences].astype(np.int64)
        with device_watch:
            batch = state.network.prepare(types, sentences, rng)
            if taught:
                object.__setattr__(batch, "taught", taught_batch())
            result = state.network.step(batch, lesson)
            pretrain.update(state, batch, result, rate=0.1, max_gradient_norm=1.0)

    assert device_watch.complaints == []
    assert set(result.gradients) == set(before)
    for name, gradient in result.gradients.items():
        assert (gradient.device, gradient.shape) == (META, before[name].shape), name
    if taught:
        assert {value.grad for value in lesson.parameters.values()} == {None}
    assert reads == []
    if precision == "bfloat16":
        assert torch.bfloat16 in {low for low, _ in device_watch.low_products}


def test_the_likelihood_stays_on_the_device(
    store: TokenStore, device_watch: Any, reads: list[Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    state = on_device(store, monkeypatch, "bfloat16")
    sentences = np.arange(5)
    types = store.tokens.reshape(-1, 6)[sentences].astype(np.int64)
    ids = np.zeros(7 * 5, dtype=np.int64)
    with device_watch:
        batch = state.network.prepare(types, sentences, np.random.default_rng(0))
        state.network.likelihood(batch, (ids, ids))
    assert device_watch.complaints == []
    assert len(reads) == 2


def test_everything_of_a_checkpoint_goes_to_the_device(
    store: TokenStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_checkpoint(new_state(store, CONFIG, OPTIONS), store, OPTIONS, tmp_path)
    monkeypatch.setattr(checkpoint, "choose_device", lambda _: META)

    state = read_checkpoint(tmp_path, store, CONFIG, OPTIONS)

    network = state.network
    assert {value.device for value in (network.table, *network.parameters.values())} == {META}
    for moments in (state.table_moments, *state.moments.values()):
        assert (moments.first.device, moments.second.device) == (META, META)
    assert state.table_moments.updates.device == META
    # PyTorch's fused Adam counts where the arrays are.
    assert {one.updates.device for one in state.moments.values()} == {META}


def test_device_that_is_not_there_is_no_silent_cpu(store: TokenStore) -> None:
    with pytest.raises(ValueError, match="device 'cuda:99' was not found"):
        new_state(store, CONFIG, replace(OPTIONS, device="cuda:99"))
