"""A softmax comes back as it was, to float16, and its rows find their words."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from elmo_infer.training.saved_softmax import SOFTMAX, read_softmax, take_over, write_softmax


@pytest.fixture
def table() -> torch.Tensor:
    return torch.randn(6, 5, generator=torch.Generator().manual_seed(0))


def written(directory: Path, table: torch.Tensor, words: list[str]) -> Path:
    (directory / "weights.hdf5").touch()
    write_softmax(directory, table, words)
    return directory


def test_rows_and_words_come_back(table: torch.Tensor, tmp_path: Path) -> None:
    found = read_softmax(written(tmp_path, table, ["the", "cat", "sat", "on"]))
    assert found is not None
    torch.testing.assert_close(found[0], table, atol=2e-3, rtol=0)
    assert found[1] == ["the", "cat", "sat"]  # as many as there are rows


def test_a_model_without_one_has_none(tmp_path: Path) -> None:
    assert read_softmax(tmp_path) is None


def test_rows_go_to_the_words_they_are_of(table: torch.Tensor) -> None:
    new = torch.zeros(5, 5)
    assert take_over(new, ["sat", "dog", "the"], (table, ["the", "cat", "sat"])) == 1
    torch.testing.assert_close(new[:4], torch.cat([table[:3], table[5:6]]))
    assert not new[4].any()  # nobody knows the dog


def test_another_width_is_left_alone(table: torch.Tensor) -> None:
    new = torch.ones(4, 3)
    assert take_over(new, ["the"], (table, ["the", "cat", "sat"])) == 0
    assert bool((new == 1).all())


def test_another_file_of_that_name_is_refused(table: torch.Tensor, tmp_path: Path) -> None:
    save_file({"query": table}, str(tmp_path / SOFTMAX))
    with pytest.raises(ValueError, match="is not a saved softmax: expected `table` and its words"):
        read_softmax(tmp_path)
    save_file({"table": table}, str(tmp_path / SOFTMAX), {"words": '["the"]'})
    with pytest.raises(ValueError, match="has 6 rows for 1 words; expected 3 more than words"):
        read_softmax(tmp_path)
