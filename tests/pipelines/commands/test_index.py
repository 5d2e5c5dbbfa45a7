"""The command index: its report, and what it refuses."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipelines.api import Corpus

Run = Callable[..., tuple[int, str, str]]


def test_the_index_report_says_what_was_measured(corpus: str, run: Run) -> None:
    _, out, _ = run("index", "--corpus", corpus)
    assert "up to date: the index covers every segment" in out
    assert "recall@10 1.000" in out
    _, out, _ = run("index", "--corpus", corpus, "--json")
    report: dict[str, Any] = json.loads(out)
    assert report["index_id"] == Corpus.open(corpus).snapshot.index
    assert report["tables"]["tokens"]["latency_ms"].keys() == {"p50", "p99"}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--max-memory", "lots"], "'lots' is not a size; expected one such as 4G"),
        (["--max-memory", "1M"], "needs at least"),
        (["--max-memry=4G"], "unknown option --max-memry"),
        (["--factory", "Nonsense"], "not an index that can be built here"),
        (["--factory", "IVF65536,SQfp16"], "needs at least 72106 vectors for training"),
    ],
)
def test_an_impossible_index_exits_2(
    corpus: str, run: Run, arguments: list[str], words: str
) -> None:
    status, _, err = run("index", "--corpus", corpus, *arguments)
    assert status == 2
    assert words in err


def test_beam_s_remarks_are_not_printed(tmp_path: Path) -> None:
    """In a process of its own: Beam makes them when it is imported."""
    command = [sys.executable, "-m", "pipelines", "index", "--corpus", str(tmp_path / "nowhere")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    [line] = done.stderr.splitlines()
    assert line.startswith("sensegrep: error:")
