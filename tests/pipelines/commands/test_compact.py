"""The command compact."""

from pathlib import Path

import pytest

from pipelines.__main__ import main


def test_compact_says_when_there_is_nothing_to_do(
    corpus_dir: str, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["compact", "--corpus", corpus_dir])
    assert "into 1\nnext: sensegrep index" in capsys.readouterr().out
    snapshots = sorted(Path(corpus_dir).glob("snapshots/*"))
    assert main(["compact", "--corpus", corpus_dir]) == 0
    assert capsys.readouterr().out == "nothing to compact in 1 segment\n"
    assert sorted(Path(corpus_dir).glob("snapshots/*")) == snapshots
