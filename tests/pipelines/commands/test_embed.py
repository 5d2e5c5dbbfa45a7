"""The commands embed and run as typed: exit statuses, what is printed."""

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipelines.__main__ import main
from pipelines.api import Corpus
from pipelines.commands.embed_options import parse_layer_weights

RECORDS = [{"id": f"d{n}", "text": f"Text {n} on the bank of a river."} for n in range(5)]


@pytest.fixture
def sensegrep(tmp_path: Path, tiny_elmo_dir: Path) -> Callable[..., int]:
    """A function that runs a command on tmp_path/corpus with the tiny model."""

    def run(command: str, *words: Any) -> int:
        place = ["--corpus", str(tmp_path / "corpus"), "--model", str(tiny_elmo_dir)]
        return main([command, *map(str, words), *place])

    return run


def test_run_embeds_and_indexes(
    sensegrep: Any, write_jsonl: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert sensegrep("run", write_jsonl(RECORDS)) == 0
    out = capsys.readouterr().out
    assert "embedded 5 of 5 documents read: 5 sentences, 45 tokens" in out
    assert "next: sensegrep search --corpus" in out
    corpus = Corpus.open(tmp_path / "corpus")
    assert corpus.snapshot.index is not None


def test_rejects_give_status_3_each_time_and_their_file(
    sensegrep: Any, write_jsonl: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = write_jsonl([*RECORDS, "{broken", {"id": "d0", "text": "Twice."}])
    assert sensegrep("embed", source) == 3
    out = capsys.readouterr().out
    assert "rejected: 2 (1 invalid-json, 1 duplicate-id)" in out
    [named] = [line for line in out.splitlines() if line.startswith("rejects: ")]
    assert Path(named.removeprefix("rejects: ")).is_file()
    assert "all rejects: sensegrep info --rejects --corpus " in out
    assert sensegrep("embed", source) == 3
    assert "unchanged: 5; rejected: 2" in capsys.readouterr().out
    assert len(Corpus.open(tmp_path / "corpus").segments) == 1


def test_json_report_adds_up(
    sensegrep: Any, write_jsonl: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    sensegrep("embed", write_jsonl([*RECORDS, "{broken"]), "--json")
    report = json.loads(capsys.readouterr().out)
    assert report["read"] == report["written"] + report["rejected"] + report["unchanged"] == 6
    assert report["reasons"] == {"invalid-json": 1}


def test_summary_of_one_is_in_the_singular(
    sensegrep: Any, write_jsonl: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    source = write_jsonl([{"id": "only", "text": "One"}])
    sensegrep("embed", source, "--dry-run")
    sensegrep("embed", source)
    out = capsys.readouterr().out
    assert "would embed 1 of 1 document read (0 of them changed), in 1 segment\n" in out
    assert "embedded 1 of 1 document read: 1 sentence, 1 token in" in out
    assert "1 document, 1 sentence, 1 token in 1 segment\n" in out


def test_dry_run_counts_and_changes_nothing(
    sensegrep: Any, write_jsonl: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert sensegrep("embed", write_jsonl(RECORDS), "--dry-run", "--commit-every", 2) == 0
    assert "would embed 5 of 5 documents read (0 of them changed), in 3 segments" in (
        capsys.readouterr().out
    )
    assert not (tmp_path / "corpus").exists()


def test_prune_says_what_it_would_do_and_what_it_did(
    sensegrep: Any, write_jsonl: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    sensegrep("embed", write_jsonl(RECORDS))
    source = write_jsonl(RECORDS[:2])
    capsys.readouterr()
    sensegrep("embed", source, "--prune", "--dry-run")
    out = capsys.readouterr().out
    assert "\nwould prune: 3\n" in out
    assert "next:" not in out
    sensegrep("embed", source, "--prune")
    out = capsys.readouterr().out
    assert "\npruned: 3\n" in out
    assert "next: sensegrep index" in out
    sensegrep("embed", source, "--prune")
    out = capsys.readouterr().out
    assert "\npruned: 0\n" in out
    assert "next:" not in out


def test_standard_input_is_read_as_json_lines(
    sensegrep: Any, monkeypatch: pytest.MonkeyPatch, rows_of: Any
) -> None:
    class Stdin:
        buffer = io.BytesIO("".join(json.dumps(r) + "\n" for r in RECORDS).encode())

    monkeypatch.setattr("sys.stdin", Stdin)
    assert sensegrep("embed", "-", "--commit-every", 2) == 0
    assert [row["doc_id"] for row in rows_of("documents")] == [r["id"] for r in RECORDS]


def test_pretokenized_text_keeps_its_tokens(sensegrep: Any, tmp_path: Path, rows_of: Any) -> None:
    source = tmp_path / "in.txt"
    source.write_text("Mr . X can't go .\nNext one\n")
    assert sensegrep("embed", source, "--pretokenized", "--tokens", "all") == 0
    tokens = [row["tokens"] for row in rows_of("sentences")]
    assert tokens == [["Mr", ".", "X", "can't", "go", "."], ["Next", "one"]]


@pytest.mark.parametrize(
    ("words", "status", "message"),
    [
        (["--commit-evry=5"], 2, "unknown option --commit-evry"),
        (["--runer=FlinkRunner"], 2, "did you mean --runner?"),
        (["--layer-weights", "x"], 2, "--layer-weights is 'x'"),
        (["--workers", "2", "--runner", "FlinkRunner"], 2, "--workers is for a run on this"),
        (["x.jsonl.gz", "--runner", "FlinkRunner"], 2, "is a path of this"),
        (["--device", "cuda:7"], 1, "cuda"),
    ],
)
def test_bad_usage_is_told(
    words: list[str],
    status: int,
    message: str,
    sensegrep: Any,
    write_jsonl: Any,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("x.jsonl.gz").write_bytes(b"")
    assert sensegrep("embed", write_jsonl(RECORDS), *words) == status
    assert message in capsys.readouterr().err
    assert not (tmp_path / "corpus").exists()


def test_layer_weights_are_numbers_or_one_layer() -> None:
    assert parse_layer_weights("0,0.5,0.5") == (0.0, 0.5, 0.5)
    assert parse_layer_weights("2") == 2
    assert parse_layer_weights(None) is None


def test_layer_can_be_picked(sensegrep: Any, write_jsonl: Any, tmp_path: Path) -> None:
    sensegrep("embed", write_jsonl(RECORDS), "--layer-weights", "1")
    [segment] = Corpus.open(tmp_path / "corpus").segments
    assert segment.options["layer_weights"] == [0.0, 1.0, 0.0]
