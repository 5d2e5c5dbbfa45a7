"""Search: every mode against a brute-force ranking, filters, notes, refusals."""

import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipelines.corpus import Change, Corpus
from pipelines.errors import CorpusError, UsageError
from pipelines.index.build import build_index
from pipelines.index.centering import normalize
from pipelines.index.options import IndexOptions, SearchOptions
from pipelines.search.engine import Searcher, make_options
from pipelines.search.query import find_node, parse_query
from pipelines.search.query_encoder import EncodedQuery

# Scores as plain cosines, which brute force computes; what else an index may do is tested apart.
PLAIN = IndexOptions(word_center=False, sentence_weight=0.0)
WORDS = ["bank", "Bank", "banks", "river", "money", "loan", "water", "of", "shore", "."]
QUERY = "money loan [bank] of water ."


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
        searcher = Searcher(Corpus.open(corpus.root))
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


def check_ranking(hits: Sequence[Any], expected: list[tuple[int, float]]) -> None:
    assert [hit.vector_id for hit in hits] == [vector_id for vector_id, _ in expected[: len(hits)]]
    np.testing.assert_allclose(
        [hit.score for hit in hits], [score for _, score in expected[: len(hits)]], atol=2e-3
    )


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
    searcher: Searcher, query: str, options: dict[str, Any], accept: Callable[[str], bool]
) -> None:
    hits = searcher.search(query, SearchOptions(k=15, senses=False, **options))
    expected = brute_force(searcher, "tokens", query, lambda row: accept(row["token"]))
    assert len(hits) == min(15, len(expected))
    assert hits.compared == len(expected)
    check_ranking(hits, expected)


def test_sentences_rank_as_brute_force_does(searcher: Searcher) -> None:
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
    assert "1 segments are newer than the index" in hits.notes[0]


def test_the_dead_are_not_found(
    own_searcher: Searcher,
    documents: Callable[..., Any],
    add_segment: Callable[..., Corpus],
    open_searcher: Callable[[Corpus], Searcher],
) -> None:
    corpus = add_segment(own_searcher.corpus, documents(3, 3))
    segment = {s.counts["documents"]: s.segment_id for s in corpus.segments}
    corpus.commit(Change(operation="delete", supersede={segment[8]: ["1/1"], segment[3]: ["3/0"]}))
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
    corpus = corpus.commit(Change(operation="compact", remove=(second,)))
    later = open_searcher(corpus)
    hits = later.search(QUERY, SearchOptions(k=500, senses=False))
    expected = brute_force(later, "tokens", QUERY, lambda row: row["token"] == "bank")
    assert sorted(hit.vector_id for hit in hits) == sorted(i for i, _ in expected)


@pytest.mark.parametrize("any_word", [False, True])
def test_filters_keep_documents_with_the_metadata(searcher: Searcher, any_word: bool) -> None:
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
    with pytest.raises(UsageError, match=r"no document has .*colour=red; .* keys: parity, seed"):
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


def test_more_like_a_line_and_less_like_another(searcher: Searcher) -> None:
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
        ([(1 << 40) + (1 << 39) + 99999], "no live token with the vector_id"),
        ([(1 << 40), (1 << 40) + (1 << 39)], "mix tokens and sentences"),
    ],
)
def test_examples_that_are_not_there_are_refused(
    searcher: Searcher, ids: list[int], words: str
) -> None:
    with pytest.raises(UsageError) as caught:
        searcher.like(ids, SearchOptions())
    assert words in str(caught.value)


