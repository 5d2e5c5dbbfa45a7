"""Scores: the formulas of word centring, sentence and context, computed by hand."""

from collections.abc import Callable

import numpy as np
import pytest

from pipelines.api import Corpus
from pipelines.index.build import build_index
from pipelines.index.centering import normalize
from pipelines.index.options import IndexOptions
from pipelines.search.options import SearchOptions
from pipelines.search.searcher import Searcher

QUERY = "money loan [bank] of water ."


def test_word_centering_and_sentence_weight_score_as_their_formulas(
    check_ranking: Callable[..., None],
    own_searcher: Searcher,
    open_searcher: Callable[[Corpus], Searcher],
) -> None:
    build_index(own_searcher.corpus.root, IndexOptions(word_center=True, sentence_weight=0.25))
    later = open_searcher(own_searcher.corpus)
    rows = [
        row
        for batch in later.corpus.read("tokens")
        for row in batch.to_pylist()
        if row["token"] == "bank"
    ]
    sentences = {
        (row["doc_id"], row["sentence_index"]): row["vector"]
        for batch in later.corpus.read("sentences")
        for row in batch.to_pylist()
    }
    encoded = later.encoder.encode(QUERY)
    token_centering, sentence_centering = (
        later.index.centering[t] for t in ("tokens", "sentences")
    )
    tokens = token_centering.apply(np.array([row["vector"] for row in rows], np.float32))
    around = sentence_centering.apply(
        np.array([sentences[row["doc_id"], row["sentence_index"]] for row in rows], np.float32)
    )
    mean = tokens.sum(axis=0) / (len(tokens) + 10)  # ten occurrences' worth of doubt
    query = normalize(token_centering.apply(encoded.token_vector[None]) - mean)[0]
    context = sentence_centering.apply(encoded.sentence_vector[None])[0]
    scores = 0.75 * (normalize(tokens - mean) @ query) + 0.25 * (around @ context)
    order = np.argsort(-scores)
    expected = [(rows[i]["vector_id"], float(scores[i])) for i in order]
    check_ranking(later.search(QUERY, SearchOptions(k=10)), expected)


def test_the_only_occurrence_of_a_word_is_found_around_its_own_mean(
    own_searcher: Searcher,
    hand_document: type,
    add_segment: Callable[..., Corpus],
    open_searcher: Callable[[Corpus], Searcher],
) -> None:
    add_segment(
        own_searcher.corpus, [hand_document(doc_id="x", sentences=[["the", "heron", "river"]])]
    )
    build_index(own_searcher.corpus.root, IndexOptions(word_center=True))
    [hit] = open_searcher(own_searcher.corpus).search("the [heron] river", SearchOptions())
    assert hit.score == pytest.approx(1, abs=2e-3)
