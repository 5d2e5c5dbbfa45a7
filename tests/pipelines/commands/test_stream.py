"""`sensegrep stream` as a user meets it: reports, exit statuses, and what bad input gets."""

import json
from pathlib import Path

import pytest

from pipelines.__main__ import main
from pipelines.api import Corpus


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "in").mkdir()
    return tmp_path / "in"


@pytest.fixture
def arguments(folder: Path, tmp_path: Path, tiny_elmo_dir: Path) -> list[str]:
    corpus = ["--corpus", str(tmp_path / "corpus"), "--model", str(tiny_elmo_dir)]
    return ["stream", f"watch:{folder}/*.jsonl", *corpus, "--until-idle", "0.1s"]


def test_a_report_and_the_corpus(
    folder: Path, arguments: list[str], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    lines = ['{"id": "a", "text": "One."}', '{"id": "a", "text": "Two."}', "{oops"]
    (folder / "1.jsonl").write_text("\n".join(lines))
    assert main([*arguments, "--json"]) == 3
    report = json.loads(capsys.readouterr().out)
    expected = {"read": 3, "written": 1, "replaced": 1, "rejected": 1, "commits": 1}
    assert {name: report[name] for name in expected} == expected
    assert report["reasons"] == {"invalid-json": 1}

    assert main(["info", "--corpus", str(tmp_path / "corpus")]) == 0
    found = capsys.readouterr().out
    assert f"stream       watch:{folder}/*.jsonl, epoch 1" in found
    assert "  lag        0 records, 0.0 s at the last commit" in found
    assert main(["info", "--corpus", str(tmp_path / "corpus"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["stream"]["positions"] == {"files": 1}

    (folder / "2.jsonl").write_text('{"id": "a", "deleted": true}\n')
    assert main(arguments) == 0
    assert "deletions: 1" in capsys.readouterr().out
    assert Corpus.open(tmp_path / "corpus").live_counts()["documents"] == 0


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--every", "soon"], "--every is 'soon'; expected a duration"),
        (["--every", "0s"], "--every is 0.0s, expected more than 0s"),
        (["--ahead", "0"], "--ahead and --ahead-bytes must be at least 1"),
        (["--ahead-bytes", "many"], "'many'"),
        (["--compact-every", "1"], "--compact-every is 1, expected 2 or more"),
        (["--index-every", "0s"], "--index-every is 0.0s"),
        (["--max-reject-fraction", "2"], "--max-reject-fraction is 2.0, expected 0 to 1"),
        (["--max-starts", "0"], "--max-starts is 0"),
        (["--kafka-config", "x"], "--kafka-config is for kafka: sources"),
        (["--prune"], "--prune is an option of `sensegrep embed`; a stream deletes by messages"),
        (["--commit-every", "5"], "a stream commits by time: give --every"),
        (["--workers=2"], "a stream embeds in one process"),
        (["--everry", "5s"], "unknown option --everry"),
        (["--metrics-port", "99999"], "--metrics-port 99999"),
    ],
)
def test_bad_options_are_told_before_anything_is_read(
    arguments: list[str],
    more: list[str],
    words: str,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    assert main([*arguments, *more]) == 2
    assert words in capsys.readouterr().err
    assert not (tmp_path / "corpus").exists()


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (["--corpus", "/proc/corpus"], "the corpus at /proc/corpus cannot be written:"),
        (["--corpus", "{folder}/1.jsonl"], "1.jsonl is a file; a corpus is a directory"),
        (["--model", "none"], "no model 'none'"),
    ],
)
def test_what_cannot_work_is_told_at_once_and_not_tried_again(
    folder: Path,
    arguments: list[str],
    given: list[str],
    words: str,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    (folder / "1.jsonl").write_text('{"id": "a", "text": "Hi."}')
    assert main([*arguments, *(word.format(folder=folder) for word in given)]) == 2
    assert words in capsys.readouterr().err
    assert caplog.messages == []


def test_an_older_corpus_says_nothing_of_a_stream(
    corpus_dir: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["info", "--corpus", corpus_dir]) == 0
    assert "stream" not in capsys.readouterr().out
