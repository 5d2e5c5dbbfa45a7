"""What a reader sees: the live rows of one snapshot."""

from pathlib import Path
from typing import Any

import pytest

from pipelines.api import Corpus
from pipelines.corpus.commits import Change, commit
from pipelines.errors import CorpusError


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


def test_missing_corpus_is_told(tmp_path: Path) -> None:
    with pytest.raises(
        CorpusError, match=r"there is no corpus at .*; make one with: sensegrep run"
    ):
        Corpus.open(tmp_path / "nothing")
    assert not (tmp_path / "nothing").exists()


def test_empty_corpus_has_no_fingerprint(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="is empty; embed documents first: sensegrep run"):
        _ = Corpus.open_or_create(tmp_path / "nothing").fingerprint
