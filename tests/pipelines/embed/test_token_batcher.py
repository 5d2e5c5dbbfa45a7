"""Batches: every sentence in exactly one, none over the budget, ids that rest on the plan."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.embed.batch import PartEnd, PartId, PartRecord, SentenceBatch
from pipelines.embed.token_batcher import TokenBatcher
from pipelines.embed.tokenizing import tokenize_record
from pipelines.reading.documents import Document
from pipelines.text.tokenizer import Tokenizer

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


def test_part_that_begins_before_the_one_before_it_ended_is_an_error() -> None:
    batcher = TokenBatcher(10)
    assert list(batcher.add(SentenceBatch(PART))) == []
    with pytest.raises(RuntimeError, match="part 1 of segment 00000003 began before part 0 ended"):
        list(batcher.add(SentenceBatch(PartId("00000003", 3, 1))))