def test_word_centering_and_sentence_weight_score_as_their_formulas(
    own_searcher: Searcher, open_searcher: Callable[[Corpus], Searcher]
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


@pytest.mark.parametrize(
    ("query", "options", "words"),
    [
        ("no brackets", {"any_word": True}, "--any-word is about a word"),
        ("no brackets", {"sense": 1}, "--sense picks a sense of a word"),
        ("no brackets", {"sort": "1L"}, "needs a word in [brackets]"),
        (QUERY, {"sense": 99}, "--sense is 99, but 'bank' has 1 sense here"),
        ("the [bank", {}, "is not closed"),
        ("[a] [b]", {}, "two words are in brackets"),
    ],
)
def test_queries_that_cannot_mean_anything_are_refused(
    searcher: Searcher, query: str, options: dict[str, Any], words: str
) -> None:
    with pytest.raises(UsageError) as caught:
        searcher.search(query, SearchOptions(**options))
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"k": 0}, "k is 0; ask for at least 1"),
        ({"any_word": True, "fold_case": True}, "--any-word already takes every form"),
        ({"any_word": True, "sense": 1}, "cannot go with --any-word"),
        ({"sense": 0}, "numbered from 1"),
        ({"sort": "9L"}, "--sort is '9L'; one of score"),
        ({"sample": 0}, "--sample is 0"),
        ({"left": -1}, "context of -1 tokens"),
        ({"colour": 1}, "search has no option 'colour'; it has k, any_word"),
    ],
)
def test_options_that_cannot_mean_anything_are_refused(options: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError) as caught:
        make_options(options)
    assert words in str(caught.value)


def test_a_corpus_without_an_index_says_how_to_build_one(
    make_corpus: Callable[..., Corpus], documents: Callable[..., Any]
) -> None:
    corpus = make_corpus(documents(2, 1))
    with pytest.raises(CorpusError, match="has no index; build one: sensegrep index --corpus"):
        Searcher(corpus)


def test_words_are_refused_where_only_sentences_were_embedded(
    make_corpus: Callable[..., Corpus],
    documents: Callable[..., Any],
    open_searcher: Callable[[Corpus], Searcher],
) -> None:
    corpus = make_corpus(documents(3, 1), tokens="none")
    build_index(corpus.root, IndexOptions())
    searcher = open_searcher(corpus)
    with pytest.raises(CorpusError, match=r"no token vectors .*--tokens none"):
        searcher.search(QUERY, SearchOptions())
    assert searcher.search("money bank", SearchOptions(k=2))


def test_an_index_of_another_model_is_refused(own_searcher: Searcher, tmp_path: Any) -> None:
    manifest = replace(own_searcher.index.manifest, fingerprint="0" * 64)
    path = tmp_path / "corpus" / "indexes" / manifest.index_id / "index.json"
    path.write_text(manifest.to_json())
    with pytest.raises(CorpusError, match="vectors of another model or other settings"):
        Searcher(Corpus.open(own_searcher.corpus.root))


@pytest.mark.parametrize("name", ["tokens", "keys", "lines", "documents", "sentences", "forms"])
@pytest.mark.parametrize("damage", ["flipped", "cut", "gone"])
def test_a_damaged_file_is_refused_not_misread(
    own_searcher: Searcher,
    open_searcher: Callable[[Corpus], Searcher],
    tmp_path: Any,
    name: str,
    damage: str,
) -> None:
    manifest = own_searcher.index.manifest
    file = manifest.forms if name == "forms" else manifest.shards[0].files[name]
    path = tmp_path / "corpus" / file.path
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    damaged = {"flipped": bytes(data), "cut": bytes(data[:-1])}
    path.unlink() if damage == "gone" else path.write_bytes(damaged[damage])
    later = open_searcher(own_searcher.corpus)
    query = "money bank" if name == "sentences" else QUERY
    with pytest.raises(CorpusError, match=r"(is damaged|is missing).*build it again"):
        later.search(query, SearchOptions())


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"schema_version": 99, "written_by": "sensegrep 9.0"}', "schema version 99, written by"),
        ("{}", "is damaged"),
        ("not JSON", "is damaged"),
        (None, "is missing; build it again: sensegrep index"),
    ],
)
def test_a_manifest_that_cannot_be_read_is_refused(
    own_searcher: Searcher, tmp_path: Path, text: str | None, words: str
) -> None:
    path = tmp_path / "corpus" / "indexes" / own_searcher.index.manifest.index_id / "index.json"
    path.unlink() if text is None else path.write_text(text)
    with pytest.raises(CorpusError) as caught:
        Searcher(Corpus.open(tmp_path / "corpus"))
    assert words in str(caught.value)


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
    assert "but in no live document that passes the filters" in hits.notes[-1]
