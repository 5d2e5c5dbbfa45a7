"""From vectors to numbers, worked out by hand."""

import numpy as np
import pytest

from pipelines.evaluation.scores import (
    mean_over_words,
    score_word,
    segment_means,
)


def test_segment_means_with_an_empty_run():
    means = segment_means(np.array([[2.0], [4.0], [9.0]], np.float32), np.array([2, 0, 1, 0]))
    assert means.tolist() == [[3.0], [0.0], [9.0], [0.0]]


def test_word_without_held_out_occurrences_has_no_accuracy():
    vectors = np.eye(3, dtype=np.float32)
    scores = score_word(vectors, np.array(["a", "a", "b"]), np.zeros(3, dtype=bool))
    assert "accuracy" not in scores.means
    assert "accuracy" not in mean_over_words([scores])


def test_words_weigh_the_same_in_the_mean_and_occurrences_in_the_micro_mean():
    # One word is told apart: 3 + 3 occurrences, each finds its 2 among 5. The other is not: 2 + 2
    # of one vector, each finds 1 among 3, as chance has it.
    apart = np.repeat(np.eye(2, dtype=np.float32), 3, axis=0)
    alike = np.ones((4, 2), dtype=np.float32)
    nobody = np.zeros(4, dtype=bool)
    scores = mean_over_words(
        [
            score_word(apart, np.array(["a"] * 3 + ["b"] * 3), np.zeros(6, dtype=bool)),
            score_word(alike, np.array(["a", "a", "b", "b"]), nobody),
        ]
    )
    assert scores["precision_at_10"] == pytest.approx((2 / 5 + 1 / 3) / 2)
    assert scores["precision_at_10_micro"] == pytest.approx((6 * 2 / 5 + 4 * 1 / 3) / 10)
    assert scores["chance_precision_at_10"] == pytest.approx((2 / 5 + 1 / 3) / 2)
    # The one relevant of three may stand first, second or third.
    assert scores["map"] == pytest.approx((1 + (1 + 1 / 2 + 1 / 3) / 3) / 2)
