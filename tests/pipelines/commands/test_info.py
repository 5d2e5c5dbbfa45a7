"""The command info."""

import subprocess
import sys
from pathlib import Path

import pytest

from pipelines.__main__ import main


def test_info_tells_what_is_there(corpus_dir: str, capsys: pytest.CaptureFixture[str]) -> None:
    main(["delete", "d1", "--corpus", corpus_dir])
    assert main(["info", "--corpus", corpus_dir, "--rejects"]) == 0
    text = capsys.readouterr().out
    assert "documents    5" in text
    assert "rejects      1 (1 invalid-json)" in text
    assert "tombstones   1 document; to drop their rows: sensegrep compact" in text
    assert "invalid-json: Expecting property name" in text


def test_missing_corpus_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", "--corpus", str(tmp_path / "none")]) == 1
    assert "there is no corpus at" in capsys.readouterr().err


def test_info_starts_without_the_model_s_packages(corpus_dir: str) -> None:
    program = (
        "import sys\nfrom pipelines.__main__ import main\n"
        f"main(['info', '--corpus', {corpus_dir!r}])\n"
        "print(sorted({m.split('.')[0] for m in sys.modules} & {'torch', 'apache_beam', 'faiss',"
        " 'spacy', 'scipy'}))"
    )
    found = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert found.stdout.splitlines()[-1] == "[]"
