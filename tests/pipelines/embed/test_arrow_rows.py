"""Rows of the tables: their schema, their vectors, their ids."""

from collections.abc import Callable

import numpy as np
import pytest

from pipelines.embed.arrow_rows import sentence_rows, token_rows
from pipelines.embed.batch import EmbeddedBatch
from schemas import check_table, sentences_schema, tokens_schema

Embedded = Callable[..., EmbeddedBatch]


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_rows_have_the_schema_and_the_vectors(dtype: str, embedded: Embedded) -> None:
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


def test_ids_do_not_depend_on_which_tokens_are_kept(embedded: Embedded) -> None:
    every = token_rows(embedded(), "float16", None)
    some = token_rows(embedded(), "float16", lambda token: token in ("bank", "Yes"))
    ids = dict(
        zip(every.column("token").to_pylist(), every.column("vector_id").to_pylist(), strict=True)
    )
    assert some.column("vector_id").to_pylist() == [ids["bank"], ids["Yes"]]
    assert some.column("vector").to_pylist() == [[4, 5, 6, 7], [28, 29, 30, 31]]
