"""Fixtures: a small corpus made by the commands themselves, and a command run as typed."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from pipelines.__main__ import main

RIVER = ["They sat on the bank of the river .", "The bank of the stream was muddy ."]
MONEY = ["He took the money to the bank .", "The bank gave her a loan ."]


@pytest.fixture(scope="session")
def embedded_and_indexed(tmp_path_factory: pytest.TempPathFactory, tiny_elmo_dir: Path) -> str:
    """A corpus that `corpus` hands out; 33 documents, 32 of them with the word bank."""
    directory = tmp_path_factory.mktemp("commands")
    records = [
        {"id": f"{topic}/{number}", "text": text, "topic": topic}
        for topic, texts in (("river", RIVER), ("money", MONEY))
        for number, text in enumerate(texts * 8)
    ]
    records.append({"id": "other", "text": "Banks lend. Bank BANK."})
    source = directory / "in.jsonl"
    source.write_text("".join(json.dumps(record) + "\n" for record in records))
    root = str(directory / "corpus")
    arguments = ["embed", str(source), "--corpus", root, "--model", str(tiny_elmo_dir)]
    assert main([*arguments, "--tokens", "all"]) == 0
    assert main(["index", "--corpus", root]) == 0
    return root


@pytest.fixture
def corpus(embedded_and_indexed: str) -> str:
    """A small corpus that was embedded and indexed by the commands; tests change nothing in it."""
    return embedded_and_indexed


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """A function that runs a command; returns status, standard output, standard error."""

    def run_command(*arguments: str) -> tuple[int, str, str]:
        capsys.readouterr()
        status = main(list(arguments))
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return run_command
