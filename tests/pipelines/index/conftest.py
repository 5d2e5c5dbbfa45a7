"""Fixtures: random documents over few words, and an index held against the tables it is of."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from pipelines.api import Corpus
from pipelines.index.parts import Build, HeldOut, shard_parts
from pipelines.index.reader import OpenIndex

WORDS = ["bank", "Bank", "banks", "river", "money", "the", "Zürich", "of", "straße", "STRASSE", "."]


@pytest.fixture
def documents(hand_document: type) -> Callable[..., list[Any]]:
    """A function that draws documents of random sentences; the seed is in their ids."""

    def draw(count: int, seed: int, sentences: int = 4) -> list[Any]:
        rng = np.random.default_rng(seed)
        return [
            hand_document(
                doc_id=f"{seed}/{number}",
                sentences=[rng.choice(WORDS, 7).tolist() for _ in range(sentences)],
                metadata={"parity": str(number % 2)},
            )
            for number in range(count)
        ]

    return draw


def live_tokens(corpus: Corpus) -> dict[int, dict[str, Any]]:
    return {row["vector_id"]: row for batch in corpus.read("tokens") for row in batch.to_pylist()}


@pytest.fixture(scope="session")
def check_against_tables() -> Callable[[OpenIndex, Corpus], None]:
    """A function that holds an index against the corpus's tables, row by row."""
    return _check_against_tables


def _check_against_tables(index: OpenIndex, corpus: Corpus) -> None:
    """Every live token must stand in its form's range with its own vector, line and document."""
    rows = live_tokens(corpus)
    lines = {
        (row["doc_id"], row["sentence_index"]): row
        for batch in corpus.read("sentences")
        for row in batch.to_pylist()
    }
    seen = []
    for entry in index.forms.table().to_pylist():
        shard = index.shards[entry["shard"]]
        stretch = slice(entry["first"], entry["first"] + entry["count"])
        keys, vectors = shard.keys[stretch], shard.tokens.vectors(stretch)
        assert (np.diff(keys["vector_id"]) > 0).all()
        for key, vector in zip(keys, vectors, strict=True):
            row = rows[int(key["vector_id"])]
            line = shard.lines.row(int(key["sentence"]))
            document = shard.documents.row(int(key["document"]))
            sentence = lines[row["doc_id"], row["sentence_index"]]
            assert row["token"] == entry["form"] == line["text"][key["start"] : key["end"]]
            assert document["doc_id"] == row["doc_id"]
            assert line["vector_id"] == sentence["vector_id"]
            assert line["tokens"] == sentence["tokens"]
            expected = index.centering["tokens"].apply(np.array([row["vector"]], np.float32))[0]
            np.testing.assert_allclose(vector, expected, atol=1e-3)
            seen.append(int(key["vector_id"]))
    assert sorted(seen) == sorted(rows)


@pytest.fixture
def make_build() -> Callable[..., Build]:
    """A function that makes the build of a corpus's only shard; all vectors are sampled."""

    def make(corpus: Corpus, chunk_bytes: int = 8 << 20, **settings: Any) -> Build:
        first = corpus.segments[0]
        fields = {
            "sample_rates": dict.fromkeys(("sentences", "tokens"), 1.0),
            "held_out": dict.fromkeys(("sentences", "tokens"), HeldOut(share=0.0, seed=0)),
            "factories": dict.fromkeys(("sentences", "tokens")),
            "parts": tuple(shard_parts("00000", corpus, [s.segment_id for s in corpus.segments])),
            "dtype": str(first.options["vector_dtype"]),
            **settings,
        }
        return Build(
            corpus=corpus, index_id="i", dim=first.dim, chunk_bytes=chunk_bytes, seed=0, **fields
        )

    return make
