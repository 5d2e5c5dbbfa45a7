"""A document as small batches of tokenized sentences, or as a reject."""

from typing import Any

import pytest

from pipelines.embed import tokenizing
from pipelines.embed.batch import PartId
from pipelines.embed.tokenizing import tokenize_document
from pipelines.reading.documents import Document
from pipelines.text.tokenizer import Tokenizer

PART = PartId("00000003", 3, 0)


def test_document_that_the_tokenizer_fails_on_is_rejected() -> None:
    class Failing:
        def sentences(self, text: str) -> Any:
            raise ValueError("no idea")
            yield text

    [batch] = tokenize_document(PART, Document("d", "text", {}, "u", 7), Failing(), 10)  # type: ignore[arg-type]
    assert batch.ends == []
    assert [(r.doc_id, r.stage, r.reason) for r in batch.rejects] == [
        ("d", "tokenize", "tokenizer-failed")
    ]
    assert "no idea" in batch.rejects[0].detail


def test_text_of_more_tokens_than_a_part_may_have_is_rejected_whole(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tokenizing, "MAX_PART_ROWS", 10)
    documents = [Document("long", "A bank. " * 6), Document("short", "x" * 40 + " bank.")]
    found = [list(tokenize_document(PART, d, Tokenizer("en"), 4)) for d in documents]
    [[batch], short] = found
    assert (batch.ends, batch.sentences, batch.rejects[0].reason) == ([], [], "too-large")
    assert batch.rejects[0].detail == "the text has more than 10 tokens; split the document"
    assert [end.doc_id for batch in short for end in batch.ends] == ["short"]
