"""Training end to end on a tiny model: it learns, resumes exactly, exports what it trained."""

import csv
import itertools
import json
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
import torch.nn.functional as F

from elmo_infer import load
from elmo_infer.config import BiLmConfig
from elmo_infer.training import bilm
from elmo_infer.training.batches import epochs_of_batches
from elmo_infer.training.bilm import check_output_directory, train_bilm
from elmo_infer.training.checkpoint import PretrainOptions, new_state
from elmo_infer.training.network import Auxiliary, encode_types, run_direction
from elmo_infer.training.presets import preset
from elmo_infer.training.pretrain import TrainingProgress, pretrain
from elmo_infer.training.token_store import TokenStore, build_token_store

CONFIG = preset("tiny")


@pytest.fixture
def store(tmp_path: Path) -> TokenStore:
    rng = np.random.default_rng(5)
    words = ["the", "cat", "dog", "sat", "ran", "on", "mat", "hill", "."]
    documents = [
        [[*rng.choice(words, size=rng.integers(3, 9)), "."] for _ in range(6)] for _ in range(20)
    ]
    return build_token_store(documents, tmp_path / "text")


def options(**changes: object) -> PretrainOptions:
    return PretrainOptions(
        **{"steps": 8, "tokens_per_batch": 64, "warmup_steps": 2, "draws": 32, **changes}  # type: ignore[arg-type]
    )


def test_loss_falls(store: TokenStore, tmp_path: Path) -> None:
    train_bilm(store, _made(tmp_path / "out"), CONFIG, options(steps=120), valid=store)
    with open(tmp_path / "out" / "curve.csv", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    # Ten words at random: a model that learned their frequencies stands near 9, a new one at 10
    # or more; one that learned where the full stop stands is better still.
    assert float(rows[-1]["valid_perplexity_forward"]) < 9.0


def test_progress_ends_at_the_whole_though_the_last_batch_ends_late(
    store: TokenStore, tmp_path: Path
) -> None:
    told: list[TrainingProgress] = []
    asked = options(steps=None, minutes=0.5)
    ticks = itertools.count(0.0, 7.0)
    pretrain(
        store, new_state(store, CONFIG, asked), asked, _made(tmp_path / "out"),
        report=told.append, clock=ticks.__next__,
    )  # fmt: skip
    assert told[-1].seconds > 30
    assert told[-1].fraction == 1.0
    assert told[-1].seconds_left == 0


def test_resumed_run_ends_where_an_uninterrupted_one_does(
    store: TokenStore, tmp_path: Path
) -> None:
    whole = train_bilm(store, _made(tmp_path / "whole"), CONFIG, options(steps=8))
    # The schedule of eight steps, stopped after five: what a kill after a checkpoint leaves.
    part = _made(tmp_path / "part")
    _train_and_stop(store, part, stop_after=5)
    resumed = train_bilm(store, part, CONFIG, options(steps=8), resume=True)

    assert resumed.step == whole.step == 8
    for name, value in whole.network.parameters.items():
        assert torch.equal(value, resumed.network.parameters[name]), name
    assert torch.equal(whole.network.table, resumed.network.table)


class _Stop(Exception):
    pass


def _train_and_stop(store: TokenStore, out: Path, stop_after: int) -> None:
    def report(progress: object) -> None:
        if progress.step == stop_after:  # type: ignore[attr-defined]
            raise _Stop

    with pytest.raises(_Stop):
        train_bilm(store, out, CONFIG, options(steps=8, checkpoint_minutes=1e-9), report=report)


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
    "auxiliary", [None, lambda _, layers: sum(each.square().mean() for each in layers)]
)
def test_frozen_token_layer_changes_no_other_gradient(
    store: TokenStore, auxiliary: Auxiliary | None
) -> None:
    network = new_state(store, CONFIG, options()).network
    _, sentences, types = next(epochs_of_batches(store, 64, seed=1))
    batch = network.prepare(types, sentences, np.random.default_rng(2))
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


def test_chosen_mix_is_the_models_default(store: TokenStore, tmp_path: Path) -> None:
    out = _made(tmp_path / "out")
    documents = [[["the", "cat", "sat", "on", "mat", "."]] * 2] * 130
    large = build_token_store(documents, tmp_path / "large")
    train_bilm(large, out, CONFIG, options(steps=1), layer_weights=(0.5, 0.3, 0.2))
    found = load(str(out), device="cpu").default_layer_weights
    np.testing.assert_allclose(found, (0.5, 0.3, 0.2), atol=1e-6)
    tuned = _made(tmp_path / "tuned")
    train_bilm(large, tuned, CONFIG, options(steps=1), start_from=out)
    assert load(str(tuned), device="cpu").default_layer_weights == found
    with pytest.raises(ValueError, match="2 layer weights were given for 3 layers"):
        train_bilm(store, _made(tmp_path / "b"), CONFIG, options(), layer_weights=(1.0, 0.0))


