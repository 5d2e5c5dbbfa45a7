"""`sensegrep run` as a scheduler runs it, night after night."""

import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from pipelines.__main__ import main
from pipelines.corpus.view import CorpusView


@pytest.fixture
def night(tmp_path: Path, tiny_elmo_dir: Path) -> Callable[..., int]:
    """A function that feeds documents to a corpus as a scheduler would."""

    def run(texts: dict[str, str], *flags: str) -> int:
        lines = [json.dumps({"id": name, "text": text}) for name, text in texts.items()]
        (tmp_path / "tonight.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
        corpus = str(tmp_path / "corpus")
        words = ["run", str(tmp_path / "tonight.jsonl"), "--corpus", corpus, *flags]
        return main([*words, "--model", str(tiny_elmo_dir), "--tokens", "all"])

    return run


def opened(tmp_path: Path) -> CorpusView:
    return CorpusView.open(str(tmp_path / "corpus"))


def test_nights_leave_few_segments_and_no_old_files(
    night: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    upkeep = ("--compact-over", "3", "--vacuum-older-than", "0s")
    for number in range(12):
        assert night({f"d{number}": f"The bank of night {number}."}, *upkeep) == 0
        assert len(opened(tmp_path).segments) <= 3
    printed = capsys.readouterr().out
    assert "compacted 4 segments into" in printed
    assert "old files" in printed
    view = opened(tmp_path)
    assert view.live_counts()["documents"] == 12
    folders = [path for path in (tmp_path / "corpus" / "segments").iterdir() if path.is_dir()]
    assert len(folders) <= len(view.segments) + 1  # and the highest reservation
    assert main(["verify", "--corpus", str(tmp_path / "corpus")]) == 0


def test_without_thresholds_nothing_is_merged(night: Callable[..., int], tmp_path: Path) -> None:
    for number in range(4):
        assert night({f"d{number}": f"The bank of night {number}."}) == 0
    assert len(opened(tmp_path).segments) == 4


def test_a_segment_of_mostly_deleted_documents_is_rewritten(
    night: Callable[..., int], tmp_path: Path
) -> None:
    first = {f"d{number}": f"The bank, {number}." for number in range(10)}
    changed = {f"d{number}": f"The river, {number}." for number in range(4)}
    assert night(first, "--compact-over", "9") == 0
    assert night(changed, "--compact-over", "9") == 0
    view = opened(tmp_path)
    assert not view.tombstones
    assert sorted(s.counts["documents"] for s in view.segments) == [4, 6]


def test_rejects_fail_a_run_unless_told_otherwise(
    night: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    texts = {"a": "The bank.", "b": ""}
    assert night(texts) == 3
    assert night(texts, "--fail-on-rejects") == 3
    capsys.readouterr()
    assert night(texts, "--no-fail-on-rejects") == 0
    assert "rejected: 1" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (("--compact-over", "0"), "--compact-over is 0, expected at least 1"),
        (
            ("--vacuum-older-than", "soon"),
            "--vacuum-older-than is 'soon'; expected a duration such as 90s",
        ),
    ],
)
def test_impossible_thresholds_are_refused_before_any_work(
    night: Callable[..., int],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    flags: tuple[str, str],
    words: str,
) -> None:
    assert night({"a": "The bank."}, *flags) == 2
    assert words in capsys.readouterr().err
    assert not (tmp_path / "corpus").exists()


ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def start(tmp_path: Path, tiny_elmo_dir: Path) -> Callable[..., "subprocess.Popen[str]"]:
    """A function that starts a run of the documents with these numbers in a process of its own."""

    def started(name: str, numbers: range) -> "subprocess.Popen[str]":
        lines = [{"id": f"d{n}", "text": f"The bank of night {n}. " * 5} for n in numbers]
        path = tmp_path / f"{name}.jsonl"
        path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
        command = [sys.executable, "-m", "pipelines", "run", str(path)]
        command += ["--corpus", str(tmp_path / "corpus"), "--model", str(tiny_elmo_dir)]
        command += ["--commit-every", "10", "--compact-over", "3", "--vacuum-older-than", "0s"]
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
        return subprocess.Popen(
            command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )

    return started


def assert_whole(tmp_path: Path, documents: int) -> None:
    view = opened(tmp_path)
    names = [name for b in view.read("documents") for name in b.column("doc_id").to_pylist()]
    assert sorted(names) == sorted(f"d{n}" for n in range(documents))
    assert view.snapshot.index is not None
    assert main(["verify", "--corpus", str(tmp_path / "corpus")]) == 0


@pytest.mark.slow
def test_a_second_run_beside_one_leaves_with_words_or_finds_nothing_to_do(
    start: Callable[..., "subprocess.Popen[str]"], tmp_path: Path
) -> None:
    runs = [start("one", range(80)), start("two", range(80))]
    said = [process.communicate(timeout=180)[0] for process in runs]
    statuses = [process.returncode for process in runs]
    assert 0 in statuses, said
    for status, words in zip(statuses, said, strict=True):
        assert status in (0, 1)
        assert "Traceback" not in words
        if status == 1:
            assert "another writer has committed" in words
            assert "run the command again" in words
    again = start("one", range(80))
    assert again.communicate(timeout=180)[0].startswith("sensegrep: model")
    assert again.returncode == 0
    assert_whole(tmp_path, 80)


@pytest.mark.slow
def test_runs_of_different_documents_at_once_both_end_well(
    start: Callable[..., "subprocess.Popen[str]"], tmp_path: Path
) -> None:
    runs = [start("one", range(40)), start("two", range(40, 80))]
    said = [process.communicate(timeout=180)[0] for process in runs]
    assert [process.returncode for process in runs] == [0, 0], said
    assert_whole(tmp_path, 80)


@pytest.mark.slow
def test_a_run_that_is_killed_anywhere_goes_on(
    start: Callable[..., "subprocess.Popen[str]"], tmp_path: Path
) -> None:
    snapshots, chance, kills = tmp_path / "corpus" / "snapshots", random.Random(3), 0
    for _ in range(6):
        number = max((int(path.stem) for path in snapshots.glob("[0-9]*.json")), default=0)
        process = start("one", range(80))
        deadline = time.monotonic() + 120
        # Each time later by some snapshots: in embedding, merging, indexing, or cleaning up.
        wanted = number + chance.randint(1, 4)
        while process.poll() is None and time.monotonic() < deadline:
            if max((int(p.stem) for p in snapshots.glob("[0-9]*.json")), default=0) >= wanted:
                break
            time.sleep(0.005)
        kills += process.poll() is None
        process.kill()
        process.communicate()
    assert kills >= 2
    last = start("one", range(80))
    said = last.communicate(timeout=180)[0]
    assert last.returncode == 0, said
    assert_whole(tmp_path, 80)


def test_what_to_type_next_fits_the_corpus(
    tmp_path: Path, tiny_elmo_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "in.txt").write_text("They sat on the bank.\n")
    corpus = str(tmp_path / "corpus")
    words = ["run", "--corpus", corpus, "--model", str(tiny_elmo_dir), "--tokens", "none"]
    assert main([*words, str(tmp_path / "in.txt")]) == 0
    out = capsys.readouterr().out
    assert f"next: sensegrep search --corpus {corpus} 'a loan from a bank'" in out
    assert "sentences: 1 vector, " in out
    assert "time of a search over all vectors: median " in out
    (tmp_path / "empty.jsonl").write_text("")
    assert main([*words, str(tmp_path / "empty.jsonl")]) == 0
    assert "the input has no documents: check that its files" in capsys.readouterr().out


def test_too_little_memory_for_the_index_is_told_before_any_work(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "in.txt").write_text("They sat on the bank.\n")
    corpus = tmp_path / "corpus"
    words = ["run", str(tmp_path / "in.txt"), "--corpus", str(corpus), "--max-memory", "1M"]
    assert main(words) == 2
    assert "--max-memory is 1048576 bytes; an index build needs at" in capsys.readouterr().err
    assert not corpus.exists()
