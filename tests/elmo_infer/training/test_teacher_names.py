"""A teacher asked for by name is found where downloads lie."""

from pathlib import Path

import pytest

from elmo_infer.training.teacher_names import find_teacher

SNAPSHOTS = "models--sentence-transformers--all-mpnet-base-v2/snapshots"


def test_a_directory_is_taken_as_it_is(tmp_path: Path) -> None:
    assert find_teacher(str(tmp_path)) == tmp_path


def test_a_name_is_looked_for_among_downloads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.delenv("SENTENCE_TRANSFORMERS_HOME", raising=False)
    with pytest.raises(
        FileNotFoundError, match=r"mpnet .* is not on this machine: looked in .*hub"
    ):
        find_teacher("mpnet")
    snapshot = tmp_path / "hub" / SNAPSHOTS / "abc"
    snapshot.mkdir(parents=True)
    (snapshot / "model.safetensors").touch()
    assert find_teacher("mpnet") == snapshot
    with pytest.raises(FileNotFoundError, match="all-MiniLM-L6-v2"):
        find_teacher("minilm")
