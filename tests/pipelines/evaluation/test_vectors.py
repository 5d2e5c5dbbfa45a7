"""Vectors of the targets and sentences of a set, by layer and mix."""

from types import SimpleNamespace

import numpy as np
import pytest

from elmo_infer import load
from elmo_infer.static import StaticEncoder
from pipelines.evaluation.sets import (
    Context,
)
from pipelines.evaluation.vectors import (
    plan_blocks,
    sentence_vectors,
    target_vectors,
    views_of,
)


@pytest.fixture
def table() -> StaticEncoder:
    vectors = np.array([[1, 0], [0, 1], [1, 1]], dtype=np.float32)
    return StaticEncoder(name="table", words=["x", "y", "xy"], vectors=vectors)


def test_each_distinct_sentence_is_embedded_once(neighbour_encoder):
    encoder = neighbour_encoder
    contexts = [Context(("a", "b"), 0), Context(("a", "b"), 1), Context(("c",), 0)]
    vectors = target_vectors(encoder, contexts)
    assert sorted(encoder.embedded) == [("a", "b"), ("c",)]
    assert vectors.shape == (2, 3, 4)
    assert vectors[0, 1].tolist() == encoder.vector("b").tolist()
    assert vectors[1, 1].tolist() == encoder.vector("a").tolist()
    assert vectors[0, 2].tolist() == encoder.vector("c").tolist()


@pytest.mark.parametrize("pooling", ["attention", "mean", "max"])
@pytest.mark.parametrize("layer", ["layer 0", "layer 2", "mix", "mix 0.2,0.5,0.3"])
def test_sentence_vectors_are_those_of_embed(tiny_elmo_dir, pooling, layer):
    elmo = load(tiny_elmo_dir, device="cpu")
    sentences = [("The", "bank"), (), ("A", "river", "runs", "."), ("The", "bank")]
    views = views_of(elmo, [(0.2, 0.5, 0.3)])
    found = sentence_vectors(elmo, sentences, views, [pooling])
    weights = next(view.weights for view in views if view.name == layer)
    expected = elmo.embed(sentences, layer_weights=weights, pooling=pooling).sentence_vectors
    assert found[layer, pooling] == pytest.approx(expected, abs=2e-5)


def test_attention_asks_with_the_learned_query(table):
    table.pooling = SimpleNamespace(query=np.array([0, 5], dtype=np.float32))
    found = sentence_vectors(table, [("x", "y")], views_of(table), ["attention"])
    weights = np.exp(np.array([0, 5]) / np.sqrt(2))
    assert found["layer 0", "attention"][0] == pytest.approx(weights / weights.sum())


def test_progress_counts_distinct_tokens(neighbour_encoder):
    calls = []
    target_vectors(neighbour_encoder, [Context(("a", "b"), 0)] * 3, lambda *c: calls.append(c))
    assert calls == [(2, 2)]


def test_blocks_hold_every_sentence_once_within_the_limit():
    lengths = [3, 9, 0, 2, 5, 30, 1]
    blocks = plan_blocks(lengths, block_tokens=10)
    assert sorted(index for block in blocks for index in block) == list(range(7))
    assert all(len(block) == 1 or sum(lengths[i] for i in block) <= 10 for block in blocks)


def test_views_are_the_layers_and_the_mix(neighbour_encoder):
    views = views_of(neighbour_encoder, [(1.0, -0.5)])
    assert [(view.name, view.weights) for view in views] == [
        ("layer 0", (1.0, 0.0)),
        ("layer 1", (0.0, 1.0)),
        ("mix", (0.25, 0.75)),
        ("mix 1,-0.5", (1.0, -0.5)),
    ]
    with pytest.raises(ValueError, match="3 layer weights for toy, which has 2 layers"):
        views_of(neighbour_encoder, [(1, 1, 1)])
