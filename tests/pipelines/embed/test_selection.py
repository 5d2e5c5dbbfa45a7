"""What is new, against a dict of the corpus: decisions in input order, rejects known before."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipelines.api import Corpus
from pipelines.corpus.commits import Change, commit
from pipelines.embed.selection import CHANGED, DUPLICATE, NEW, UNCHANGED, LiveDocuments, Selector
from pipelines.reading.documents import READ, Document, Reject

TEXTS = {f"d{n}": f"Text {n}." for n in range(6)}


@pytest.fixture
def corpus(write_jsonl: Any, run_embed: Callable[..., Any], tmp_path: Path) -> Corpus:
    """Three segments of two documents, d4 deleted, and one reject."""
    records = [{"id": doc_id, "text": text} for doc_id, text in TEXTS.items()]
    run_embed(write_jsonl([*records, "{broken"]), commit_every=2)
    opened = Corpus.open(tmp_path / "corpus")
    return commit(opened, Change(operation="delete", supersede={"00000003": ["d4"]}))


def segment_of(doc_id: str) -> str:
    return f"{int(doc_id[1:]) // 2 + 1:08d}"


@settings(
    deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.lists(st.tuples(st.integers(0, 8), st.booleans()), max_size=12), st.booleans())
def test_decisions_are_those_of_a_dict(
    corpus: Corpus, asked: list[tuple[int, bool]], same_recipe: bool
) -> None:
    recipe = corpus.segments[0].recipe if same_recipe else "another"
    selector = Selector(LiveDocuments(corpus, recipe))
    live = {doc_id: text for doc_id, text in TEXTS.items() if doc_id != "d4"}
    seen: set[str] = set()
    for number, edited in asked:
        doc_id = f"d{number}"
        text = TEXTS.get(doc_id, "Another.") + ("!" if edited else "")
        if doc_id in seen:
            expected = (DUPLICATE, "")
        elif doc_id not in live:
            expected = (NEW, "")
        elif same_recipe and live[doc_id] == text:
            expected = (UNCHANGED, segment_of(doc_id))
        else:
            expected = (CHANGED, segment_of(doc_id))
        decision = selector.decide(Document(doc_id, text))
        assert (decision.kind, decision.segment_id) == expected
        seen.add(doc_id)
    assert selector.missing(sorted(live)) == sorted(set(live) - seen)


def test_reject_that_was_recorded_is_known(corpus: Corpus) -> None:
    selector = Selector(LiveDocuments(corpus, "any"))
    [row] = [row for batch in corpus.read("rejects") for row in batch.to_pylist()]
    known = Reject(row["uri"], row["position"], READ, row["reason"], "other words")
    assert selector.knows_reject(known)
    for other in (
        Reject(row["uri"], row["position"] + 1, READ, row["reason"], ""),
        Reject(row["uri"], row["position"], READ, "missing-text", ""),
    ):
        assert not selector.knows_reject(other)


def test_document_that_only_a_reject_names_is_not_missing(corpus: Corpus) -> None:
    selector = Selector(LiveDocuments(corpus, "any"))
    selector.mention("d1")
    assert selector.missing(["d0", "d1"]) == ["d0"]
