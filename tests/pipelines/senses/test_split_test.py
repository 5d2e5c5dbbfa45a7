"""The split test: measures by hand, and the table between and beyond its sizes."""

from dataclasses import replace

import numpy as np
import pytest

from pipelines.senses.split_test import SingleSenseTable, cohesion_of, measure_split


def test_measures_of_two_bundles_by_hand() -> None:
    # Twice six points at (1, 0, 0) and six at (0, 1, 0), a little apart in the third place.
    third = np.tile([0.1, -0.1], 6)
    points = np.zeros((12, 3), np.float32)
    points[:6, 0] = points[6:, 1] = np.sqrt(1 - 0.01)
    points[:, 2] = third
    gap, opposition, modularity = measure_split(points)[0]
    # Scatter: 12 * (0.995 / sqrt 2)^2 between the bundles, 12 * 0.01 in the third place.
    assert gap == pytest.approx(np.log(12 * 0.99 / 2 / 0.12), abs=1e-3)
    assert opposition == pytest.approx(0, abs=1e-6)  # means (0.995, 0, 0) and (0, 0.995, 0)
    assert modularity == pytest.approx(0.5, abs=1e-6)  # no edge between halves of equal degree


def test_where_all_are_alike_there_is_nothing_to_cut() -> None:
    measures = measure_split(np.ones((12, 4), np.float32) / 2)
    np.testing.assert_array_equal(measures, np.tile([0, -1, 0], (3, 1)))


@pytest.fixture
def table() -> SingleSenseTable:
    """At 10 occurrences the first measure is 1 +- 1, at 1,000 it is 3 +- 1; the others do not."""
    means = np.zeros((2, 3, 3), np.float32)
    means[:, :, 0] = [[1], [3]]
    return SingleSenseTable(
        sizes=np.array([10, 1000], np.float32),
        means=means,
        deviations=np.ones((2, 3, 3), np.float32),
        spreads=np.ones((2, 3), np.float32),
        quantiles=np.tile(np.linspace(-2, 2, 5), (2, 1)).astype(np.float32),
    )


@pytest.mark.parametrize(
    ("count", "first", "expected"),
    [
        (10, 1.0, 0.5),
        (10, 2.0, 0.75),
        (100, 2.0, 0.5),  # half way by the logarithm: the mean there is 2
        (1000, 2.0, 0.25),
        (10**6, 9.0, 1.0),
        (2, -9.0, 0.0),
    ],
)
def test_surety_is_the_share_of_the_table_below(
    table: SingleSenseTable, count: int, first: float, expected: float
) -> None:
    measures = np.zeros((3, 3), np.float32)
    measures[:, 0] = first
    assert table.surety(measures, count) == pytest.approx(expected, abs=1e-6)


def test_more_than_two_senses_count_only_where_there_are_occurrences_enough(
    table: SingleSenseTable,
) -> None:
    measures = np.zeros((3, 3), np.float32)
    measures[2, 0] = 9  # a cut in four
    assert table.surety(measures, 24) < 0.5
    assert table.surety(measures, 100) == 1


def test_cohesion_is_the_mean_cosine_of_pairs() -> None:
    rows = np.array([[1, 0], [1, 0], [0, 1]], np.float32)
    assert cohesion_of(rows) == pytest.approx(1 / 3)  # one pair of three is alike
    assert cohesion_of(np.eye(5, dtype=np.float32)) == pytest.approx(0)
    assert cohesion_of(rows[:1]) == 1


def test_a_word_less_cohesive_than_those_of_one_sense_is_surer_to_have_several(
    table: SingleSenseTable,
) -> None:
    usual = np.array([[0.7, 0.1], [0.5, 0.1]], np.float32)
    measures = np.ones((3, 3), np.float32)
    measures[:, 1:] = 0
    told = replace(table, cohesions=usual)
    # At 10 occurrences 0.7 is usual; two deviations below it add half a deviation to the score.
    assert told.surety(measures, 10, 0.7) == pytest.approx(0.5)
    assert told.surety(measures, 10, 0.5) == pytest.approx(0.625)
    assert told.surety(measures, 10, 1.1) == pytest.approx(0.25)
    # Without the model's own figures it counts for nothing.
    assert table.surety(measures, 10, 0.2) == pytest.approx(0.5)
