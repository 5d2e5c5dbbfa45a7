"""Features of occurrences: their cosines are the search's, and neighbours make senses clearer."""

import numpy as np
import pytest

from pipelines.index.centering import normalize
from pipelines.senses.features import NEIGHBOURS, Features, context_similarity
from pipelines.senses.induction import induce


def unit(rng: np.random.Generator, rows: int, dim: int) -> np.ndarray:
    return normalize(rng.standard_normal((rows, dim)).astype(np.float32))


def test_cosines_of_features_are_the_search_s(rng: np.random.Generator) -> None:
    tokens, sentences = unit(rng, 40, 8), unit(rng, 40, 8)
    settings = {"sentence_weight": 0.25, "context_weight": 0.8}
    features = Features.of_sample(tokens, settings)
    mean = tokens.sum(axis=0) / 50  # ten occurrences' worth of doubt
    own = normalize(tokens - mean)
    expected = 0.75 * (own @ own.T) + 0.25 * (sentences @ sentences.T)
    found = features(tokens, sentences)
    np.testing.assert_allclose(found @ found.T, expected, atol=1e-5)


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


def test_each_is_averaged_with_its_nearest_by_the_words_around(rng: np.random.Generator) -> None:
    vectors = unit(rng, 12, 6)
    lines = [["a"]] * 6 + [["b"]] * 6
    features = Features(mean=np.zeros(3, np.float32), sentence_weight=0.5, context_weight=1.0)
    smoothed = features.smooth(vectors, lines, {"a": 6, "b": 6})
    assert NEIGHBOURS == 5
    for i in range(12):
        others = [j for j in range(12) if j != i and (j < 6) == (i < 6)]
        expected = normalize((vectors[i] + vectors[others].mean(axis=0))[None])[0]
        np.testing.assert_allclose(smoothed[i], expected, atol=1e-5)


def test_words_around_tell_senses_apart_that_vectors_blur(rng: np.random.Generator) -> None:
    truth = np.repeat([0, 1], 60)
    centers = unit(rng, 2, 32)
    noise = rng.standard_normal((120, 32)) / np.sqrt(32)
    vectors = normalize((0.55 * centers[truth] + noise).astype(np.float32))
    words = np.array([["river", "shore", "water"], ["money", "loan", "rate"]])
    lines = [rng.choice(words[sense], 2).tolist() for sense in truth]
    features = Features.of_sample(vectors, {"sentence_weight": 0.0, "context_weight": 0.8})
    found = features(vectors, np.zeros_like(vectors))
    counts = dict.fromkeys(words.ravel().tolist(), 40)
    smoothed = features.smooth(found, lines, counts)

    def right(labels: np.ndarray) -> float:
        share = float(((labels == 2) == truth).mean())
        return max(share, 1 - share)

    alone, together = induce(found), induce(found, smoothed=smoothed)
    assert alone.senses == together.senses == 2
    assert right(alone.labels) < 0.98
    assert right(together.labels) == 1
    np.testing.assert_array_equal(alone.labels, alone.assign(found))


@pytest.mark.parametrize("seed", range(3))
def test_smoothing_finds_no_senses_in_noise(seed: int) -> None:
    rng = np.random.default_rng(seed)
    noise = (rng.standard_normal((100, 64)) * np.geomspace(1, 0.05, 64) + 1).astype(np.float32)
    lines = [rng.choice(list("abcdefgh"), 3).tolist() for _ in range(100)]
    features = Features.of_sample(noise, {"sentence_weight": 0.0, "context_weight": 0.8})
    found = features(normalize(noise), np.zeros_like(noise))
    smoothed = features.smooth(found, lines, dict.fromkeys("abcdefgh", 40))
    assert induce(found, smoothed=smoothed).senses == 1
