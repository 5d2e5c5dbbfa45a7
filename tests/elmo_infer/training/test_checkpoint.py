"""Checkpoints: what they belong to, and that one is always whole."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from elmo_infer.config import BiLmConfig
from elmo_infer.training import bilm
from elmo_infer.training.bilm import check_output_directory, train_bilm
from elmo_infer.training.checkpoint import PretrainOptions
from elmo_infer.training.presets import preset
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


def test_nothing_to_resume_is_said(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="nothing to resume"):
        check_output_directory(tmp_path, resume=True, bytes_needed=0)


@pytest.mark.parametrize("durations", [{}, {"steps": 3, "minutes": 1.0}])
def test_run_needs_one_length(durations: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="exactly one of minutes, epochs and steps"):
        PretrainOptions(**durations)  # type: ignore[arg-type]


def _made(path: Path) -> Path:
    path.mkdir(parents=True)
    return path
