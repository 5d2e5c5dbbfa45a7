"""Batches: every sentence in exactly one, none over the budget, ids that rest on the plan."""

from typing import Any

import numpy as np
import pytest
from apache_beam import coders
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.embed.arrow_rows import sentence_rows, token_rows
from pipelines.embed.batch import EmbeddedBatch, PartEnd, PartId, PartRecord, SentenceBatch
from pipelines.embed.batch_coder import PackedCoder
from pipelines.embed.token_batcher import TokenBatcher
from pipelines.embed.tokenizing import tokenize_document, tokenize_record
from pipelines.reading.documents import Document
from pipelines.text.tokenizer import Tokenizer
from schemas import check_table, sentences_schema, tokens_schema

TOKENIZER = Tokenizer("en", max_sentence_tokens=12)
PART = PartId("00000003", 3, 0)
texts = st.text(alphabet="ab .!\n", min_size=1, max_size=200).filter(str.strip)


def batches_of(parts: list[list[Document]], budget: int) -> list[SentenceBatch]:
    batcher = TokenBatcher(budget)
    records = [
        PartRecord(PartId("00000003", 3, number), record)
        for number, documents in enumerate(parts)
        for record in (*documents, PartEnd(len(documents)))
    ]
    small = (b for r in records for b in tokenize_record(r, TOKENIZER, max(1, budget // 4)))
    return [full for batch in small for full in batcher.add(batch)]


@settings(deadline=None)
@given(st.lists(st.tuples(texts, st.booleans()), max_size=8), st.integers(12, 80))
def test_every_sentence_is_in_exactly_one_batch_in_order(
    plan: list[tuple[str, bool]], budget: int
) -> None:
    parts: list[list[Document]] = [[]]
    for number, (text, next_part) in enumerate(plan):
        if next_part:
            parts.append([])
        parts[-1].append(Document(f"d{number}", text, {}, "u", number))
    batches = batches_of(parts, budget)

    expected = [
        (part, d.doc_id, index, s.tokens)
        for part, documents in enumerate(parts)
        for d in documents
        for index, s in enumerate(TOKENIZER.tokenize(d.text))
    ]
    assert [
        (b.part.part, s.doc_id, s.sentence_index, s.tokens) for b in batches for s in b.sentences
    ] == expected
    assert [e.doc_id for b in batches for e in b.ends] == [d.doc_id for p in parts for d in p]
    assert all(b.n_tokens <= budget for b in batches)
    for number in {b.part for b in batches}:
        mine = [b for b in batches if b.part == number]
        assert [b.sequence for b in mine] == list(range(len(mine)))
        ends = [None if b.last is None else b.last.documents for b in mine]
        assert ends == [*[None] * (len(mine) - 1), len(parts[number.part])]
        sentences = [s for b in mine for s in b.sentences]
        assert [s.ordinal for s in sentences] == list(range(len(sentences)))
        lengths = [len(s.tokens) for s in sentences]
        assert [s.first_token for s in sentences] == list(np.cumsum([0, *lengths])[:-1])


def embedded(dtype: str = "float16") -> EmbeddedBatch:
    documents = [Document("a", "The bank closed. It rained.", {}, "u"), Document("b", "Yes!")]
    [batch] = batches_of([documents], 100)
    n, rows = batch.n_tokens, len(batch)
    vectors = np.arange((n + rows) * 4).reshape(-1, 4).astype(dtype)
    return EmbeddedBatch(batch, vectors[:n], vectors[n:], np.full(n, 0.25, np.float32))


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_rows_have_the_schema_and_the_vectors(dtype: str) -> None:
    batch = embedded(dtype)
    sentences = sentence_rows(batch, dtype)
    check_table(sentences, sentences_schema(dtype, 4), "sentences")
    assert sentences.column("vector_id").to_pylist() == [3 * 2**40 + n for n in range(3)]
    flat = sentences.column("vector").flatten().to_numpy()
    assert flat.dtype == dtype
    np.testing.assert_array_equal(flat.reshape(-1, 4), batch.sentence_vectors)
    assert sentences.column("attention").to_pylist() == [[0.25] * 4, [0.25] * 3, [0.25] * 2]

    tokens = token_rows(batch, dtype, None)
    check_table(tokens, tokens_schema(dtype, 4), "tokens")
    expected = [t for s in batch.batch.sentences for t in s.tokens]
    assert tokens.column("token").to_pylist() == expected
    np.testing.assert_array_equal(
        tokens.column("vector").flatten().to_numpy().reshape(-1, 4), batch.token_vectors
    )


def test_ids_do_not_depend_on_which_tokens_are_kept() -> None:
    every = token_rows(embedded(), "float16", None)
    some = token_rows(embedded(), "float16", lambda token: token in ("bank", "Yes"))
    ids = dict(
        zip(every.column("token").to_pylist(), every.column("vector_id").to_pylist(), strict=True)
    )
    assert some.column("vector_id").to_pylist() == [ids["bank"], ids["Yes"]]
    assert some.column("vector").to_pylist() == [[4, 5, 6, 7], [28, 29, 30, 31]]


def test_coder_is_registered_and_gives_back_what_it_got() -> None:
    batch = embedded()
    for value in (batch, batch.batch):
        coder = coders.registry.get_coder(type(value))
        assert isinstance(coder, PackedCoder)
        again = coder.decode(coder.encode(value))
        left = again if isinstance(again, SentenceBatch) else again.batch
        assert left == batch.batch
        assert coder.estimate_size(value) > 100
    np.testing.assert_array_equal(again.sentences[0].tokens, ["The", "bank", "closed", "."])


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


def test_part_that_begins_before_the_one_before_it_ended_is_an_error() -> None:
    batcher = TokenBatcher(10)
    assert list(batcher.add(SentenceBatch(PART))) == []
    with pytest.raises(RuntimeError, match="part 1 of segment 00000003 began before part 0 ended"):
        list(batcher.add(SentenceBatch(PartId("00000003", 3, 1))))
