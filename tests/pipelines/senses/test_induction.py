"""Sense induction: clear senses are found, noise is one sense, silhouettes are scikit-learn's."""

import numpy as np
import pytest

from pipelines.index.centering import normalize
from pipelines.senses.induction import Induction, adjusted_rand, induce, silhouettes


def clouds(
    rng: np.random.Generator, sizes: list[int], dim: int = 64, spread: float = 0.5
) -> tuple[np.ndarray, np.ndarray]:
    """Unit vectors around one random direction for each sense, and their labels."""
    centers = normalize(rng.standard_normal((len(sizes), dim)).astype(np.float32))
    labels = np.repeat(np.arange(len(sizes)), sizes)
    noise = rng.standard_normal((len(labels), dim)) / np.sqrt(dim)
    return normalize((centers[labels] + spread * noise).astype(np.float32)), labels


@pytest.mark.parametrize("sizes", [[60, 40], [300, 30], [70, 50, 40], [100, 80, 60, 40]])
def test_clear_senses_are_found_and_told_apart(rng: np.random.Generator, sizes: list[int]) -> None:
    vectors, labels = clouds(rng, sizes)
    induction = induce(vectors)
    assert induction.senses == len(sizes)
    np.testing.assert_array_equal(induction.assign(vectors), labels + 1)
    assert induction.silhouettes.min() > 0.2


@pytest.mark.parametrize("count", [35, 100, 1000])
@pytest.mark.parametrize("seed", range(5))
def test_noise_is_one_sense(count: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    # A lopsided cloud: k-means always cuts it, but there is only one.
    noise = rng.standard_normal((count, 64)) * np.geomspace(1, 0.05, 64)
    assert induce((noise + 1).astype(np.float32)).senses == 1


@pytest.mark.parametrize("count", [0, 1, 29])
def test_a_rare_word_has_one_sense(rng: np.random.Generator, count: int) -> None:
    vectors, _ = clouds(rng, [count - count // 2, count // 2])
    assert induce(vectors).senses == 1
    assert (induce(vectors).assign(vectors) == 1).all()


def test_occurrences_all_alike_are_one_sense() -> None:
    assert induce(np.ones((50, 8), np.float32)).senses == 1


def test_the_same_seed_gives_the_same_senses(rng: np.random.Generator) -> None:
    vectors, _ = clouds(rng, [800, 700], spread=1.0)
    first, second = (induce(vectors, seed=4).assign(vectors) for _ in range(2))
    np.testing.assert_array_equal(first, second)


def test_silhouettes_equal_those_of_scikit_learn(rng: np.random.Generator) -> None:
    from sklearn.metrics import silhouette_samples

    points = rng.standard_normal((60, 5)).astype(np.float32)
    labels = rng.integers(0, 3, 60)
    labels[0] = 3  # a cluster of one
    np.testing.assert_allclose(
        silhouettes(points, labels), silhouette_samples(points, labels), atol=1e-4
    )


def test_a_vector_goes_to_the_nearest_sense() -> None:
    # Centres (1, 0) and (0, 2): the bias -|c|^2 / 2 makes it the nearest, not the longest.
    rule = Induction(
        weights=np.array([[1, 0], [0, 2]], np.float32),
        bias=np.array([-0.5, -2], np.float32),
        silhouettes=np.zeros(2, np.float32),
        gain=0.1,
    )
    points = np.array([[1, 0.5], [0.4, 1.6], [0.6, 0.9]], np.float32)
    np.testing.assert_array_equal(rule.assign(points), [1, 2, 1])


def test_adjusted_rand_equals_that_of_scikit_learn(rng: np.random.Generator) -> None:
    from sklearn.metrics import adjusted_rand_score

    first, second = rng.integers(0, 4, 90), rng.integers(0, 3, 90)
    second[:50] = first[:50] % 3
    assert adjusted_rand(first, second) == pytest.approx(adjusted_rand_score(first, second))
    assert adjusted_rand(first, (first + 1) % 4) == 1
    assert adjusted_rand(np.zeros(5, int), np.zeros(5, int)) == 1
