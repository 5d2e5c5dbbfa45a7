"""Search: every mode against a brute-force ranking, filters, notes."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from pipelines.api import Corpus
from pipelines.corpus.commits import Change, commit
from pipelines.errors import UsageError
from pipelines.index.build import build_index
from pipelines.index.options import IndexOptions
from pipelines.search.options import SearchOptions
from pipelines.search.searcher import Searcher

# Scores as plain cosines, which brute force computes; what else an index may do is tested apart.
PLAIN = IndexOptions(word_center=False, sentence_weight=0.0, context_weight=0.0)
QUERY = "money loan [bank] of water ."


def brute_force(
    searcher: Searcher,
    table: str,
    query: str,
    accept: Callable[[dict[str, Any]], bool] = lambda _: True,
) -> list[tuple[int, float]]:
    """Rank all live vectors of a table by cosine after centering, straight from the segments."""
    encoded = searcher.encoder.encode(query)
    vector = encoded.token_vector if table == "tokens" else encoded.sentence_vector
    assert vector is not None
    centering = searcher.index.centering[table]
    rows = [
        row for batch in searcher.corpus.read(table) for row in batch.to_pylist() if accept(row)
    ]
    vectors = np.array([row["vector"] for row in rows], np.float32)
    scores = centering.apply(vectors) @ centering.apply(vector[None])[0]
    order = np.argsort(-scores, kind="stable")
    return [(rows[i]["vector_id"], float(scores[i])) for i in order]


@pytest.mark.parametrize(
    ("query", "options", "accept"),
    [
        (QUERY, {}, lambda token: token == "bank"),
        (QUERY, {"fold_case": True}, lambda token: token.lower() == "bank"),
        (QUERY, {"inflections": True}, lambda token: token.lower() in ("bank", "banks")),
        (QUERY, {"any_word": True}, lambda _: True),
        ("[Bank] of water .", {}, lambda token: token in ("Bank", "bank")),
        ("river [Bank] of", {}, lambda token: token == "Bank"),
    ],
)
def test_each_scope_ranks_as_brute_force_does(
    check_ranking: Callable[..., None],
    searcher: Searcher,
    query: str,
    options: dict[str, Any],
    accept: Callable[[str], bool],
) -> None:
    hits = searcher.search(query, SearchOptions(k=15, senses=False, **options))
    expected = brute_force(searcher, "tokens", query, lambda row: accept(row["token"]))
    assert len(hits) == min(15, len(expected))
    assert hits.compared == len(expected)
    check_ranking(hits, expected)


def test_sentences_rank_as_brute_force_does(
    check_ranking: Callable[..., None], searcher: Searcher
) -> None:
    query = "money loan bank of water ."
    hits = searcher.search(query, SearchOptions(k=7))
    check_ranking(hits, brute_force(searcher, "sentences", query))
    assert (hits[0].token_index, hits[0].left, hits[0].right) == (None, "", "")
    assert hits[0].node == " ".join(hits[0].tokens)


def test_a_hit_is_its_line(searcher: Searcher) -> None:
    sentences = {
        (row["doc_id"], row["sentence_index"]): row
        for batch in searcher.corpus.read("sentences")
        for row in batch.to_pylist()
    }
    for hit in searcher.search(QUERY, SearchOptions(k=50)):
        sentence = sentences[hit.doc_id, hit.sentence_index]
        assert hit.left + hit.node + hit.right == sentence["text"]
        assert hit.node == hit.tokens[hit.token_index] == "bank"
        assert list(hit.tokens) == sentence["tokens"]
        assert hit.attention == pytest.approx(sentence["attention"])
        assert hit.metadata["seed"] == hit.doc_id.split("/")[0]


@pytest.mark.parametrize("query", [QUERY, "money loan bank of water ."])
@pytest.mark.parametrize("options", [{}, {"any_word": True}])
def test_segments_newer_than_the_index_are_found_and_said(
    check_ranking: Callable[..., None],
    own_searcher: Searcher,
    documents: Callable[..., Any],
    add_segment: Callable[..., Corpus],
    open_searcher: Callable[[Corpus], Searcher],
    query: str,
    options: dict[str, Any],
) -> None:
    if "[" not in query and options:
        options = {}
    add_segment(own_searcher.corpus, documents(5, 3))
    later = open_searcher(own_searcher.corpus)
    hits = later.search(query, SearchOptions(k=60, senses=False, **options))
    table = "tokens" if "[" in query else "sentences"
    accept = {True: lambda _: True, False: lambda row: row.get("token", "bank") == "bank"}
    check_ranking(hits, brute_force(later, table, query, accept[bool(options)]))
    assert {hit.metadata["seed"] for hit in hits} == {"1", "2", "3"}
    assert "1 segment is newer than the index" in hits.notes[0]


def test_the_dead_are_not_found(
    own_searcher: Searcher,
    documents: Callable[..., Any],
    add_segment: Callable[..., Corpus],
    open_searcher: Callable[[Corpus], Searcher],
) -> None:
    corpus = add_segment(own_searcher.corpus, documents(3, 3))
    segment = {s.counts["documents"]: s.segment_id for s in corpus.segments}
    commit(corpus, Change(operation="delete", supersede={segment[8]: ["1/1"], segment[3]: ["3/0"]}))
    later = open_searcher(corpus)
    for options in (SearchOptions(k=500), SearchOptions(k=500, any_word=True)):
        found = {hit.doc_id for hit in later.search(QUERY, options)}
        assert not found & {"1/1", "3/0"}
        assert {"1/0", "3/1"} <= found
    assert "1/1" not in {h.doc_id for h in later.search("money bank", SearchOptions(k=500))}


def test_a_segment_that_was_merged_away_is_found_once(
    own_searcher: Searcher,
    documents: Callable[..., Any],
    add_segment: Callable[..., Corpus],
    open_searcher: Callable[[Corpus], Searcher],
) -> None:
    corpus = add_segment(
        own_searcher.corpus, documents(6, 2)
    )  # the second segment again, as merged
    second = corpus.segments[1].segment_id
    corpus = commit(corpus, Change(operation="compact", remove=(second,)))
    later = open_searcher(corpus)
    hits = later.search(QUERY, SearchOptions(k=500, senses=False))
    expected = brute_force(later, "tokens", QUERY, lambda row: row["token"] == "bank")
    assert sorted(hit.vector_id for hit in hits) == sorted(i for i, _ in expected)


@pytest.mark.parametrize("any_word", [False, True])
def test_filters_keep_documents_with_the_metadata(
    check_ranking: Callable[..., None], searcher: Searcher, any_word: bool
) -> None:
    filters = {"parity": "1", "seed": "2"}
    options = SearchOptions(k=9, any_word=any_word, filters=filters, senses=False)
    hits = searcher.search(QUERY, options)
    wanted = {"2/1", "2/3", "2/5"}
    expected = brute_force(
        searcher,
        "tokens",
        QUERY,
        lambda row: row["doc_id"] in wanted and (any_word or row["token"] == "bank"),
    )
    check_ranking(hits, expected)


def test_a_filter_that_nothing_meets_names_the_keys_there_are(searcher: Searcher) -> None:
    with pytest.raises(
        UsageError, match=r"no document has .*colour=red; .* keys of this corpus are: parity, seed"
    ):
        searcher.search(QUERY, SearchOptions(filters={"colour": "red"}))


def test_scores_below_the_least_are_left_out_and_counted(searcher: Searcher) -> None:
    everything = searcher.search(QUERY, SearchOptions(k=10))
    least = everything[3].score
    hits = searcher.search(QUERY, SearchOptions(k=10, min_score=least))
    assert [hit.vector_id for hit in hits] == [hit.vector_id for hit in everything[:4]]
    assert any("6 of the nearest 10 lines score below" in note for note in hits.notes)


def test_a_sample_is_drawn_from_the_nearest_and_repeats(searcher: Searcher) -> None:
    nearest = {hit.vector_id for hit in searcher.search(QUERY, SearchOptions(k=20))}
    first, again, other = (
        [h.vector_id for h in searcher.search(QUERY, SearchOptions(k=20, sample=5, seed=seed))]
        for seed in (1, 1, 2)
    )
    assert first == again
    assert first != other
    assert len(first) == 5
    assert set(first) <= nearest


def test_lines_can_be_sorted_by_their_context(searcher: Searcher) -> None:
    hits = searcher.search(QUERY, SearchOptions(k=30, sort="1R"))
    after = [" ".join(hit.tokens[hit.token_index + 1 :]).casefold().split() for hit in hits]
    assert after == sorted(after)
    by_document = searcher.search(QUERY, SearchOptions(k=30, sort="document"))
    places = [(hit.doc_id, hit.sentence_index, hit.token_index) for hit in by_document]
    assert places == sorted(places)


def test_context_is_cut_to_the_width_asked_for(searcher: Searcher) -> None:
    for hit in searcher.search(QUERY, SearchOptions(k=30, left=2, right=1)):
        place = hit.token_index
        assert hit.left.split() == list(hit.tokens[max(0, place - 2) : place])
        assert hit.right.split() == list(hit.tokens[place + 1 : place + 2])


def test_k_beyond_the_corpus_gives_all_there_is(searcher: Searcher) -> None:
    hits = searcher.search(QUERY, SearchOptions(k=10_000))
    assert len(hits) == hits.forms["bank"] == hits.compared


def test_a_word_that_never_occurs_is_said_with_the_nearest_forms(searcher: Searcher) -> None:
    hits = searcher.search("money [bannk] of", SearchOptions())
    assert not hits
    assert "'bannk' never occurs in this corpus; nearest forms: " in hits.notes[-1]
    assert "bank (" in hits.notes[-1]


def test_other_spellings_are_said(searcher: Searcher) -> None:
    assert any(
        "not searched: Bank (" in note for note in searcher.search(QUERY, SearchOptions()).notes
    )


@pytest.mark.parametrize("factory", ["IVF4,SQfp16", "OPQ4,IVF4,PQ4x4", "HNSW8,SQfp16"])
def test_any_word_with_an_approximate_index_scores_exactly_what_it_finds(
    make_corpus: Callable[..., Corpus],
    documents: Callable[..., Any],
    open_searcher: Callable[[Corpus], Searcher],
    factory: str,
) -> None:
    corpus = make_corpus(documents(60, 1))
    build_index(corpus.root, replace(PLAIN, factory=factory))
    searcher = open_searcher(corpus)
    hits = searcher.search(QUERY, SearchOptions(k=10, any_word=True))
    expected = dict(brute_force(searcher, "tokens", QUERY))
    np.testing.assert_allclose(
        [hit.score for hit in hits], [expected[hit.vector_id] for hit in hits], atol=2e-3
    )
    assert len({hit.vector_id for hit in hits} & set(list(expected)[:10])) >= 8


def test_hits_become_an_arrow_table(searcher: Searcher) -> None:
    hits = searcher.search(QUERY, SearchOptions(k=4))
    table = hits.to_arrow()
    assert table["vector_id"].to_pylist() == [hit.vector_id for hit in hits]
    assert table["metadata"].to_pylist()[0] == list(hits[0].metadata.items())
    assert searcher.search("money [bannk]", SearchOptions()).to_arrow().num_rows == 0


def test_a_filter_that_no_occurrence_passes_is_said(
    own_searcher: Searcher,
    hand_document: type,
    add_segment: Callable[..., Corpus],
    open_searcher: Callable[[Corpus], Searcher],
) -> None:
    document = hand_document(doc_id="x", sentences=[["river", "water"]], metadata={"seed": "none"})
    add_segment(own_searcher.corpus, [document])
    build_index(own_searcher.corpus.root, IndexOptions())
    later = open_searcher(own_searcher.corpus)
    hits = later.search(QUERY, SearchOptions(filters={"seed": "none"}))
    assert not hits
    assert "but in no document that passes the filters" in hits.notes[-1]
