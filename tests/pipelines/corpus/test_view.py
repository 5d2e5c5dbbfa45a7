"""Snapshots, live rows and commits."""

import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipelines.api import Corpus
from pipelines.corpus.commits import Change, commit, commit_index, reserve_segment
from pipelines.corpus.manifests import read_snapshot, snapshot_numbers
from pipelines.corpus.store import Store
from pipelines.errors import CorpusError

RECORDS = [{"id": f"d{n}", "text": f"Text {n} is here. It ends."} for n in range(6)]


@pytest.fixture
def corpus(write_jsonl: Any, run_embed: Callable[..., Any], tmp_path: Path) -> Corpus:
    """A corpus of three segments, with d1 deleted."""
    run_embed(write_jsonl(RECORDS), commit_every=2)
    opened = Corpus.open(tmp_path / "corpus")
    return commit(opened, Change(operation="delete", supersede={"00000001": ["d1"]}))


def ids(corpus: Corpus, table: str = "sentences", **settings: Any) -> list[str]:
    batches = corpus.read(table, **settings)
    return [doc_id for batch in batches for doc_id in batch.column("doc_id").to_pylist()]


def test_read_gives_live_rows_in_order(corpus: Corpus) -> None:
    assert ids(corpus, "documents") == ["d0", "d2", "d3", "d4", "d5"]
    assert ids(corpus) == [doc_id for doc_id in ids(corpus, "documents") for _ in range(2)]
    assert ids(corpus, segment_ids=["00000002"]) == ["d2", "d2", "d3", "d3"]


def test_read_gives_just_the_columns_asked_for(corpus: Corpus) -> None:
    batches = list(corpus.read("sentences", ["text", "vector_id"], batch_rows=3))
    assert {tuple(batch.schema.names) for batch in batches} == {("text", "vector_id")}
    assert max(batch.num_rows for batch in batches) <= 3
    assert sum(batch.num_rows for batch in batches) == 10


def test_read_refuses_what_is_not_there(corpus: Corpus, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no table 'words'; expected one of documents"):
        next(corpus.read("words"))
    with pytest.raises(CorpusError, match="segments 00000009 are not live"):
        next(corpus.read("tokens", segment_ids=["00000009"]))
    (tmp_path / "corpus/segments/00000002/tokens/part-00000.parquet").unlink()
    with pytest.raises(CorpusError, match=r"tokens/part-00000.parquet .* missing; run: .* verify"):
        list(corpus.read("tokens"))


def test_counts_are_of_live_rows(corpus: Corpus) -> None:
    assert corpus.live_counts() == {
        "documents": 5,
        "sentences": 10,
        "tokens": 40,
        "rejected_sentences": 0,
        "rejects": 0,
    }


def test_an_instance_keeps_seeing_its_snapshot(corpus: Corpus) -> None:
    after = commit(corpus, Change(operation="delete", supersede={"00000002": ["d2"]}))
    assert "d2" in ids(corpus, "documents")
    assert "d2" not in ids(after, "documents")
    assert ids(corpus.refresh(), "documents") == ids(after, "documents")
    assert after.snapshot.number == corpus.snapshot.number + 1


def test_commits_at_once_are_all_kept(corpus: Corpus) -> None:
    barrier = threading.Barrier(4)
    errors: list[Exception] = []

    def delete(segment_id: str, doc_id: str) -> None:
        barrier.wait()
        try:
            commit(corpus, Change(operation="delete", supersede={segment_id: [doc_id]}))
        except Exception as error:
            errors.append(error)

    places = [("00000001", "d0"), ("00000002", "d2"), ("00000002", "d3"), ("00000003", "d4")]
    threads = [threading.Thread(target=delete, args=place) for place in places]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    after = corpus.refresh()
    assert ids(after, "documents") == ["d5"]
    assert after.snapshot.number == corpus.snapshot.number + 4


def test_reserved_numbers_are_never_given_twice(corpus: Corpus) -> None:
    found: list[int] = []
    threads = [
        threading.Thread(target=lambda: found.append(reserve_segment(corpus.store)[1]))
        for _ in range(6)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found) == [4, 5, 6, 7, 8, 9]


def test_old_snapshots_stay_readable(corpus: Corpus) -> None:
    assert snapshot_numbers(corpus.store) == [1, 2, 3, 4]
    assert read_snapshot(corpus.store, 2).segments == ("00000001", "00000002")


def test_index_is_committed_only_once_it_is_there(corpus: Corpus) -> None:
    with pytest.raises(CorpusError, match=r"indexes/i/index.json is not there; write it before"):
        commit_index(corpus, "i")
    with corpus.store.open("indexes/i/index.json", "wb") as file:
        file.write(b"{}")
    assert commit_index(corpus, "i").snapshot.index == "i"


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("snapshots/00000004.json", "{", "00000004.json is not JSON"),
        ("segments/00000002/segment.json", "{}", "segment.json has no schema_version"),
        (
            "segments/00000002/segment.json",
            json.dumps({"schema_version": 2, "written_by": "sensegrep 9.1"}),
            "schema version 2, written by sensegrep 9.1; this program reads up to 1",
        ),
    ],
)
def test_damaged_or_newer_manifests_are_told(
    name: str, text: str, words: str, corpus: Corpus, tmp_path: Path
) -> None:
    (tmp_path / "corpus" / name).write_text(text)
    with pytest.raises(CorpusError, match=words):
        Corpus.open(corpus.root)


def test_missing_corpus_is_told(tmp_path: Path) -> None:
    with pytest.raises(
        CorpusError, match=r"there is no corpus at .*; make one with: sensegrep run"
    ):
        Corpus.open(tmp_path / "nothing")
    assert not (tmp_path / "nothing").exists()


def test_empty_corpus_has_no_fingerprint(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="is empty; embed documents into it first"):
        _ = Corpus.open_or_create(tmp_path / "nothing").fingerprint


def test_commit_whose_answer_was_lost_is_made_once(
    corpus: Corpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    create = Store.create_exclusive

    def sent_again(self: Store, path: str, data: bytes) -> None:
        create(self, path, data)
        create(self, path, data)

    monkeypatch.setattr(Store, "create_exclusive", sent_again)
    after = commit(corpus, Change(operation="delete", supersede={"00000002": ["d2"]}))
    assert after.snapshot.number == corpus.snapshot.number + 1
    assert ids(after, "documents") == ["d0", "d3", "d4", "d5"]


def test_commit_reads_no_manifest_twice(corpus: Corpus, monkeypatch: pytest.MonkeyPatch) -> None:
    read, paths = Store.read, []

    def noted(self: Store, path: str) -> bytes:
        paths.append(path)
        return read(self, path)

    monkeypatch.setattr(Store, "read", noted)
    after = commit(corpus, Change(operation="delete", supersede={"00000002": ["d2"]}))
    assert len(after.segments) == 3
    assert not [path for path in paths if path.endswith("segment.json")]
