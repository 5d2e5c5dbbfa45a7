"""verify: which files are missing, short or changed."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipelines.__main__ import main
from pipelines.api import Corpus
from pipelines.maintenance.verify import verify


def test_verify_finds_nothing_wrong_with_what_was_written(corpus_dir: str) -> None:
    report = verify(Corpus.open(corpus_dir))
    assert report.faults == []
    assert report.files == 14  # ten parts and four snapshots


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda path: path.unlink(), "is missing"),
        (lambda path: path.write_bytes(path.read_bytes()[:-1]), "bytes, expected"),
        (lambda path: flip_a_bit(path), "it was damaged or changed"),
    ],
)
def test_verify_names_the_damaged_file(
    damage: Callable[[Path], Any], words: str, corpus_dir: str, capsys: pytest.CaptureFixture[str]
) -> None:
    part = "segments/00000002/sentences/part-00000.parquet"
    damage(Path(corpus_dir) / part)
    assert main(["verify", "--corpus", corpus_dir]) == 1
    captured = capsys.readouterr()
    assert f"fault: {part}" in captured.err
    assert words in captured.err
    assert ": 1 fault\nrestore these files from a backup, or embed" in captured.out
    assert "sensegrep index" not in captured.out


def flip_a_bit(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-9])


def change_a_count(path: Path) -> None:
    path.write_text(path.read_text().replace('"sentences": 4', '"sentences": 3'))


def empty_the_tokens(path: Path) -> None:
    fields = json.loads(path.read_text())
    fields["parts"]["tokens"] = []
    path.write_text(json.dumps(fields))


def drop_the_segments(path: Path) -> None:
    fields = json.loads(path.read_text())
    fields["segments"] = []
    path.write_text(json.dumps(fields))


@pytest.mark.parametrize(
    ("pattern", "damage"),
    [
        ("tombstones/*.parquet", cut),
        ("tombstones/*.parquet", lambda path: path.write_bytes(b"")),
        ("tombstones/*.parquet", lambda path: path.unlink()),
        ("segments/00000001/segment.json", change_a_count),
        ("segments/00000002/segment.json", empty_the_tokens),
        ("snapshots/00000005.json", drop_the_segments),
        ("snapshots/00000002.json", cut),
    ],
)
def test_verify_finds_changed_manifests_and_tombstones(
    pattern: str, damage: Callable[[Path], Any], corpus_dir: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["delete", "d1", "--corpus", corpus_dir]) == 0
    [path] = Path(corpus_dir).glob(pattern)
    damage(path)
    assert main(["verify", "--corpus", corpus_dir]) == 1
    assert path.name in capsys.readouterr().err


def test_verify_tells_of_a_purge_that_was_stopped(
    corpus_dir: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(*_: Any, **__: Any) -> None:
        raise OSError("the machine went away")

    monkeypatch.setattr("pipelines.maintenance.delete.vacuum", stopped)
    assert main(["delete", "d1", "--purge", "--corpus", corpus_dir]) == 1
    monkeypatch.undo()
    assert main(["verify", "--corpus", corpus_dir]) == 1
    assert "a purge was not finished: rows of deleted documents" in capsys.readouterr().err
    assert main(["delete", "d1", "--purge", "--corpus", corpus_dir]) == 0
    assert main(["verify", "--corpus", corpus_dir]) == 0
