"""Senses of a word of a corpus: told, kept, read again."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipelines import api
from pipelines.api import Corpus
from pipelines.corpus.commits import Change, commit
from pipelines.errors import CorpusError, UsageError
from pipelines.index.build import build_index
from pipelines.index.options import IndexOptions
from pipelines.search.hits import Hit
from pipelines.search.options import SearchOptions
from pipelines.search.query_encoder import EncodedQuery
from pipelines.search.searcher import Searcher
from pipelines.senses.lines import describe_senses
from pipelines.senses.options import SenseOptions

TOPICS = {
    "water": ["river", "water", "shore", "mud", "fish"],
    "money": ["loan", "money", "credit", "cash", "branch"],
}

FILLER = ["the", "a", "near", "saw", "old", "green", "two"]


def sense_vector(sentence: Sequence[str], index: int, dim: int = 16) -> np.ndarray:
    """Word i of a sentence leans towards the sentence's topic; noise depends on the sentence."""
    rng = np.random.default_rng(abs(hash_of(*sentence, index)))
    topic = next((t for t, words in TOPICS.items() if set(words) & set(sentence)), "none")
    word = np.random.default_rng(hash_of(sentence[index])).standard_normal(dim)
    lean = np.random.default_rng(hash_of(topic)).standard_normal(dim)
    return word + 1.5 * lean + 0.4 * rng.standard_normal(dim) + 1


def hash_of(*words: object) -> int:
    return int.from_bytes("|".join(map(str, words)).encode()) % (2**61 - 1)


@pytest.fixture(scope="module")
def draw(hand_document: type) -> Callable[..., list[Any]]:
    """A function that draws documents about a topic, all with the word bank."""

    def documents(topic: str, count: int, seed: int) -> list[Any]:
        rng = np.random.default_rng(seed)
        return [
            hand_document(
                doc_id=f"{topic}/{seed}/{number}",
                sentences=[
                    [
                        *rng.choice(FILLER, 3).tolist(),
                        "bank",
                        *rng.choice(FILLER, 2).tolist(),
                        *rng.choice(TOPICS[topic], 2).tolist(),
                        f"n{seed}.{number}",
                    ]
                ],
                metadata={"topic": topic},
            )
            for number in range(count)
        ]

    return documents


@pytest.fixture
def corpus(make_corpus: Callable[..., Corpus], draw: Callable[..., list[Any]]) -> Corpus:
    """60 documents about water, 40 about money, indexed."""
    corpus = make_corpus(draw("water", 60, 1), draw("money", 40, 2), vector=sense_vector)
    build_index(corpus.root, IndexOptions())
    return Corpus.open(corpus.root)


class TopicEncoder:
    """Encodes `[bank] TOPIC` by the rule of the corpus."""

    def encode(self, query: str) -> EncodedQuery:
        tokens = query.replace("[", "").replace("]", "").split()
        vector = sense_vector(tokens, tokens.index("bank")).astype(np.float32)
        return EncodedQuery(
            text=query,
            tokens=tuple(tokens),
            token_index=tokens.index("bank"),
            token_vector=vector,
            sentence_vector=vector,
            several=False,
        )


def open_searcher(corpus: Corpus) -> Searcher:
    searcher = api.open_searcher(Corpus.open(corpus.root))
    searcher.encoder = TopicEncoder()  # type: ignore[assignment]
    return searcher


def topics(hits: Sequence[Hit]) -> Counter[str]:
    return Counter(hit.metadata["topic"] for hit in hits)


def test_two_topics_are_two_senses_with_their_words(corpus: Corpus) -> None:
    described = describe_senses(corpus, "bank")
    first, second = described.senses.senses
    assert [(s.number, s.size, round(s.share, 2)) for s in (first, second)] == [
        (1, 60, 0.6),
        (2, 40, 0.4),
    ]
    assert set(first.labels[:3]) <= set(TOPICS["water"])
    assert set(second.labels[:3]) <= set(TOPICS["money"])
    for number, topic in ((1, "water"), (2, "money")):
        lines = described.lines[number]
        assert topics(lines) == {topic: 3}
        assert [hit.vector_id for hit in lines] == list(
            described.senses.senses[number - 1].prototypes
        )
        assert [hit.score for hit in lines] == sorted((h.score for h in lines), reverse=True)


