"""Clusterings: measures by hand, and against what others compute."""

import numpy as np
import pytest

from pipelines.evaluation.clusterings import (
    bcubed_f,
    bootstrap_interval,
    fuzzy_bcubed,
    fuzzy_nmi,
    memberships,
)


def slow_bcubed_f(gold: np.ndarray, induced: np.ndarray) -> float:
    """Occurrence by occurrence, as Bagga and Baldwin say it."""
    n = range(len(gold))
    precision = np.mean(
        [np.mean([gold[j] == gold[i] for j in n if induced[j] == induced[i]]) for i in n]
    )
    recall = np.mean(
        [np.mean([induced[j] == induced[i] for j in n if gold[j] == gold[i]]) for i in n]
    )
    return float(2 * precision * recall / (precision + recall))


def test_bcubed_is_that_of_the_definition(rng: np.random.Generator) -> None:
    gold, induced = rng.integers(0, 4, 40), rng.integers(0, 3, 40)
    assert bcubed_f(gold, induced) == pytest.approx(slow_bcubed_f(gold, induced))


def test_bcubed_by_hand() -> None:
    # Of aab in one cluster: precision (2/3 + 2/3 + 1/3) / 3 = 5/9, recall 1.
    assert bcubed_f(np.array([0, 0, 1]), np.array([0, 0, 0])) == pytest.approx(10 / 14)


def test_fuzzy_bcubed_of_hard_senses_is_bcubed(rng: np.random.Generator) -> None:
    gold, induced = rng.integers(0, 3, 30), rng.integers(0, 2, 30)
    found = fuzzy_bcubed(np.eye(3)[gold], np.eye(2)[induced])
    # Both take the mean over the cluster's members, of which only shared ones count.
    assert found == pytest.approx(slow_bcubed_f(gold, induced))


def test_fuzzy_measures_of_the_same_senses_are_one() -> None:
    rows = [{"a": 1.0}, {"a": 1.0, "b": 0.5}, {"b": 1.0}, {"b": 1.0}]
    weights = memberships(rows)
    assert weights.tolist() == [[1, 0], [1, 0.5], [0, 1], [0, 1]]
    assert fuzzy_bcubed(weights, weights) == pytest.approx(1)
    assert fuzzy_nmi(weights, weights) == pytest.approx(1)


def test_one_cluster_tells_nothing_by_nmi() -> None:
    gold = np.eye(2)[[0, 0, 1, 1]]
    assert fuzzy_nmi(gold, np.ones((4, 1))) == 0
    # Two clusters across both senses: each is independent of each.
    assert fuzzy_nmi(gold, np.eye(2)[[0, 1, 0, 1]]) == pytest.approx(0)


def test_nmi_by_hand() -> None:
    # Gold aabb, induced aaab: H(gold) = 2 bits; H(induced) = 2 h(1/4) = 1.6226; what is left of a
    # gold cluster where an induced one is known is h of (2, 1, 1)/4 less h(1/4): 1.5 - .8113.
    gold, induced = np.eye(2)[[0, 0, 1, 1]], np.eye(2)[[0, 0, 0, 1]]
    h = 0.8112781
    left_of_gold, left_of_induced = 2 * (1.5 - h), 2 * (1.5 - 1)
    expected = 0.5 * (2 - left_of_gold + 2 * h - left_of_induced) / 2
    assert fuzzy_nmi(gold, induced) == pytest.approx(expected, abs=1e-6)


def test_the_interval_holds_the_mean_and_repeats(rng: np.random.Generator) -> None:
    values = rng.standard_normal(200) + 1
    low, high = bootstrap_interval(values, draws=500)
    assert low < values.mean() < high
    assert high - low == pytest.approx(2 * 1.96 / np.sqrt(200), rel=0.3)
    assert bootstrap_interval(values, draws=500) == (low, high)
