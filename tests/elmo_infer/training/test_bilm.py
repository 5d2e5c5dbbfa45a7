"""A training run from text to a model's directory."""

import csv
from pathlib import Path

import numpy as np
import pytest

from elmo_infer import load
from elmo_infer.training.bilm import check_output_directory, train_bilm
from elmo_infer.training.checkpoint import PretrainOptions
from elmo_infer.training.presets import preset
from elmo_infer.training.token_store import TokenStore, build_token_store

CONFIG = preset("tiny")


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


def test_directory_of_another_run_is_refused(tmp_path: Path) -> None:
    (tmp_path / "curve.csv").touch()
    with pytest.raises(FileExistsError, match=r"is not empty \(found curve.csv\)"):
        check_output_directory(tmp_path, resume=False, bytes_needed=0)


def test_full_disk_is_seen_before_training(tmp_path: Path) -> None:
    with pytest.raises(OSError, match=r"no room in .*need [1-9].* MB; free some, or give"):
        check_output_directory(tmp_path / "out", resume=False, bytes_needed=2**62)


def _made(path: Path) -> Path:
    path.mkdir(parents=True)
    return path
