"""Fixtures: a batch of three sentences with vectors that can be told apart."""

from collections.abc import Callable

import numpy as np
import pytest

from pipelines.embed.batch import EmbeddedBatch, PartEnd, PartId, PartRecord
from pipelines.embed.token_batcher import TokenBatcher
from pipelines.embed.tokenizing import tokenize_record
from pipelines.reading.documents import Document
from pipelines.text.tokenizer import Tokenizer


@pytest.fixture
def embedded() -> Callable[..., EmbeddedBatch]:
    """A function that makes a batch of nine tokens in two documents; vectors count upwards."""

    def make(dtype: str = "float16") -> EmbeddedBatch:
        batcher, tokenizer, part = TokenBatcher(100), Tokenizer("en"), PartId("00000003", 3, 0)
        documents = [Document("a", "The bank closed. It rained.", {}, "u"), Document("b", "Yes!")]
        records = [PartRecord(part, record) for record in (*documents, PartEnd(2))]
        small = [each for one in records for each in tokenize_record(one, tokenizer, 100)]
        [batch] = [full for each in small for full in batcher.add(each)]
        n, rows = batch.n_tokens, len(batch)
        vectors = np.arange((n + rows) * 4).reshape(-1, 4).astype(dtype)
        return EmbeddedBatch(batch, vectors[:n], vectors[n:], np.full(n, 0.25, np.float32))

    return make
