"""Fixtures: an indexed corpus of hand-made vectors, and searchers over it."""

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipelines import api
from pipelines.api import Corpus
from pipelines.index.build import build_index
from pipelines.index.options import IndexOptions
from pipelines.search.query import find_node, parse_query
from pipelines.search.query_encoder import EncodedQuery
from pipelines.search.searcher import Searcher

# Scores as plain cosines, which brute force computes; what else an index may do is tested apart.
PLAIN = IndexOptions(word_center=False, sentence_weight=0.0, context_weight=0.0)
WORDS = ["bank", "Bank", "banks", "river", "money", "loan", "water", "of", "shore", "."]


class HandEncoder:
    """Encodes a query by the rule that made the hand-made corpora's vectors."""

    def __init__(self, vector: Callable[..., np.ndarray]) -> None:
        self._vector = vector

    def encode(self, query: str) -> EncodedQuery:
        parsed = parse_query(query)
        tokens = parsed.text.split(" ")
        starts = np.cumsum([0, *(len(token) + 1 for token in tokens[:-1])]).tolist()
        ends = [start + len(token) for start, token in zip(starts, tokens, strict=True)]
        place = None if parsed.node is None else find_node(parsed.text, parsed.node, starts, ends)
        vectors = np.array([self._vector(tokens, i) for i in range(len(tokens))], np.float32)
        return EncodedQuery(
            text=parsed.text,
            tokens=tuple(tokens),
            token_index=place,
            token_vector=None if place is None else vectors[place],
            sentence_vector=vectors.mean(axis=0),
            several=False,
        )


def draw_documents(hand_document: type, count: int, seed: int) -> list[Any]:
    rng = np.random.default_rng(seed)
    return [
        hand_document(
            doc_id=f"{seed}/{number}",
            sentences=[rng.choice(WORDS, 8).tolist() for _ in range(5)],
            metadata={"parity": str(number % 2), "seed": str(seed)},
        )
        for number in range(count)
    ]


@pytest.fixture
def documents(hand_document: type) -> Callable[..., list[Any]]:
    """A function that draws documents of random sentences; the seed is in their ids."""
    return lambda count, seed: draw_documents(hand_document, count, seed)


@pytest.fixture
def open_searcher(hand_vector: Callable[..., np.ndarray]) -> Callable[[Corpus], Searcher]:
    """A function that opens a searcher on the corpus as it is now."""

    def open_now(corpus: Corpus) -> Searcher:
        searcher = api.open_searcher(Corpus.open(corpus.root))
        searcher.encoder = HandEncoder(hand_vector)  # type: ignore[assignment]
        return searcher

    return open_now


@pytest.fixture(scope="module")
def built(
    tmp_path_factory: pytest.TempPathFactory,
    hand_document: type,
    add_segment: Callable[..., Corpus],
) -> Path:
    """A corpus of two indexed segments, which no test changes."""
    corpus = Corpus.open_or_create(tmp_path_factory.mktemp("built") / "corpus")
    for count, seed in ((8, 1), (6, 2)):
        corpus = add_segment(corpus, draw_documents(hand_document, count, seed))
    build_index(corpus.root, PLAIN)
    return Path(corpus.root)


@pytest.fixture
def searcher(built: Path, open_searcher: Callable[[Corpus], Searcher]) -> Searcher:
    """A searcher over two indexed segments, for tests that change nothing."""
    return open_searcher(Corpus.open(built))


@pytest.fixture
def own_searcher(
    built: Path, tmp_path: Path, open_searcher: Callable[[Corpus], Searcher]
) -> Searcher:
    """The same over a copy at tmp_path/corpus, for tests that change the corpus."""
    shutil.copytree(built, tmp_path / "corpus")
    return open_searcher(Corpus.open(tmp_path / "corpus"))


@pytest.fixture(scope="session")
def check_ranking() -> Callable[[Sequence[Any], list[tuple[int, float]]], None]:
    """A function that compares hits with (vector_id, score) pairs, best first."""
    return _check_ranking


def _check_ranking(hits: Sequence[Any], expected: list[tuple[int, float]]) -> None:
    assert [hit.vector_id for hit in hits] == [vector_id for vector_id, _ in expected[: len(hits)]]
    np.testing.assert_allclose(
        [hit.score for hit in hits], [score for _, score in expected[: len(hits)]], atol=2e-3
    )
