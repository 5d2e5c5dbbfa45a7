"""Checkpoints: what they belong to, and that one is always whole."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from elmo_infer.config import BiLmConfig
from elmo_infer.training import pretrain
from elmo_infer.training.bilm import check_output_directory, train_bilm
from elmo_infer.training.checkpoint import PretrainOptions
from elmo_infer.training.presets import preset
from elmo_infer.training.teacher import Teacher
from elmo_infer.training.token_store import TokenStore, build_token_store

CONFIG = preset("tiny")


def options(**changes: object) -> PretrainOptions:
    return PretrainOptions(
        **{"steps": 8, "tokens_per_batch": 64, "warmup_steps": 2, "draws": 32, **changes}  # type: ignore[arg-type]
    )


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


def test_checkpoint_of_another_configuration_is_refused(store: TokenStore, tmp_path: Path) -> None:
    out = _made(tmp_path / "out")
    train_bilm(store, out, CONFIG, options())
    other = BiLmConfig(**{**vars(CONFIG), "cell_dim": 32})
    with pytest.raises(ValueError, match="its cell_dim is 64, but 32 was asked for"):
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
    train_bilm(store, out, CONFIG, options(steps=2), teacher=teacher)
    with monkeypatch.context() as patch:
        patch.setattr(Teacher, "states_of", lambda *_: pytest.fail("it has been read"))
        train_bilm(store, out, CONFIG, options(steps=4), teacher=teacher, resume=True)

    other = make_teacher(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "the"], dim=32)
    with pytest.raises(ValueError, match="with other options: its teacher is"):
        train_bilm(store, out, CONFIG, options(steps=6), teacher=other, resume=True)
    shutil.rmtree(out / "teacher")
    with pytest.raises(ValueError, match=r"has map_\w+ of shape .*another teacher"):
        train_bilm(store, out, CONFIG, options(steps=6), teacher=other, resume=True)


@pytest.mark.parametrize("processes", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_taught_run_that_resumes_ends_where_a_whole_one_does(
    store: TokenStore, make_teacher: Callable[..., Path], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, processes: int,
) -> None:  # fmt: skip
    monkeypatch.setattr(pretrain, "learning_rate", lambda *_: 1e-3)  # a short one's falls sooner
    teacher = make_teacher(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "the", "cat", "dog", "."])

    def run(name: str, steps: int, *, resume: bool = False) -> bytes:
        out = tmp_path / name
        out.mkdir(exist_ok=True)
        train_bilm(
            store, out, CONFIG, options(steps=steps, processes=processes), teacher=teacher,
            resume=resume,
        )  # fmt: skip
        return (out / "weights.hdf5").read_bytes() + (out / "pooling.safetensors").read_bytes()

    whole = run("whole", 6)
    run("parts", 3)
    assert run("parts", 6, resume=True) == whole
    assert run("again", 6) == whole


def test_moments_of_an_older_checkpoint_are_read(store: TokenStore, tmp_path: Path) -> None:
    out = _made(tmp_path / "out")
    train_bilm(store, out, CONFIG, options(steps=2))
    path = out / "checkpoint.pt"
    saved = torch.load(path, weights_only=True)
    for one in saved["moments"].values():
        one["updates"] = one["updates"].to(torch.int64).reshape(1, 1)
    torch.save(saved, path)
    state = train_bilm(store, out, CONFIG, options(steps=4), resume=True)
    assert {float(one.updates) for one in state.moments.values()} == {4.0}


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


def test_nothing_to_resume_is_said(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="nothing to resume"):
        check_output_directory(tmp_path, resume=True, bytes_needed=0)


@pytest.mark.parametrize("durations", [{}, {"steps": 3, "minutes": 1.0}])
def test_run_needs_one_length(durations: dict[str, float]) -> None:
    with pytest.raises(
        ValueError, match=r"give exactly one of minutes, epochs and steps.*found (none|.* and)"
    ):
        PretrainOptions(**durations)  # type: ignore[arg-type]


def _made(path: Path) -> Path:
    path.mkdir(parents=True)
    return path
