"""An index as it is opened and searched."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from pipelines.api import Corpus
from pipelines.corpus.commits import Change, commit
from pipelines.index.build import build_index
from pipelines.index.options import IndexOptions
from pipelines.index.reader import OpenIndex

Check = Callable[[OpenIndex, Corpus], None]


def test_dead_documents_are_not_indexed_and_die_in_an_index(
    make_corpus: Callable[..., Corpus],
    documents: Callable[..., Any],
    check_against_tables: Check,
) -> None:
    corpus = make_corpus(documents(6, 1), documents(6, 2))
    first, second = (segment.segment_id for segment in corpus.segments)
    corpus = commit(corpus, Change(operation="delete", supersede={first: ["1/0", "1/3"]}))
    build_index(corpus.root, IndexOptions())
    corpus = Corpus.open(corpus.root)
    index = OpenIndex.open(corpus)
    check_against_tables(index, corpus)
    corpus = commit(corpus, Change(operation="delete", supersede={second: ["2/5"]}))
    [shard] = OpenIndex.open(corpus).shards.values()
    allowed = shard.allowed_documents({})
    assert allowed is not None
    dead = shard.documents.column("doc_id").filter(~allowed).to_pylist()
    assert dead == ["2/5"]


@pytest.mark.parametrize("factory", ["IVF4,SQfp16", "HNSW8,SQfp16"])
def test_approximate_indexes_are_built_over_shards(
    make_corpus: Callable[..., Corpus],
    documents: Callable[..., Any],
    factory: str,
    check_against_tables: Check,
) -> None:
    corpus = make_corpus(documents(35, 1), documents(35, 2))
    options = IndexOptions(factory=factory, shard_rows=1000, target_recall=0.8)
    report = build_index(corpus.root, options)
    corpus = Corpus.open(corpus.root)
    index = OpenIndex.open(corpus)
    assert (report["factory"], report["shards"]) == (factory, 2)
    assert report["recall_at_10"] >= 0.8
    check_against_tables(index, corpus)
    query = index.shards["00001"].tokens.vectors(np.array([17]))[0]
    best = index.nearest("tokens", query, 5)[0]
    assert best.score == pytest.approx(1, abs=2e-3)
    # One list of four holds fewer: more are tried until there are k.
    assert len(index.nearest("tokens", query, 900, effort=1)) == 900
