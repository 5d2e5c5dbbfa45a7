"""The teacher's losses on held-out text: measured with nothing learned, the same each time."""

from collections.abc import Callable
from pathlib import Path

import pytest

from elmo_infer.training.bilm import train_bilm
from elmo_infer.training.checkpoint import PretrainOptions
from elmo_infer.training.distillation import COMMON_NAME
from elmo_infer.training.loss_weights import LossWeights
from elmo_infer.training.presets import preset
from elmo_infer.training.pretrain import PARTS, TrainingProgress
from elmo_infer.training.token_store import TokenStore, build_token_store

PIECES = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "the", "cat", "dog", "sat", "ran", "on", "."]


@pytest.fixture
def valid(tmp_path: Path) -> TokenStore:
    sentences = [["the", "cat", "sat", "on", "mice", "."], ["a", "dog", "ran", "."]] * 200
    return build_token_store([sentences], tmp_path / "valid")


def run(
    store: TokenStore, valid: TokenStore, out: Path, teacher: Path, steps: int
) -> list[TrainingProgress]:
    out.mkdir(exist_ok=True)
    told: list[TrainingProgress] = []
    train_bilm(
        store, out, preset("tiny"),
        PretrainOptions(steps=steps, tokens_per_batch=64, warmup_steps=2, draws=16),
        valid=valid, teacher=teacher, report=told.append,
    )  # fmt: skip
    return told


def test_losses_fall_on_text_that_is_not_trained_on(
    store: TokenStore, valid: TokenStore, make_teacher: Callable[..., Path], tmp_path: Path
) -> None:
    teacher = make_teacher(PIECES)
    first = run(store, valid, tmp_path / "short", teacher, 1)[-1].held_out
    last = run(store, valid, tmp_path / "long", teacher, 80)[-1].held_out
    assert set(first) == {*vars(LossWeights()), COMMON_NAME}
    for name in ("words", "sentences", "single_words"):
        assert last[name] < 0.9 * first[name], name
    again = run(store, valid, tmp_path / "again", teacher, 80)[-1].held_out
    assert again == last
    lines = (tmp_path / "long" / PARTS).read_text().splitlines()
    assert lines[0] == "step,tokens,loss,training,held_out"
    assert f"80,{lines[-1].split(',')[1]},single_words," in lines[-1] or COMMON_NAME in lines[-1]
    card = (tmp_path / "long" / "MODEL_CARD.md").read_text()
    assert f"| words | {last['words']:.4f} |" in card
