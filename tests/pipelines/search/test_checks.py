"""What cannot be searched is refused with the reason: queries, options, damaged files."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pipelines import api
from pipelines.api import Corpus
from pipelines.errors import CorpusError, UsageError
from pipelines.index.build import build_index
from pipelines.index.options import IndexOptions
from pipelines.search.options import SearchOptions, make_options
from pipelines.search.searcher import Searcher

QUERY = "money loan [bank] of water ."


@pytest.mark.parametrize(
    ("query", "options", "words"),
    [
        ("no brackets", {"any_word": True}, "--any-word is about a word"),
        ("no brackets", {"sense": 1}, "--sense chooses a sense of a word"),
        ("no brackets", {"sort": "1L"}, "sorts by the words around a word in [brackets]"),
        (QUERY, {"sense": 99}, "--sense is 99, but 'bank' has"),
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
        ({"min_score": float("nan")}, "--min-score is nan; give a finite number"),
        ({"any_word": True, "fold_case": True}, "--any-word already finds every form"),
        ({"any_word": True, "sense": 1}, "cannot be used with --any-word"),
        ({"sense": 0}, "numbered from 1"),
        ({"sort": "9L"}, "--sort is '9L'; expected one of score"),
        ({"sample": 0}, "--sample is 0"),
        ({"left": -1}, "--context is -1 tokens"),
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
        api.open_searcher(corpus)


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


def test_an_index_of_another_model_is_refused(
    own_searcher: Searcher, tmp_path: Any, as_version_1: Callable[[Any], None]
) -> None:
    as_version_1(tmp_path / "corpus")
    manifest = replace(own_searcher.index.manifest, fingerprint="0" * 64)
    path = tmp_path / "corpus" / "indexes" / manifest.index_id / "index.json"
    path.write_text(manifest.to_json())
    with pytest.raises(CorpusError, match="vectors of another model or other settings"):
        api.open_searcher(Corpus.open(own_searcher.corpus.root))


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
    own_searcher: Searcher,
    tmp_path: Path,
    text: str | None,
    words: str,
    as_version_1: Callable[[Any], None],
) -> None:
    as_version_1(tmp_path / "corpus")
    path = tmp_path / "corpus" / "indexes" / own_searcher.index.manifest.index_id / "index.json"
    path.unlink() if text is None else path.write_text(text)
    with pytest.raises(CorpusError) as caught:
        api.open_searcher(Corpus.open(tmp_path / "corpus"))
    assert words in str(caught.value)
