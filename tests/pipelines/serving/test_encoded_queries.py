"""Queries that were encoded lately are not encoded again; their number is bounded."""

import threading

import numpy as np
import pytest

from pipelines.errors import UsageError
from pipelines.search.query_encoder import EncodedQuery
from pipelines.serving.encoded_queries import EncodedQueries


def encoded(text: str) -> EncodedQuery:
    return EncodedQuery(
        text=text,
        tokens=(text,),
        token_index=None,
        token_vector=None,
        sentence_vector=np.zeros(2, np.float32),
        several=False,
    )


def test_the_latest_queries_are_kept() -> None:
    asked: list[str] = []

    def encode(query: str) -> EncodedQuery:
        asked.append(query)
        return encoded(query)

    encode_once = EncodedQueries(encode, max_queries=2)
    assert encode_once.kept("a") is None
    first = encode_once("a")
    assert encode_once("b").text == "b"
    assert encode_once("a") is first
    encode_once("c")  # b was asked for longest ago
    assert encode_once.kept("a") is first
    assert encode_once.kept("b") is None
    assert asked == ["a", "b", "c"]


def test_a_query_that_is_refused_is_not_kept() -> None:
    def refuse(query: str) -> EncodedQuery:
        raise UsageError(f"no {query}")

    encode_once = EncodedQueries(refuse)
    for _ in range(2):
        with pytest.raises(UsageError, match="no a"):
            encode_once("a")
    assert encode_once.kept("a") is None


def test_two_that_ask_at_once_get_the_same_vectors() -> None:
    together = threading.Barrier(2, timeout=30)

    def encode(query: str) -> EncodedQuery:
        together.wait()
        return encoded(query)

    encode_once = EncodedQueries(encode)
    found: list[EncodedQuery] = []
    threads = [threading.Thread(target=lambda: found.append(encode_once("a"))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found[0] is found[1]
