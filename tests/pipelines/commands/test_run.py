"""`sensegrep run` as a scheduler runs it, night after night."""

import json
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
        (("--vacuum-older-than", "soon"), "--vacuum-older-than is 'soon'; write it like 90s"),
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
