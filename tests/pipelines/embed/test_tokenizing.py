"""A document as small batches of tokenised sentences, or as a reject."""

from typing import Any

from pipelines.embed.batch import PartId
from pipelines.embed.tokenizing import tokenize_document
from pipelines.reading.documents import Document

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
