"""Sense induction: clear senses are found, one sense stays one, the same seed gives the same."""

from collections.abc import Callable

import numpy as np
import pytest

from pipelines.index.centering import normalize
from pipelines.senses.constants import FALLBACK, SenseConstants, from_bytes
from pipelines.senses.features import Features, Sample
from pipelines.senses.induction import SAMPLE, Induction, adjusted_rand, induce
from pipelines.senses.options import SenseOptions

DIM = 64


@pytest.fixture(scope="module")
def general() -> SenseConstants:
    """The constants of no model."""
    return from_bytes(FALLBACK.read_bytes(), "fallback")[0]


@pytest.fixture
def clouds(rng: np.random.Generator) -> Callable[..., tuple[Sample, np.ndarray]]:
    """A function that draws occurrences around one direction for each sense, and their labels."""

    def draw(sizes: list[int], spread: float = 1.0) -> tuple[Sample, np.ndarray]:
        labels = np.repeat(np.arange(len(sizes)), sizes)
        parts = []
        for _ in range(3):
            centers = normalize(rng.standard_normal((len(sizes), DIM)).astype(np.float32))
            noise = spread * rng.standard_normal((len(labels), DIM)) / np.sqrt(DIM)
            parts.append(normalize((centers[labels] + noise).astype(np.float32)))
        scores = parts[0] @ parts[0].T
        return Sample(tokens=parts[0], sentences=parts[1], bags=parts[2], scores=scores), labels

    return draw


def senses_of(found: Induction) -> list[int]:
    return np.bincount(found.labels)[1:].tolist()


@pytest.mark.parametrize(
    "sizes", [[12, 12], [12, 4], [60, 40], [300, 30], [70, 50, 40], [100, 80, 60, 40]]
)
def test_clear_senses_are_found_and_told_apart(
    clouds: Callable[..., tuple[Sample, np.ndarray]], general: SenseConstants, sizes: list[int]
) -> None:
    sample, labels = clouds(sizes, spread=0.5)
    found = induce(sample, general)
    np.testing.assert_array_equal(found.labels, labels + 1)
    np.testing.assert_array_equal(found.assign(sample.tokens, sample.sentences), labels + 1)
    assert found.silhouettes.min() > 0
    assert found.surety is not None
    assert found.surety > 0.95


@pytest.mark.parametrize("count", [10, 24, 100, 1000])
def test_one_sense_stays_one(
    clouds: Callable[..., tuple[Sample, np.ndarray]], general: SenseConstants, count: int
) -> None:
    sample, _ = clouds([count])
    found = induce(sample, general)
    assert found.senses == 1
    assert (found.assign(sample.tokens, sample.sentences) == 1).all()
    assert found.surety is not None
    assert found.surety < 0.5


@pytest.mark.parametrize("count", [0, 1, 9])
def test_a_rare_word_is_not_split_unless_forced(
    clouds: Callable[..., tuple[Sample, np.ndarray]], general: SenseConstants, count: int
) -> None:
    sample, labels = clouds([count - count // 2, count // 2], spread=0.3)
    found = induce(sample, general)
    assert (found.senses, found.surety) == (1, None)
    forced = induce(sample, general, SenseOptions(force=True))
    assert forced.senses == (2 if count > 1 else 1)
    if count > 1:
        np.testing.assert_array_equal(forced.labels, labels + 1)


def test_three_lines_can_be_split_by_force(
    clouds: Callable[..., tuple[Sample, np.ndarray]], general: SenseConstants
) -> None:
    sample, _ = clouds([2, 1], spread=0.2)
    assert senses_of(induce(sample, general, SenseOptions(force=True))) == [2, 1]


@pytest.mark.parametrize("force", [False, True])
def test_occurrences_all_alike_are_one_sense(general: SenseConstants, force: bool) -> None:
    same = normalize(np.ones((50, DIM), np.float32))
    sample = Sample(tokens=same, sentences=same, bags=same, scores=same @ same.T)
    assert induce(sample, general, SenseOptions(force=force)).senses == 1


def test_options_bound_the_senses(
    clouds: Callable[..., tuple[Sample, np.ndarray]], general: SenseConstants
) -> None:
    sample, _ = clouds([70, 50, 12], spread=0.5)
    assert senses_of(induce(sample, general)) == [70, 50, 12]
    assert senses_of(induce(sample, general, SenseOptions(at_most=1))) == [132]
    assert induce(sample, general, SenseOptions(at_most=2)).senses == 2
    assert min(senses_of(induce(sample, general, SenseOptions(min_share=0.2)))) >= 27


def test_the_same_seed_gives_the_same_senses(
    clouds: Callable[..., tuple[Sample, np.ndarray]], general: SenseConstants
) -> None:
    sample, _ = clouds([SAMPLE // 2, SAMPLE // 3], spread=1.0)
    first, second = (induce(sample, general, seed=4) for _ in range(2))
    np.testing.assert_array_equal(first.labels, second.labels)
    np.testing.assert_array_equal(first.weights, second.weights)
    assert first.surety == second.surety


def test_an_occurrence_goes_to_the_nearest_sense() -> None:
    # Centres (1, 0) and (0, 2): the bias -|c|^2 / 2 makes it the nearest, not the longest.
    zeros = np.zeros(1, np.float32)
    rule = Induction(
        features=Features(
            token_mean=zeros, sentence_mean=zeros, mean=np.zeros(2, np.float32), directions=None
        ),
        weights=np.array([[1, 0], [0, 2]], np.float32),
        bias=np.array([-0.5, -2], np.float32),
        silhouettes=np.zeros(2, np.float32),
        surety=None,
    )
    # Features are (sign of the token, sign of the sentence) / sqrt(2), here of width 1 each.
    tokens, sentences = np.array([[1], [1]], np.float32), np.array([[0], [3]], np.float32)
    np.testing.assert_array_equal(rule.assign(tokens, sentences), [1, 1])
    np.testing.assert_array_equal(rule.assign(tokens * 0, sentences), [1, 2])


def test_adjusted_rand_equals_that_of_scikit_learn(rng: np.random.Generator) -> None:
    from sklearn.metrics import adjusted_rand_score

    first, second = rng.integers(0, 4, 90), rng.integers(0, 3, 90)
    second[:50] = first[:50] % 3
    assert adjusted_rand(first, second) == pytest.approx(adjusted_rand_score(first, second))
    assert adjusted_rand(first, (first + 1) % 4) == 1
    assert adjusted_rand(np.zeros(5, int), np.zeros(5, int)) == 1