def test_senses_are_kept_beside_the_index_and_read_again(
    corpus: Corpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = describe_senses(corpus, "bank").to_json()
    [kept] = Path(corpus.root).glob("indexes/*/senses/*.parquet")

    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("induced again")

    monkeypatch.setattr("pipelines.senses.service.induce", refuse)
    assert describe_senses(corpus, "bank").to_json() == first
    kept.write_bytes(b"not parquet")
    with pytest.raises(CorpusError, match=r"senses/.* is damaged .*; remove it"):
        describe_senses(corpus, "bank")


def test_hits_tell_their_sense_and_can_be_filtered_by_it(corpus: Corpus) -> None:
    searcher = open_searcher(corpus)
    hits = searcher.search("the [bank] river", SearchOptions(k=100))
    assert {(hit.metadata["topic"], hit.sense) for hit in hits} == {("water", 1), ("money", 2)}
    assert topics(hits[:60]) == {"water": 60}
    only = searcher.search("the [bank] river", SearchOptions(k=100, sense=2))
    assert topics(only) == {"money": 40}
    assert only.compared == 40


def test_occurrences_newer_than_the_index_get_the_nearest_sense(
    corpus: Corpus, draw: Callable[..., list[Any]], add_segment: Callable[..., Corpus]
) -> None:
    add_segment(corpus, draw("money", 5, 3), vector=sense_vector)
    searcher = open_searcher(corpus)
    hits = searcher.search("the [bank] loan", SearchOptions(k=100, sense=2))
    assert topics(hits) == {"money": 45}


def test_the_dead_are_not_counted(corpus: Corpus) -> None:
    [water] = [s.segment_id for s in corpus.segments if s.counts["documents"] == 60]
    dead = [f"water/1/{number}" for number in range(30)]
    assert describe_senses(corpus, "bank").senses.senses[0].size == 60  # and kept
    later = commit(corpus, Change(operation="delete", supersede={water: dead}))
    sizes = {s.size for s in describe_senses(later, "bank").senses.senses}
    assert sizes == {30, 40}


def test_one_topic_is_one_sense(
    make_corpus: Callable[..., Corpus], draw: Callable[..., list[Any]]
) -> None:
    corpus = make_corpus(draw("water", 80, 1), vector=sense_vector)
    build_index(corpus.root, IndexOptions())
    [sense] = describe_senses(Corpus.open(corpus.root), "bank").senses.senses
    assert (sense.size, sense.share, sense.quality) == (80, 1.0, 0.0)


def repeated(document: Any, times: int) -> list[Any]:
    return [replace(document, doc_id=f"{document.doc_id}/{number}") for number in range(times)]


def test_identical_lines_are_counted_once(
    make_corpus: Callable[..., Corpus], draw: Callable[..., list[Any]]
) -> None:
    [notice] = draw("water", 1, 7)
    documents = [*draw("water", 20, 1), *draw("money", 20, 2), *repeated(notice, 100)]
    corpus = make_corpus(documents, vector=sense_vector)
    build_index(corpus.root, IndexOptions())
    told = describe_senses(Corpus.open(corpus.root), "bank").senses
    assert [sense.size for sense in told.senses] == [21, 20]
    assert len(told.vector_ids) == 140  # each has its sense all the same
    assert sum(told.numbers == 1) == 120
    assert "99 lines repeat another word for word; identical lines are counted once" in told.notes


def test_a_word_in_one_line_only_has_one_sense_even_by_force(
    make_corpus: Callable[..., Corpus], draw: Callable[..., list[Any]]
) -> None:
    corpus = make_corpus(repeated(draw("water", 1, 7)[0], 40), vector=sense_vector)
    build_index(corpus.root, IndexOptions())
    told = describe_senses(Corpus.open(corpus.root), "bank").senses
    assert [sense.size for sense in told.senses] == [1]
    # One line cannot be split, so that --force is not recommended.
    assert any(
        n.endswith("occurs in 1 different line; at least 10 are needed to find senses")
        for n in told.notes
    )
    forced = describe_senses(
        Corpus.open(corpus.root), "bank", options=SenseOptions(force=True)
    ).senses
    assert [sense.size for sense in forced.senses] == [1]
    assert any("are too few or too similar to be split" in n for n in forced.notes)


def test_a_share_that_no_split_reaches_is_named(
    make_corpus: Callable[..., Corpus], draw: Callable[..., list[Any]]
) -> None:
    corpus = make_corpus([*draw("water", 24, 1), *draw("money", 16, 2)], vector=sense_vector)
    build_index(corpus.root, IndexOptions())
    opened = Corpus.open(corpus.root)
    assert len(describe_senses(opened, "bank").senses.senses) == 2
    told = describe_senses(opened, "bank", options=SenseOptions(min_share=0.45)).senses
    assert len(told.senses) == 1
    assert any("less than 45% of the occurrences (--min-share)" in note for note in told.notes)


def test_three_lines_are_split_by_force_alone(
    make_corpus: Callable[..., Corpus], draw: Callable[..., list[Any]]
) -> None:
    corpus = make_corpus(draw("water", 2, 1), draw("money", 1, 2), vector=sense_vector)
    build_index(corpus.root, IndexOptions())
    opened = Corpus.open(corpus.root)
    told = describe_senses(opened, "bank").senses
    assert len(told.senses) == 1
    assert any(
        "occurs 3 times; at least 10 occurrences are needed to find senses (--force splits" in note
        for note in told.notes
    )
    forced = describe_senses(opened, "bank", options=SenseOptions(force=True)).senses
    assert [sense.size for sense in forced.senses] == [2, 1]


def test_one_document_is_enough_for_senses(
    make_corpus: Callable[..., Corpus], draw: Callable[..., list[Any]]
) -> None:
    parts = [*draw("water", 30, 1), *draw("money", 30, 2)]
    whole = replace(parts[0], sentences=[s for part in parts for s in part.sentences])
    corpus = make_corpus([whole], vector=sense_vector)
    build_index(corpus.root, IndexOptions())
    told = describe_senses(Corpus.open(corpus.root), "bank").senses
    assert sorted(sense.size for sense in told.senses) == [30, 30]
    assert any("general settings" in note for note in told.notes)


def test_a_corpus_that_cannot_be_written_still_tells_senses(
    corpus: Corpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> None:
        raise PermissionError("read-only file system")

    monkeypatch.setattr("pipelines.senses.service.write_then_commit", refuse)
    assert len(describe_senses(corpus, "bank").senses.senses) == 2
    assert not list(Path(corpus.root).glob("indexes/*/senses/*"))


def test_senses_of_a_word_that_never_occurs_are_refused(corpus: Corpus) -> None:
    with pytest.raises(
        UsageError, match="'bannk' never occurs in this corpus; nearest forms: bank"
    ):
        describe_senses(corpus, "bannk")
