"""Training on a tiny model: it learns, it tells, it leaves alone what is frozen."""

import itertools
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from elmo_infer.training.batch_maker import BatchMaker
from elmo_infer.training.batches import epochs_of_batches, gather_batch
from elmo_infer.training.bilm import train_bilm
from elmo_infer.training.checkpoint import PretrainOptions, new_state
from elmo_infer.training.network import Auxiliary
from elmo_infer.training.presets import preset
from elmo_infer.training.pretrain import TrainingProgress, pretrain
from elmo_infer.training.token_store import TokenStore

CONFIG = preset("tiny")


def options(**changes: object) -> PretrainOptions:
    return PretrainOptions(
        **{"steps": 8, "tokens_per_batch": 64, "warmup_steps": 2, "draws": 32, **changes}  # type: ignore[arg-type]
    )


def test_progress_ends_at_the_whole_though_the_last_batch_ends_late(
    store: TokenStore, tmp_path: Path
) -> None:
    told: list[TrainingProgress] = []
    asked = options(steps=None, minutes=0.5)
    ticks = itertools.count(0.0, 7.0)
    state = new_state(store, CONFIG, asked)
    maker = BatchMaker(
        store=store, spellings=state.network.spellings, vocabulary=12, draws=32,
        tokens_per_batch=64, seed=1,
    )  # fmt: skip
    pretrain(
        maker, state, asked, _made(tmp_path / "out"),
        report=told.append, clock=ticks.__next__,
    )  # fmt: skip
    assert told[-1].seconds > 30
    assert told[-1].fraction == 1.0
    assert told[-1].seconds_left == 0


def test_fine_tuning_starts_from_the_given_weights(store: TokenStore, tmp_path: Path) -> None:
    first = train_bilm(store, _made(tmp_path / "first"), CONFIG, options())
    kept = {name: value.clone() for name, value in first.network.parameters.items()}
    second = train_bilm(
        store,
        _made(tmp_path / "second"),
        CONFIG,
        options(steps=1, learning_rate=1e-7),
        start_from=tmp_path / "first",
    )
    for name, value in second.network.parameters.items():
        torch.testing.assert_close(value, kept[name], atol=1e-6, rtol=0)


def test_frozen_token_layer_keeps_its_bytes_while_the_rest_learns(
    store: TokenStore, tmp_path: Path
) -> None:
    first = train_bilm(store, _made(tmp_path / "first"), CONFIG, options(steps=8))
    tuned = train_bilm(
        store,
        _made(tmp_path / "tuned"),
        CONFIG,
        options(steps=8, freeze_token_layer=True),
        start_from=tmp_path / "first",
    )
    before, after = first.network.parameters, tuned.network.parameters
    kept = {name for name, value in before.items() if torch.equal(value, after[name])}
    assert kept == {name for name in before if name.startswith(("char_embed", "CNN"))}


@pytest.mark.parametrize(
    "auxiliary", [None, lambda _, layers, __: sum(each.square().mean() for each in layers)]
)
def test_frozen_token_layer_changes_no_other_gradient(
    store: TokenStore, auxiliary: Auxiliary | None
) -> None:
    network = new_state(store, CONFIG, options()).network
    _, sentences = next(epochs_of_batches(store, 64, seed=1))
    batch = network.prepare(gather_batch(store, sentences), sentences, np.random.default_rng(2))
    whole = network.step(batch, auxiliary)
    network.freeze_token_layer = True
    frozen = network.step(batch, auxiliary)
    assert (frozen.loss, frozen.auxiliary) == (whole.loss, whole.auxiliary)
    assert {name for name in whole.gradients if name not in frozen.gradients} == {
        name for name in network.parameters if name.startswith(("char_embed", "CNN"))
    }
    for name, gradient in frozen.gradients.items():
        assert torch.equal(gradient, whole.gradients[name]), name
    assert torch.equal(frozen.table_gradient, whole.table_gradient)


def test_weights_of_another_shape_are_not_fine_tuned(store: TokenStore, tmp_path: Path) -> None:
    first = _made(tmp_path / "first")
    train_bilm(store, first, CONFIG, options(steps=1))
    told = json.loads((first / "options.json").read_text())
    told["lstm"]["dim"] += 1
    (first / "options.json").write_text(json.dumps(told))
    words = (
        r"weights.hdf5 does not fit options.json: found RNN_0.* as \(32, 256\), expected \(32, 2"
    )
    with pytest.raises(ValueError, match=words):
        train_bilm(store, _made(tmp_path / "out"), CONFIG, options(), start_from=first)


def test_bias_starts_at_the_shares_of_the_words(store: TokenStore) -> None:
    state = new_state(store, CONFIG, options())
    shares = state.network.table[:, -1].exp()
    np.testing.assert_allclose(float(shares.sum()), 1.0, atol=1e-3)
    assert int(shares[3:].argmax()) == 0


def _made(path: Path) -> Path:
    path.mkdir(parents=True)
    return path
