"""delete and purge: what goes, from view and from the disk."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipelines.__main__ import main
from pipelines.api import Corpus
from pipelines.maintenance.verify import verify

Run = Callable[..., Any]


def on_disk(root: str) -> bytes:
    return b"".join(p.read_bytes() for p in sorted(Path(root).rglob("*")) if p.is_file())


def test_deleted_documents_are_gone_from_every_table(corpus_dir: str, rows_of: Run) -> None:
    assert main(["delete", "d1", "d2", "--corpus", corpus_dir]) == 0
    for table in ("documents", "sentences", "tokens"):
        assert {row["doc_id"] for row in rows_of(table)} == {"d0", "d3", "d4", "d5"}
    assert Corpus.open(corpus_dir).live_counts()["documents"] == 4


def test_deleting_an_unknown_document_deletes_nothing(
    corpus_dir: str, rows_of: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["delete", "d1", "nobody", "--corpus", corpus_dir]) == 2
    assert f"the document 'nobody' is not in the corpus {corpus_dir}" in capsys.readouterr().err
    assert main(["delete", "nobody", "else", "--corpus", corpus_dir]) == 2
    assert "2 of these documents, such as 'else', are not in" in capsys.readouterr().err
    assert len(rows_of("documents")) == 6


def test_no_wait_without_a_purge_is_refused(
    corpus_dir: str, rows_of: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["delete", "d1", "--no-wait", "--corpus", corpus_dir]) == 2
    assert "--no-wait is for --purge, which may wait; give --purge" in capsys.readouterr().err
    assert len(rows_of("documents")) == 6


def test_emptied_segment_is_live_no_more(corpus_dir: str) -> None:
    main(["delete", "d0", "d1", "--corpus", corpus_dir])
    corpus = Corpus.open(corpus_dir)
    assert [s.segment_id for s in corpus.segments] == ["00000002", "00000003", "00000004"]
    assert corpus.snapshot.tombstones == ()


def test_deleted_document_can_come_back(
    corpus_dir: str, secrets: Any, write_jsonl: Run, run_embed: Run, rows_of: Run
) -> None:
    main(["delete", "d1", "--corpus", corpus_dir])
    assert run_embed(write_jsonl(secrets)).written == 1
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
