"""Building an index: what stands in its files, what an increment keeps, what is refused."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipelines.api import Corpus
from pipelines.errors import CorpusError, UsageError
from pipelines.index.build import build_index
from pipelines.index.options import IndexOptions
from pipelines.index.reader import OpenIndex

Check = Callable[[OpenIndex, Corpus], None]


@pytest.mark.parametrize("dtype", ["float16", "float32"])
@pytest.mark.parametrize("tokens", ["all", "content"])
def test_every_vector_stands_in_its_forms_range(
    make_corpus: Callable[..., Corpus],
    documents: Callable[..., Any],
    dtype: str,
    tokens: str,
    check_against_tables: Check,
) -> None:
    corpus = make_corpus(documents(7, 1), documents(5, 2), dtype=dtype, tokens=tokens, parts=2)
    report = build_index(corpus.root, IndexOptions())
    corpus = Corpus.open(corpus.root)
    assert corpus.snapshot.index == report["index_id"]
    check_against_tables(OpenIndex.open(corpus), corpus)
    assert report["recall_at_10"] == 1.0
    assert report["tables"]["tokens"]["vectors"] == sum(
        s.counts["token_vectors"] for s in corpus.segments
    )


def test_the_same_corpus_gives_the_same_bytes(
    make_corpus: Callable[..., Corpus], documents: Callable[..., Any]
) -> None:
    reports = []
    for name in ("one", "two"):
        corpus = make_corpus(documents(5, 1), name=name)
        reports.append(build_index(corpus.root, IndexOptions(remove_components=1)))
    manifests = [
        json.loads((corpus.parent / name / "indexes" / r["index_id"] / "index.json").read_text())
        for corpus, name, r in zip([Path(corpus.root)] * 2, ("one", "two"), reports, strict=True)
    ]
    for manifest in manifests:
        del manifest["measured"]
    assert manifests[0] == manifests[1]


def test_building_again_changes_nothing(
    make_corpus: Callable[..., Corpus], documents: Callable[..., Any]
) -> None:
    corpus = make_corpus(documents(5, 1))
    first = build_index(corpus.root, IndexOptions())
    number = Corpus.open(corpus.root).snapshot.number
    again = build_index(corpus.root, IndexOptions())
    assert (first["built"], again["built"]) == (True, False)
    assert again["index_id"] == first["index_id"]
    assert Corpus.open(corpus.root).snapshot.number == number


def test_new_segments_become_a_shard_beside_the_old_one(
    make_corpus: Callable[..., Corpus],
    documents: Callable[..., Any],
    add_segment: Callable[..., Corpus],
    check_against_tables: Check,
) -> None:
    corpus = make_corpus(documents(8, 1))
    build_index(corpus.root, IndexOptions(remove_components=1))
    before = OpenIndex.open(Corpus.open(corpus.root)).manifest
    add_segment(Corpus.open(corpus.root), documents(3, 2))
    report = build_index(corpus.root, IndexOptions())
    corpus = Corpus.open(corpus.root)
    index = OpenIndex.open(corpus)
    assert index.manifest.shards[0] == before.shards[0]
    assert index.manifest.centering == before.centering
    assert index.manifest.settings["remove_components"] == 1
    assert (report["shards"], report["reason"]) == (2, "1 new segments")
    check_against_tables(index, corpus)


def test_an_index_that_is_outgrown_is_built_anew(
    make_corpus: Callable[..., Corpus],
    documents: Callable[..., Any],
    add_segment: Callable[..., Corpus],
) -> None:
    corpus = make_corpus(documents(2, 1))
    build_index(corpus.root, IndexOptions())
    add_segment(Corpus.open(corpus.root), documents(8, 2))
    report = build_index(corpus.root, IndexOptions())
    assert report["shards"] == 1
    assert "over 3 times the" in report["reason"]


def test_recall_below_the_target_fails_and_commits_nothing(
    make_corpus: Callable[..., Corpus],
    documents: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # The index is kept from trying harder, and from scoring many candidates again.
    monkeypatch.setattr("pipelines.index.reader.MIN_CANDIDATES", 10)
    monkeypatch.setattr("pipelines.index.build.RERANK", 1)
    corpus = make_corpus(documents(30, 1))
    options = IndexOptions(factory="IVF1,PQ1x4", target_recall=0.999)
    with pytest.raises(CorpusError, match=r"recall@10 over \w+ is 0\.\d+ with IVF1,PQ1x4 \(at"):
        build_index(corpus.root, options)
    assert Corpus.open(corpus.root).snapshot.index is None
    low = IndexOptions(factory="IVF1,PQ1x4", target_recall=0.999, allow_low_recall=True)
    assert build_index(corpus.root, low)["recall_at_10"] < 0.999


def test_a_factory_too_fine_for_the_corpus_is_refused(
    make_corpus: Callable[..., Corpus], documents: Callable[..., Any]
) -> None:
    corpus = make_corpus(documents(2, 1))
    with pytest.raises(
        UsageError, match="IVF4096,SQfp16 needs at least 4522 vectors for training and"
    ):
        build_index(corpus.root, IndexOptions(factory="IVF4096,SQfp16"))


def test_a_corpus_without_token_vectors_gets_a_sentence_index(
    make_corpus: Callable[..., Corpus], documents: Callable[..., Any]
) -> None:
    corpus = make_corpus(documents(5, 1), tokens="none")
    report = build_index(corpus.root, IndexOptions())
    assert report["tables"]["tokens"]["vectors"] == 0
    assert report["tables"]["sentences"]["vectors"] == 20


def test_an_empty_corpus_is_refused(make_corpus: Callable[..., Corpus]) -> None:
    corpus = make_corpus([])
    with pytest.raises(CorpusError, match="no sentences, so there is nothing to index"):
        build_index(corpus.root, IndexOptions())


def test_what_a_crash_left_behind_does_not_matter(
    make_corpus: Callable[..., Corpus],
    documents: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
    check_against_tables: Check,
) -> None:
    corpus = make_corpus(documents(5, 1))

    def crash(*_: Any) -> None:
        raise RuntimeError("power cut")

    with monkeypatch.context() as patch:
        patch.setattr("pipelines.index.build.write_then_commit", crash)
        with pytest.raises(RuntimeError, match="power cut"):
            build_index(corpus.root, IndexOptions())
    assert Corpus.open(corpus.root).snapshot.index is None
    build_index(corpus.root, IndexOptions())
    corpus = Corpus.open(corpus.root)
    check_against_tables(OpenIndex.open(corpus), corpus)
    assert not list(Path(corpus.root).glob("indexes/*/scratch*"))
