"""More like these lines, and less like those."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from pipelines.api import Corpus
from pipelines.errors import UsageError
from pipelines.index.build import build_index
from pipelines.index.centering import normalize
from pipelines.index.options import IndexOptions
from pipelines.search.options import SearchOptions
from pipelines.search.searcher import Searcher

QUERY = "money loan [bank] of water ."


def test_more_like_a_line_and_less_like_another(
    check_ranking: Callable[..., None], searcher: Searcher
) -> None:
    first, second, third = searcher.search(QUERY, SearchOptions(k=3))
    options = SearchOptions(k=12, senses=False)
    hits = searcher.like([first.vector_id, second.vector_id], options, unlike=[third.vector_id])
    rows = {
        row["vector_id"]: np.array(row["vector"], np.float32)
        for batch in searcher.corpus.read("tokens")
        for row in batch.to_pylist()
        if row["token"] == "bank"
    }
    vectors = searcher.index.centering["tokens"].apply(np.stack(list(rows.values())))
    unit = dict(zip(rows, vectors, strict=True))
    query = (unit[first.vector_id] + unit[second.vector_id]) / 2 - 0.5 * unit[third.vector_id]
    scores = vectors @ normalize(query[None])[0]
    expected = [
        (i, float(s))
        for i, s in sorted(zip(rows, scores, strict=True), key=lambda pair: -pair[1])
        if i not in (first.vector_id, second.vector_id, third.vector_id)
    ]
    check_ranking(hits, expected)


def test_examples_in_segments_newer_than_the_index_serve_too(
    own_searcher: Searcher,
    documents: Callable[..., Any],
    add_segment: Callable[..., Corpus],
    open_searcher: Callable[[Corpus], Searcher],
) -> None:
    add_segment(own_searcher.corpus, documents(5, 3))
    later = open_searcher(own_searcher.corpus)
    new = next(h for h in later.search(QUERY, SearchOptions(k=99)) if h.metadata["seed"] == "3")
    hits = later.like([new.vector_id], SearchOptions(k=99))
    assert new.vector_id not in {hit.vector_id for hit in hits}
    assert {hit.node for hit in hits} == {new.node}


def test_sentences_can_be_examples(searcher: Searcher) -> None:
    hit = searcher.search("money bank", SearchOptions(k=1))[0]
    hits = searcher.like([hit.vector_id], SearchOptions(k=5))
    assert len(hits) == 5
    assert hits[0].token_index is None


@pytest.mark.parametrize(
    ("ids", "words"),
    [
        ([], "at least one vector_id"),
        ([(1 << 40) + (1 << 39) + 99999], "there is no token with the vector_id"),
        ([(1 << 40), (1 << 40) + (1 << 39)], "tokens and sentences; give ids of only one kind"),
    ],
)
def test_examples_that_are_not_there_are_refused(
    searcher: Searcher, ids: list[int], words: str
) -> None:
    with pytest.raises(UsageError) as caught:
        searcher.like(ids, SearchOptions())
    assert words in str(caught.value)


def test_examples_are_compared_with_their_sentences(
    own_searcher: Searcher, open_searcher: Callable[[Corpus], Searcher]
) -> None:
    build_index(own_searcher.corpus.root, IndexOptions(sentence_weight=1.0))
    later = open_searcher(own_searcher.corpus)
    [first] = later.search(QUERY, SearchOptions(k=1))
    hits = later.like([first.vector_id], SearchOptions(k=5))
    rows = {
        (row["doc_id"], row["sentence_index"]): np.array(row["vector"], np.float32)
        for batch in later.corpus.read("sentences")
        for row in batch.to_pylist()
    }
    centering = later.index.centering["sentences"]
    unit = dict(zip(rows, centering.apply(np.stack(list(rows.values()))), strict=True))
    around = unit[first.doc_id, first.sentence_index]
    for hit in hits:
        assert hit.score == pytest.approx(unit[hit.doc_id, hit.sentence_index] @ around, abs=2e-3)
