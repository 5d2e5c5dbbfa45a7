"""Recall: on queries nothing was learned from, none its own neighbour, surely above the target."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from pipelines.api import Corpus
from pipelines.index import fit
from pipelines.index.build import build_index
from pipelines.index.centering import fit_centering
from pipelines.index.measure import K, draw_queries, lower_bound, recalls
from pipelines.index.options import IndexOptions
from pipelines.index.parts import HeldOut
from pipelines.index.reader import OpenIndex, VectorHit


@pytest.fixture
def corpus(make_corpus: Callable[..., Corpus], hand_document: type) -> Corpus:
    rng = np.random.default_rng(1)
    words = np.array([f"w{number}" for number in range(50)])
    documents = [
        hand_document(doc_id=f"{i}", sentences=rng.choice(words, (5, 8)).tolist())
        for i in range(60)
    ]
    return make_corpus(documents)


def test_queries_were_not_trained_on(corpus: Corpus, monkeypatch: pytest.MonkeyPatch) -> None:
    samples: list[Any] = []

    def keep(sample: Any, **options: Any) -> Any:
        samples.append(sample)
        return fit_centering(sample, **options)

    monkeypatch.setattr(fit, "fit_centering", keep)
    build_index(corpus.root, IndexOptions(factory="IVF4,SQfp16", target_recall=0.5))
    index = OpenIndex.open(Corpus.open(corpus.root))
    held_out = HeldOut(**index.manifest.tables["tokens"]["held_out"])
    drawn = draw_queries(index, "tokens", held_out, seed=0)
    trained = index.centering["tokens"].apply(samples[1])
    assert 60 < len(drawn.vectors) < 200  # 5 % of 2,400
    assert (drawn.vectors @ trained.T).max() < 0.999
    assert len(trained) + held_out.among(index.shards["00000"].keys["vector_id"]).sum() == 2400
    assert index.manifest.tables["tokens"]["recall_queries"] == len(drawn.vectors)


def test_a_query_is_not_its_own_neighbour(corpus: Corpus) -> None:
    build_index(corpus.root, IndexOptions())
    index = OpenIndex.open(Corpus.open(corpus.root))
    queries = draw_queries(index, "tokens", HeldOut(share=0.0, seed=0), seed=0)
    found = index.nearest_exactly("tokens", queries.vectors, K + 1)
    others = queries.others(found)
    for place, all_of, kept in zip(queries.places, found, others, strict=True):
        assert (all_of[0].shard, all_of[0].position) == place
        assert kept == all_of[1:]


def test_one_scan_for_all_queries_finds_what_a_search_for_each_does(corpus: Corpus) -> None:
    build_index(corpus.root, IndexOptions())
    index = OpenIndex.open(Corpus.open(corpus.root))
    queries = draw_queries(index, "sentences", HeldOut(share=0.0, seed=0), seed=3).vectors[:20]
    for query, found in zip(queries, index.nearest_exactly("sentences", queries, 5), strict=True):
        alone = index.nearest("sentences", query, 5)
        np.testing.assert_allclose([m.score for m in found], [m.score for m in alone], atol=1e-5)


def test_recall_forgives_ties_and_nothing_else() -> None:
    truth = [[VectorHit(0.9, "a", 1), VectorHit(0.5, "a", 2)], []]
    assert recalls([[VectorHit(0.9, "a", 1), VectorHit(0.5, "b", 7)], []], truth).tolist() == [
        1.0,
        1.0,
    ]
    assert recalls([[VectorHit(0.9, "a", 1), VectorHit(0.4, "a", 3)], []], truth).tolist() == [
        0.5,
        1.0,
    ]


def test_the_bound_is_the_mean_less_what_chance_allows() -> None:
    # Deviation sqrt(100 * 0.25 / 99), over sqrt(100): 0.0503; 1.645 of them.
    assert lower_bound(np.repeat([0.0, 1.0], 50)) == pytest.approx(0.5 - 1.645 * 0.050252, abs=1e-5)
    assert lower_bound(np.ones(50)) == 1.0
