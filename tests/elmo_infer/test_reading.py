"""A model is read the same whether its tensors are kept or read again, and found by its name."""

from pathlib import Path

import pytest

from elmo_infer import load
from elmo_infer.formats.model_files import ModelFiles
from elmo_infer.reading import model_location, read_beside, read_model


def test_tensors_that_are_kept_are_read_once(tiny_elmo_dir: Path) -> None:
    files = ModelFiles.find(str(tiny_elmo_dir))
    again, kept = read_model(files, "zero"), read_model(files, "zero", keep_all=True)
    assert kept.fingerprint == again.fingerprint == load(tiny_elmo_dir, device="cpu").fingerprint
    assert kept.weights.lstm[0][0]() is kept.weights.lstm[0][0]()
    assert again.weights.lstm[0][0]() is not again.weights.lstm[0][0]()


def test_what_decides_a_vector_is_in_the_fingerprint(tiny_elmo_dir: Path) -> None:
    files = ModelFiles.find(str(tiny_elmo_dir))
    assert read_model(files, "warm").fingerprint != read_model(files, "zero").fingerprint


def test_files_beside_a_model(tiny_elmo_dir: Path) -> None:
    assert read_beside(str(tiny_elmo_dir), "options.json") is not None
    assert read_beside(str(tiny_elmo_dir), "senses.safetensors") is None
    assert read_beside("absent/model", "options.json") is None


def test_a_name_that_is_no_model_lists_those_that_are() -> None:
    assert Path(model_location("en-small")).is_dir()
    with pytest.raises(FileNotFoundError, match=r"bundled are: en-small, en-small-0\.1"):
        model_location("en-smal")
