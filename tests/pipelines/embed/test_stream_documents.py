"""What a stream knows of its corpus, kept up with what it and others commit."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipelines.corpus.view import CorpusView
from pipelines.embed import stream_documents
from pipelines.embed.stream_documents import StreamDocuments, choose
from pipelines.maintenance.compact import compact
from pipelines.maintenance.delete import delete, find_documents
from pipelines.reading.documents import Document, Reject
from pipelines.reading.messages import Deletion


@pytest.fixture
def embed(run_embed: Callable, write_jsonl: Callable, tmp_path: Path) -> Callable[..., CorpusView]:
    def embed(**texts: str) -> CorpusView:
        run_embed(write_jsonl([{"id": name, "text": text} for name, text in texts.items()]))
        return CorpusView.open(tmp_path / "corpus")

    return embed


def known(corpus: CorpusView) -> StreamDocuments:
    return StreamDocuments(corpus, corpus.segments[0].recipe)


def segments_of(found: StreamDocuments, *names: str) -> list[Any]:
    return [(live := found.find(name)) and live[0] for name in names]


@pytest.mark.parametrize("stale_rows", [0, 10**9])
def test_changes_of_other_writers_are_taken_up(
    embed: Callable[..., CorpusView], monkeypatch: pytest.MonkeyPatch, stale_rows: int
) -> None:
    monkeypatch.setattr(stream_documents, "STALE_ROWS", stale_rows)
    found = known(embed(a="One.", b="One."))
    corpus = embed(b="Two.", c="Two.")
    found.refresh(corpus)
    assert segments_of(found, "a", "b", "c") == ["00000001", "00000002", "00000002"]
    corpus = delete(corpus, find_documents(corpus, ["c"])[0])
    found.refresh(corpus)
    assert segments_of(found, "a", "b", "c") == ["00000001", "00000002", None]
    corpus = compact(corpus, [segment.segment_id for segment in corpus.segments])
    found.refresh(corpus)
    assert segments_of(found, "a", "b", "c") == ["00000003", "00000003", None]
    found.refresh(embed(a="Three."))
    assert segments_of(found, "a", "b") == ["00000004", "00000003"]


def test_the_last_version_counts_and_unchanged_is_what_is_live(
    embed: Callable[..., CorpusView],
) -> None:
    found = known(embed(a="One.", b="One.", c="One."))
    reject = Reject("kafka:t/0", 5, "read", "invalid-json", "why", doc_id="a")
    choice = choose(
        [
            Document("a", "Two."),
            Document("b", "Two."),
            Document("b", "One."),  # as it is live, but not to be dropped before the end
            Document("new", "One."),
            Deletion("new", "", 0),
            Deletion("c", "", 0),
            Document("late", "One."),
            reject,
        ],
        found,
    )
    assert [document.doc_id for document in choice.documents] == ["a", "late"]
    assert choice.deletions == ["new", "c"]
    assert (choice.read, choice.replaced, choice.unchanged, choice.rejected) == (8, 2, 1, 1)
    assert choice.read == 8 == len(choice.documents) + 2 + 2 + 1 + 1


def test_what_has_another_version_on_its_way_is_never_unchanged(
    embed: Callable[..., CorpusView],
) -> None:
    found = known(embed(a="One.", b="One."))
    # v1, v2, v1 of a, of which v2 is read and not committed.
    choice = choose([Document("a", "One."), Document("b", "One.")], found, frozenset({"a"}))
    assert [document.doc_id for document in choice.documents] == ["a"]
    assert choice.unchanged == 1
