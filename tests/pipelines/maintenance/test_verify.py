"""verify: which files are missing, short or changed."""

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
    assert report.files == 10


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
    assert ": 1 fault\n" in captured.out


def flip_a_bit(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
