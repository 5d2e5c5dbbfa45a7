"""A corpus that version 0.1.0 wrote is read, searched, embedded into and compacted.

tests/data/corpus-0.1 was made by that version's command line: four segments and one newer than the
index, a changed document, a deleted one, rejects, kept senses. Its answers lie beside it.
"""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipelines.__main__ import main
from pipelines.api import Corpus

DATA = Path(__file__).resolve().parents[1] / "data" / "corpus-0.1"


@pytest.fixture
def corpus(tmp_path: Path) -> str:
    """A copy that a test may change."""
    shutil.copytree(DATA / "corpus", tmp_path / "corpus")
    return str(tmp_path / "corpus")


def found(corpus: str, name: str, capsys: pytest.CaptureFixture[str]) -> tuple[Any, Any]:
    """Search as the file was made; returns the hits now and then, their scores apart."""
    expected = json.loads((DATA / f"{name}.json").read_text(encoding="utf-8"))
    # That version scored each occurrence by itself.
    options = ["--corpus", corpus, "--model", str(DATA / "model"), "--json", "--plain-ranking"]
    assert main(["search", expected["query"], *options, "--k", str(len(expected["hits"]))]) == 0
    hits = json.loads(capsys.readouterr().out)["hits"]
    keys = expected["hits"][0].keys()
    return [{key: hit[key] for key in keys} for hit in hits], expected["hits"]


@pytest.mark.parametrize("name", ["search", "sentences"])
def test_it_is_searched_with_the_same_answers(
    corpus: str, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    now, then = found(corpus, name, capsys)
    scores = [[hit.pop("score") for hit in hits] for hits in (now, then)]
    assert now == then
    assert scores[0] == pytest.approx(scores[1], abs=1e-4)


def test_it_is_read_and_verified(corpus: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", "--corpus", corpus]) == 0
    assert "all well" in capsys.readouterr().out
    opened = Corpus.open(corpus)
    ids = [i for batch in opened.read("documents") for i in batch["doc_id"].to_pylist()]
    assert sorted(ids) == ["changed", "fish", "late", "money", "newest", "rates", "river"]
    assert opened.live_counts()["rejects"] == 2


def test_it_is_embedded_into(corpus: str, tmp_path: Path) -> None:
    more = tmp_path / "more.jsonl"
    records = [{"id": "fish", "text": "He fished no more."}, {"id": "added", "text": "One bank."}]
    more.write_text("".join(json.dumps(record) + "\n" for record in records))
    embed = ["embed", "--corpus", corpus, "--model", str(DATA / "model")]
    before = Corpus.open(corpus).snapshot
    assert main([*embed, str(DATA / "3.jsonl")]) == 0
    assert Corpus.open(corpus).snapshot == before  # its document is unchanged
    assert main([*embed, str(more)]) == 0
    texts = {
        row["doc_id"]: row["text"]
        for batch in Corpus.open(corpus).read("sentences", ["doc_id", "text"])
        for row in batch.to_pylist()
    }
    assert texts["fish"] == "He fished no more."
    assert texts["added"] == "One bank."
    assert len(texts) == 8


def test_it_is_compacted_and_indexed(corpus: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compact", "--corpus", corpus]) == 0
    assert main(["index", "--corpus", corpus]) == 0
    assert main(["vacuum", "--corpus", corpus, "--older-than", "0s"]) == 0
    assert main(["verify", "--corpus", corpus]) == 0
    assert len(Corpus.open(corpus).segments) == 1
    capsys.readouterr()
    now, then = found(corpus, "search", capsys)
    assert {hit["vector_id"] for hit in now} == {hit["vector_id"] for hit in then}


QUERY = ["search", "They sat on the [bank]", "--model", str(DATA / "model"), "--corpus"]


def change(path: Path, changed: Callable[[dict[str, Any]], None]) -> None:
    fields = json.loads(path.read_text(encoding="utf-8"))
    changed(fields)
    path.write_text(json.dumps(fields), encoding="utf-8")


@pytest.mark.parametrize(
    ("file", "remedy"),
    [
        ("snapshots/00000007.json", "install the program that wrote it, or a newer one"),
        ("indexes/ecef3895f461c4c5/index.json", "or build the index again: sensegrep index"),
    ],
)
def test_a_newer_format_says_what_to_run(
    corpus: str, file: str, remedy: str, capsys: pytest.CaptureFixture[str]
) -> None:
    newer = {"schema_version": 99, "written_by": "sensegrep 9.0.0"}
    change(Path(corpus, file), lambda fields: fields.update(newer))
    assert main([*QUERY, corpus]) == 1
    error = capsys.readouterr().err
    assert (
        "has schema version 99, written by sensegrep 9.0.0; this program reads versions up to"
        in error
    )
    assert remedy in error


def test_an_index_of_an_older_format_says_what_to_run(
    corpus: str, capsys: pytest.CaptureFixture[str]
) -> None:
    def without_lengths(fields: dict[str, Any]) -> None:
        for shard in fields["shards"]:
            del shard["files"]["lengths"]

    change(Path(corpus, "indexes/ecef3895f461c4c5/index.json"), without_lengths)
    assert main([*QUERY, corpus]) == 1
    error = capsys.readouterr().err
    assert "has an older format" in error
    assert f"build it again: sensegrep index --corpus {corpus}" in error
    assert main(["index", "--corpus", corpus]) == 0
    assert "the existing index has an older format" in capsys.readouterr().out
    assert main([*QUERY, corpus]) == 0
