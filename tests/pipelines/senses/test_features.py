"""Features of occurrences, by hand; and neighbours make senses clearer."""

import numpy as np
import pytest

from pipelines.index.centering import normalize
from pipelines.search.similarity import context_similarity, search_scores
from pipelines.senses.features import NEIGHBOURS, Features, smooth


def unit(rng: np.random.Generator, rows: int, dim: int) -> np.ndarray:
    return normalize(rng.standard_normal((rows, dim)).astype(np.float32))


def around(rows: np.ndarray) -> np.ndarray:
    return normalize(rows - rows.sum(axis=0) / (len(rows) + 10))  # ten occurrences' worth of doubt


def test_features_are_as_the_head_of_the_module_says(rng: np.random.Generator) -> None:
    tokens, sentences = unit(rng, 40, 8), unit(rng, 40, 8)
    directions = rng.standard_normal((16, 5)).astype(np.float32)
    features = Features.of_sample(tokens, sentences, directions)
    both = np.concatenate([around(tokens), around(sentences)], axis=1) / np.sqrt(2)
    np.testing.assert_allclose(
        features(tokens, sentences), around(both @ directions), rtol=1e-4, atol=1e-5
    )
    plain = Features.of_sample(tokens, sentences, None)
    np.testing.assert_allclose(plain(tokens, sentences), around(both), rtol=1e-4, atol=1e-5)


def test_scores_are_the_search_s(rng: np.random.Generator) -> None:
    tokens, sentences = unit(rng, 3, 8), unit(rng, 3, 8)
    lines, counts = [["a"], ["a"], ["b"]], {"a": 2, "b": 1}
    settings = {"sentence_weight": 0.25, "context_weight": 0.6, "word_center": True}
    found = search_scores(tokens, sentences, lines, counts, settings)
    own = around(tokens)
    expected = 0.4 * (0.75 * own @ own.T + 0.25 * sentences @ sentences.T)
    expected[:2, :2] += 0.6
    np.testing.assert_allclose(found[:2, :2], expected[:2, :2], atol=1e-5)
    np.testing.assert_allclose(found[:2, 2], expected[:2, 2], atol=1e-5)


def test_lines_are_alike_by_the_rare_words_they_share() -> None:
    counts = {"river": 10, "water": 10, "shore": 90}
    lines = [["river", "water", "the"], ["river", "shore"], ["shore", "shore"], []]
    found = context_similarity(lines, counts)
    rare, common = np.log(110 / 10) + 1, np.log(110 / 90) + 1
    expected = rare**2 / np.sqrt(2 * rare**2 * (rare**2 + common**2))
    assert found[0, 1] == pytest.approx(expected, abs=1e-5)
    assert found[1, 2] == pytest.approx(common / np.sqrt(rare**2 + common**2), abs=1e-5)
    assert found[0, 2] == 0
    assert not found[3].any()


def test_each_is_averaged_with_its_nearest(rng: np.random.Generator) -> None:
    features = unit(rng, 36, 6)
    half = np.repeat([0, 1], 18)
    scores = np.where(half[:, None] == half[None], 1.0, 0.0).astype(np.float32)
    scores += np.linspace(0, 0.1, 36, dtype=np.float32)[None]  # the later, the nearer
    smoothed = smooth(features, scores)
    for i in range(36):
        others = [j for j in range(36) if j != i and half[j] == half[i]][-NEIGHBOURS:]
        expected = normalize((features[i] + features[others].mean(axis=0))[None])[0]
        np.testing.assert_allclose(smoothed[i], expected, atol=1e-5)
