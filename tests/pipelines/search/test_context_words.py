"""The words around a word: scored as counting shared words by hand does, wherever they stand."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from pipelines.api import Corpus
from pipelines.errors import CorpusError
from pipelines.index.build import build_index
from pipelines.index.format import IndexManifest
from pipelines.index.options import IndexOptions
from pipelines.search.options import SearchOptions
from pipelines.search.searcher import Searcher

QUERY = "Money loan [bank] of water ."
ONLY_WORDS = IndexOptions(word_center=False, sentence_weight=0.0, context_weight=1.0)


def squared_idf(lines: int, count: int) -> float:
    return float(np.log1p((lines - count + 0.5) / (count + 0.5)) ** 2)


def brute_force(searcher: Searcher, indexed: set[str]) -> dict[tuple[str, int], float]:
    """Score sentences by the query's words they have."""
    sentences = [
        row
        for batch in searcher.corpus.read("sentences", ["doc_id", "sentence_index", "tokens"])
        for row in batch.to_pylist()
    ]
    known = [row for row in sentences if row["doc_id"].split("/")[0] in indexed]
    counts = {
        word: sum(t.casefold() == word for row in known for t in row["tokens"])
        for word in ("money", "loan", "of", "water", ".")
    }
    weights = {word: squared_idf(len(known), min(n, len(known))) for word, n in counts.items()}
    total = sum(weights.values())
    scores = {}
    for row in sentences:
        having = {token.casefold() for token in row["tokens"]} & set(weights)
        score = sum(weights[word] for word in having) / total * (6 / len(row["tokens"])) ** 0.5
        scores[row["doc_id"], row["sentence_index"]] = min(1.0, score)
    return scores


def test_context_scores_as_counting_shared_words_does(
    own_searcher: Searcher, open_searcher: Callable[[Corpus], Searcher]
) -> None:
    build_index(own_searcher.corpus.root, ONLY_WORDS)
    searcher = open_searcher(own_searcher.corpus)
    hits = searcher.search(QUERY, SearchOptions(k=500, senses=False, plain_ranking=True))
    expected = brute_force(searcher, {"1", "2"})
    assert len({round(hit.score, 3) for hit in hits}) > 5
    for hit in hits:
        assert hit.score == pytest.approx(expected[hit.doc_id, hit.sentence_index], abs=1e-4)
    assert hits[0].score == pytest.approx(
        max(expected[hit.doc_id, hit.sentence_index] for hit in hits), abs=1e-4
    )


def test_context_counts_in_segments_newer_than_the_index(
    own_searcher: Searcher,
    documents: Callable[..., Any],
    add_segment: Callable[..., Corpus],
    open_searcher: Callable[[Corpus], Searcher],
) -> None:
    build_index(own_searcher.corpus.root, ONLY_WORDS)
    add_segment(own_searcher.corpus, documents(5, 3))
    searcher = open_searcher(own_searcher.corpus)
    hits = searcher.search(QUERY, SearchOptions(k=500, senses=False, plain_ranking=True))
    expected = brute_force(searcher, {"1", "2"})
    assert any(hit.metadata["seed"] == "3" for hit in hits)
    for hit in hits:
        assert hit.score == pytest.approx(expected[hit.doc_id, hit.sentence_index], abs=1e-4)


def test_a_share_of_the_score_is_the_context_s(
    own_searcher: Searcher, open_searcher: Callable[[Corpus], Searcher]
) -> None:
    found = []
    for weight in (0.0, 1.0, 0.75):
        build_index(own_searcher.corpus.root, IndexOptions(context_weight=weight))
        searcher = open_searcher(own_searcher.corpus)
        hits = searcher.search(QUERY, SearchOptions(k=500, senses=False, plain_ranking=True))
        found.append({hit.vector_id: hit.score for hit in hits})
    vectors, words, both = found
    for vector_id, score in both.items():
        expected = 0.25 * vectors[vector_id] + 0.75 * words[vector_id]
        assert score == pytest.approx(expected, abs=1e-4)


def test_a_query_of_one_word_is_scored_by_vectors_alone(
    own_searcher: Searcher, open_searcher: Callable[[Corpus], Searcher]
) -> None:
    scores = []
    for weight in (0.0, 0.9):
        build_index(own_searcher.corpus.root, IndexOptions(context_weight=weight))
        hits = open_searcher(own_searcher.corpus).search(
            "the [bank]", SearchOptions(k=9, plain_ranking=True)
        )
        scores.append([(hit.vector_id, hit.score) for hit in hits])
    assert scores[0] == scores[1]


def test_more_like_a_line_and_less_like_another_weighs_the_words_around_them(
    own_searcher: Searcher, open_searcher: Callable[[Corpus], Searcher]
) -> None:
    build_index(own_searcher.corpus.root, ONLY_WORDS)
    searcher = open_searcher(own_searcher.corpus)
    every = searcher.search(QUERY, SearchOptions(k=500, senses=False, plain_ranking=True))
    lines = {hit.vector_id: (hit.left + hit.node + hit.right).split() for hit in every}
    one, other = every[0].vector_id, every[-1].vector_id
    like, unlike = (searcher.context_words.of(lines[i], {"bank"}).weights for i in (one, other))
    hits = searcher.like(
        [one], SearchOptions(k=500, senses=False, plain_ranking=True), unlike=[other]
    )
    assert len(hits) == len(every) - 2
    for hit in hits:
        words = {token.casefold() for token in lines[hit.vector_id]}
        score = sum(like.get(word, 0) - 0.5 * unlike.get(word, 0) for word in words)
        expected = min(1, score / len(lines[hit.vector_id]) ** 0.5)
        assert hit.score == pytest.approx(expected, abs=1e-4)


def test_an_index_from_before_the_context_is_searched_and_built_anew(
    own_searcher: Searcher,
    open_searcher: Callable[[Corpus], Searcher],
    tmp_path: Any,
    as_version_1: Callable[[Any], None],
) -> None:
    as_version_1(tmp_path / "corpus")
    corpus = Corpus.open(tmp_path / "corpus")
    path = tmp_path / "corpus" / "indexes" / str(corpus.snapshot.index) / "index.json"
    manifest = IndexManifest.from_json(path.read_bytes(), "index.json")
    settings = {k: v for k, v in manifest.settings.items() if k != "context_weight"}
    object.__setattr__(manifest, "settings", settings)
    for shard in manifest.shards:
        del shard.files["lengths"]  # type: ignore[attr-defined]
    path.write_text(manifest.to_json())
    before = open_searcher(corpus).search(QUERY, SearchOptions(k=5, senses=False))
    now = own_searcher.search(QUERY, SearchOptions(k=5, senses=False))
    assert [hit.score for hit in before] == [hit.score for hit in now]
    report = build_index(corpus.root, IndexOptions())
    assert "the existing index has an older format" in report["reason"]
    assert report["settings"]["context_weight"] == 0.6


def test_lengths_of_another_index_are_refused(
    own_searcher: Searcher, open_searcher: Callable[[Corpus], Searcher], tmp_path: Any
) -> None:
    build_index(own_searcher.corpus.root, ONLY_WORDS)
    corpus = Corpus.open(own_searcher.corpus.root)
    [path] = (tmp_path / "corpus" / "indexes").rglob("*lengths*")
    path.write_bytes(path.read_bytes()[:-4] + b"\1\0\0\0")
    with pytest.raises(CorpusError, match=r"lengths-.*damaged"):
        open_searcher(corpus).search(QUERY, SearchOptions())