def test_same_seed_gives_the_same_bytes(store: TokenStore, tmp_path: Path) -> None:
    for name in ("one", "two"):
        train_bilm(store, _made(tmp_path / name), CONFIG, options())
    one, two = ((tmp_path / name / "weights.hdf5").read_bytes() for name in ("one", "two"))
    assert one == two


def test_checkpoint_of_another_configuration_is_refused(store: TokenStore, tmp_path: Path) -> None:
    out = _made(tmp_path / "out")
    train_bilm(store, out, CONFIG, options())
    other = BiLmConfig(**{**vars(CONFIG), "cell_dim": 32})
    with pytest.raises(ValueError, match="its cell_dim is 64, the one asked for is 32"):
        train_bilm(store, out, other, options(), resume=True)
    with pytest.raises(ValueError, match="trained with seed=1, not 2"):
        train_bilm(store, out, CONFIG, options(seed=2), resume=True)


def test_resumed_run_is_taught_what_it_was_taught_before(
    store: TokenStore,
    make_teacher: Callable[..., Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    out = _made(tmp_path / "out")
    teacher = make_teacher(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "the", "cat", "dog", "."])
    found = torch.randn(32, 5, generator=torch.Generator().manual_seed(0))
    monkeypatch.setattr(bilm, "sense_map", lambda *_: found)
    train_bilm(store, out, CONFIG, options(steps=2), teacher=teacher)
    monkeypatch.setattr(bilm, "sense_map", lambda *_: pytest.fail("it is in the checkpoint"))

    state = train_bilm(store, out, CONFIG, options(steps=4), teacher=teacher, resume=True)

    assert torch.equal(state.auxiliary_buffers["senses"], found)
    other = make_teacher(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "the"], dim=32)
    with pytest.raises(ValueError, match=r"map_sentence of shape \(32, 16\), expected \(32, 32\)"):
        train_bilm(store, out, CONFIG, options(steps=6), teacher=other, resume=True)


def test_checkpoint_of_another_text_is_refused(store: TokenStore, tmp_path: Path) -> None:
    out = _made(tmp_path / "out")
    train_bilm(store, out, CONFIG, options())
    other = build_token_store([[["other", "text", "."]]], tmp_path / "other")
    with pytest.raises(ValueError, match="trained on another text"):
        train_bilm(other, out, CONFIG, options(), resume=True)


def test_failed_write_leaves_the_last_checkpoint_whole(
    store: TokenStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = _made(tmp_path / "out")
    train_bilm(store, out, CONFIG, options())
    before = (out / "checkpoint.pt").read_bytes()

    def no_room(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", no_room)
    with pytest.raises(OSError, match="No space left"):
        train_bilm(store, out, CONFIG, options(steps=12), resume=True)
    assert (out / "checkpoint.pt").read_bytes() == before


def test_directory_of_another_run_is_refused(tmp_path: Path) -> None:
    (tmp_path / "curve.csv").touch()
    with pytest.raises(FileExistsError, match=r"is not empty \(found curve.csv\)"):
        check_output_directory(tmp_path, resume=False, bytes_needed=0)


def test_full_disk_is_seen_before_training(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="no room in"):
        check_output_directory(tmp_path / "out", resume=False, bytes_needed=2**62)


def test_nothing_to_resume_is_said(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="nothing to resume"):
        check_output_directory(tmp_path, resume=True, bytes_needed=0)


def test_unknown_preset_lists_the_known_ones() -> None:
    with pytest.raises(ValueError, match="unknown preset 'huge'; expected one of tiny, compact"):
        preset("huge")


@pytest.mark.parametrize("durations", [{}, {"steps": 3, "minutes": 1.0}])
def test_run_needs_one_length(durations: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="exactly one of minutes, epochs and steps"):
        PretrainOptions(**durations)  # type: ignore[arg-type]


def test_bias_starts_at_the_shares_of_the_words(store: TokenStore) -> None:
    state = new_state(store, CONFIG, options())
    shares = state.network.table[:, -1].exp()
    np.testing.assert_allclose(float(shares.sum()), 1.0, atol=1e-3)
    assert int(shares[3:].argmax()) == 0


def _made(path: Path) -> Path:
    path.mkdir(parents=True)
    return path
