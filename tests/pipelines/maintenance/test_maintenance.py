"""verify, delete, purge, compact, vacuum: what they keep and what they take away."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipelines.__main__ import main
from pipelines.api import Corpus
from pipelines.corpus.commits import reserve_segment
from pipelines.errors import CorpusError, UsageError
from pipelines.maintenance.compact import compact, groups_to_compact
from pipelines.maintenance.vacuum import vacuum
from pipelines.maintenance.verify import verify

Run = Callable[..., Any]
RECORDS = [{"id": f"d{n}", "text": f"Secret{n} stands on the bank. Yes!"} for n in range(6)]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory, tiny_elmo_dir: Path) -> Path:
    """A directory with in.jsonl and its corpus of three segments with two documents each."""
    directory = tmp_path_factory.mktemp("built")
    lines = [*map(json.dumps, RECORDS), "{broken"]
    (directory / "in.jsonl").write_text("".join(f"{line}\n" for line in lines))
    arguments = ["--corpus", str(directory / "corpus"), "--model", str(tiny_elmo_dir)]
    status = main(["embed", str(directory / "in.jsonl"), *arguments, "--commit-every", "2"])
    assert status == 3
    return directory


@pytest.fixture
def corpus_dir(built: Path, tmp_path: Path) -> str:
    """A copy of the corpus, to be changed."""
    shutil.copytree(built / "corpus", tmp_path / "corpus")
    return str(tmp_path / "corpus")


def on_disk(root: str) -> bytes:
    return b"".join(p.read_bytes() for p in sorted(Path(root).rglob("*")) if p.is_file())


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


def test_deleted_documents_are_gone_from_every_table(corpus_dir: str, rows_of: Run) -> None:
    assert main(["delete", "d1", "d2", "--corpus", corpus_dir]) == 0
    for table in ("documents", "sentences", "tokens"):
        assert {row["doc_id"] for row in rows_of(table)} == {"d0", "d3", "d4", "d5"}
    assert Corpus.open(corpus_dir).live_counts()["documents"] == 4


def test_deleting_an_unknown_document_deletes_nothing(corpus_dir: str, rows_of: Run) -> None:
    assert main(["delete", "d1", "nobody", "--corpus", corpus_dir]) == 2
    assert len(rows_of("documents")) == 6


def test_emptied_segment_is_live_no_more(corpus_dir: str) -> None:
    main(["delete", "d0", "d1", "--corpus", corpus_dir])
    corpus = Corpus.open(corpus_dir)
    assert [s.segment_id for s in corpus.segments] == ["00000002", "00000003", "00000004"]
    assert corpus.snapshot.tombstones == ()


def test_deleted_document_can_come_back(
    corpus_dir: str, write_jsonl: Run, run_embed: Run, rows_of: Run
) -> None:
    main(["delete", "d1", "--corpus", corpus_dir])
    assert run_embed(write_jsonl(RECORDS)).written == 1
    assert sorted(row["doc_id"] for row in rows_of("documents"))[1] == "d1"


def test_purge_leaves_no_trace_on_the_disk(corpus_dir: str, rows_of: Run) -> None:
    before = rows_of("sentences")
    # Parquet compresses texts; the ids of documents stand uncompressed in its statistics.
    assert b"d1" in on_disk(corpus_dir)
    assert main(["delete", "d1", "--purge", "--corpus", corpus_dir]) == 0
    assert rows_of("sentences") == [row for row in before if row["doc_id"] != "d1"]
    corpus = Corpus.open(corpus_dir)
    assert corpus.tombstones == {}
    kept = {str(p.relative_to(corpus_dir)) for p in Path(corpus_dir).rglob("*.parquet")}
    named = {
        f"segments/{s.segment_id}/{part.path}"
        for s in corpus.segments
        for parts in s.parts.values()
        for part in parts
    }
    assert kept == named
    assert len(list((Path(corpus_dir) / "snapshots").iterdir())) == 1
    assert verify(corpus).faults == []


def test_compact_keeps_rows_and_ids(corpus_dir: str, rows_of: Run) -> None:
    main(["delete", "d3", "--corpus", corpus_dir])
    before = {t: rows_of(t) for t in ("documents", "sentences", "tokens", "rejects")}
    assert main(["compact", "--corpus", corpus_dir]) == 0
    corpus = Corpus.open(corpus_dir)
    [segment] = corpus.segments
    assert segment.compacted_from == ("00000001", "00000002", "00000003", "00000004")
    assert {t: rows_of(t) for t in before} == before
    assert segment.counts["documents"] == 5
    assert segment.counts["sentences"] == len(before["sentences"])
    assert verify(corpus).faults == []


def test_compact_leaves_nothing_to_embed(corpus_dir: str, built: Path, run_embed: Run) -> None:
    main(["compact", "--corpus", corpus_dir])
    report = run_embed(built / "in.jsonl")
    assert (report.unchanged, report.rejected, report.segments) == (6, 1, [])


def test_compact_merges_up_to_a_size(corpus_dir: str) -> None:
    corpus = Corpus.open(corpus_dir)
    assert groups_to_compact(corpus, 4) == [["00000001", "00000002"], ["00000003", "00000004"]]
    assert groups_to_compact(corpus, 1) == []


def test_compact_does_not_mix_models(corpus_dir: str, write_jsonl: Run, run_embed: Run) -> None:
    run_embed(write_jsonl([{"id": "other", "text": "Mean."}]), pooling="mean")
    corpus = Corpus.open(corpus_dir)
    assert len(groups_to_compact(corpus, 100)) == 1
    with pytest.raises(CorpusError, match="different models or settings cannot be merged"):
        compact(corpus, [corpus.segments[0].segment_id, corpus.segments[-1].segment_id])
    with pytest.raises(CorpusError, match="holds vectors of 2 different models or settings"):
        _ = corpus.fingerprint


def test_compact_gives_way_to_a_delete_meanwhile(corpus_dir: str, rows_of: Run) -> None:
    stale = Corpus.open(corpus_dir)
    main(["delete", "d1", "--corpus", corpus_dir])
    with pytest.raises(CorpusError, match="run the command again"):
        compact(stale, ["00000001", "00000002"])
    assert len(rows_of("documents")) == 5


def test_embed_on_top_of_a_compact_meanwhile_supersedes_the_merged_rows(
    corpus_dir: str, write_jsonl: Run, run_embed: Run, rows_of: Run, interleave: Run
) -> None:
    interleave(lambda: main(["compact", "--corpus", corpus_dir]))
    run_embed(write_jsonl([{"id": "d1", "text": "A new version."}]))
    texts = [row["text"] for row in rows_of("sentences") if row["doc_id"] == "d1"]
    assert texts == ["A new version."]
    assert len(rows_of("documents")) == 6


def test_vacuum_removes_orphans_and_old_states_only(
    corpus_dir: str, rows_of: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["compact", "--corpus", corpus_dir])
    orphan = Path(corpus_dir) / "segments/00000009/sentences/part-00000.parquet"
    orphan.parent.mkdir(parents=True)
    orphan.write_bytes(b"never finished")
    mine = Path(corpus_dir) / "notes.txt"
    mine.write_text("not the corpus's")
    before = rows_of("sentences")
    assert main(["vacuum", "--corpus", corpus_dir]) == 0  # all is younger than a day
    assert orphan.exists()
    out = capsys.readouterr().out
    assert "removed 0 files, 0 bytes" in out
    assert "that nothing names stayed: younger than 1d" in out
    assert main(["vacuum", "--corpus", corpus_dir, "--older-than", "0s"]) == 0
    assert "stayed" not in capsys.readouterr().out
    assert not orphan.exists()
    assert mine.exists()
    assert rows_of("sentences") == before
    segments = sorted(p.name for p in (Path(corpus_dir) / "segments").iterdir())
    assert segments == ["00000005"]


def test_vacuum_never_lets_a_number_be_given_out_again(corpus_dir: str) -> None:
    corpus = Corpus.open(corpus_dir)
    segment_id, number = reserve_segment(corpus.store)
    vacuum(corpus, older_than_seconds=0.0)
    assert reserve_segment(corpus.store)[1] == number + 1
    assert segment_id == "00000005"


def test_vacuum_keeps_as_many_states_as_asked(corpus_dir: str) -> None:
    vacuum(Corpus.open(corpus_dir), older_than_seconds=0.0, keep_snapshots=2)
    names = sorted(p.name for p in (Path(corpus_dir) / "snapshots").iterdir())
    assert names == ["00000003.json", "00000004.json"]


def test_age_is_written_with_a_unit() -> None:
    from pipelines.commands.vacuum import parse_age

    assert [parse_age(t) for t in ("90s", "30m", "12h", "7d")] == [90, 1800, 43200, 604800]
    with pytest.raises(UsageError, match="write it like 90s, 30m, 12h or 7d"):
        parse_age("soon")


def test_info_tells_what_is_there(corpus_dir: str, capsys: pytest.CaptureFixture[str]) -> None:
    main(["delete", "d1", "--corpus", corpus_dir])
    assert main(["info", "--corpus", corpus_dir, "--rejects"]) == 0
    text = capsys.readouterr().out
    assert "documents    5" in text
    assert "rejects      1 (1 invalid-json)" in text
    assert "tombstones   1 document; sensegrep compact" in text
    assert "invalid-json: Expecting property name" in text


def test_missing_corpus_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", "--corpus", str(tmp_path / "none")]) == 1
    assert "there is no corpus at" in capsys.readouterr().err


def test_compact_says_when_there_is_nothing_to_do(
    corpus_dir: str, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["compact", "--corpus", corpus_dir])
    assert "into 1\nnext: sensegrep index" in capsys.readouterr().out
    snapshots = sorted(Path(corpus_dir).glob("snapshots/*"))
    assert main(["compact", "--corpus", corpus_dir]) == 0
    assert capsys.readouterr().out == "nothing to compact in 1 segment\n"
    assert sorted(Path(corpus_dir).glob("snapshots/*")) == snapshots
