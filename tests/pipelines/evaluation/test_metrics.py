"""Every metric against an example worked by hand, and against scikit-learn or SciPy."""

from itertools import permutations

import numpy as np
import pytest
from scipy import stats
from sklearn import metrics as sklearn_metrics

from pipelines.evaluation import metrics


def on_circle(*degrees: float) -> np.ndarray:
    angles = np.radians(degrees)
    return np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)


def test_unit_rows_keeps_a_zero_row_and_does_not_touch_its_input():
    vectors = np.array([[3, 4], [0, 0]], dtype=np.float32)
    assert metrics.unit_rows(vectors).tolist() == [
        [pytest.approx(0.6), pytest.approx(0.8)],
        [0, 0],
    ]
    assert vectors.tolist() == [[3, 4], [0, 0]]


def test_paired_cosines_of_a_right_and_a_sixty_degree_angle():
    cosines = metrics.paired_cosines(on_circle(0, 10), on_circle(90, 70) * 5)
    assert cosines == pytest.approx([0.0, 0.5], abs=1e-6)


class TestNearestCentroids:
    def test_takes_the_closest_direction(self):
        # a's centroid points to 10 degrees, b's to 80.
        train = on_circle(0, 20, 80)
        predicted = metrics.nearest_centroids(
            train, np.array(["a", "a", "b"]), on_circle(40, 50) * 7
        )
        assert predicted.tolist() == ["a", "b"]

    def test_vectors_that_tell_nothing_apart_get_the_most_frequent_label(self):
        train = np.ones((5, 3), dtype=np.float32)
        labels = np.array(["rare", "often", "often", "often", "rare"])
        predicted = metrics.nearest_centroids(train, labels, np.ones((2, 3), np.float32) * 2)
        assert predicted.tolist() == ["often", "often"]

    def test_agrees_with_scikit_learn_on_unit_vectors(self, rng):
        from sklearn.neighbors import KNeighborsClassifier

        train = rng.standard_normal((60, 5)).astype(np.float32)
        test = rng.standard_normal((40, 5)).astype(np.float32)
        labels = rng.integers(0, 4, 60)
        centroids = np.stack([train[labels == label].mean(axis=0) for label in range(4)])
        witness = KNeighborsClassifier(n_neighbors=1, metric="cosine").fit(centroids, range(4))
        predicted = metrics.nearest_centroids(train, labels, test)
        assert predicted.tolist() == witness.predict(test).tolist()


def test_macro_f1_by_hand():
    gold = np.array(["a", "a", "a", "b"])
    predicted = np.array(["a", "a", "b", "b"])
    # a: tp 2, fp 0, fn 1 -> 4/5; b: tp 1, fp 1, fn 0 -> 2/3.
    assert metrics.macro_f1(gold, predicted) == pytest.approx((4 / 5 + 2 / 3) / 2)
    assert metrics.accuracy(gold, predicted) == 0.75


def test_macro_f1_agrees_with_scikit_learn(rng):
    gold, predicted = rng.integers(0, 4, 50), rng.integers(0, 5, 50)
    witness = sklearn_metrics.f1_score(gold, predicted, average="macro")
    assert metrics.macro_f1(gold, predicted) == pytest.approx(witness)


class TestBestThreshold:
    def test_lies_between_the_scores_it_parts(self):
        scores = np.array([0.9, 0.1, 0.5, 0.4])
        labels = np.array([True, False, True, False])
        assert metrics.best_threshold(scores, labels) == pytest.approx(0.45)

    def test_does_not_part_equal_scores(self):
        scores = np.array([0.5, 0.5, 0.5, 0.2])
        labels = np.array([True, True, False, False])
        assert metrics.best_threshold(scores, labels) == pytest.approx(0.35)

    def test_may_say_yes_or_no_to_all(self):
        scores = np.array([0.1, 0.2])
        assert metrics.best_threshold(scores, np.array([True, True])) == -np.inf
        assert metrics.best_threshold(scores, np.array([False, False])) == np.inf

    def test_no_other_cut_does_better(self, rng):
        scores = rng.integers(0, 20, 60) / 20
        labels = rng.random(60) < scores
        found = metrics.best_threshold(scores, labels)
        best = max(np.mean((scores >= cut) == labels) for cut in np.arange(-0.025, 1.1, 0.05))
        assert np.mean((scores >= found) == labels) == best


class TestSpearman:
    def test_by_hand_with_a_tie(self):
        # Ranks 1, 2.5, 2.5, 4 against 1, 2, 3, 4: 4.5 / sqrt(4.5 * 5).
        assert metrics.spearman([1, 2, 2, 9], [1, 2, 3, 4]) == pytest.approx(np.sqrt(0.9))

    def test_agrees_with_scipy(self, rng):
        left, right = rng.integers(0, 30, 200), rng.standard_normal(200)
        witness = stats.spearmanr(left, right).statistic
        assert metrics.spearman(left, right) == pytest.approx(witness, abs=1e-12)

    def test_is_zero_when_one_side_says_nothing(self):
        assert metrics.spearman([1, 1, 1], [1, 2, 3]) == 0.0


class TestAreaUnderCurve:
    def test_by_hand_with_a_tie(self):
        # Positives 0.9 and 0.5 against negatives 0.5 and 0.1: won 1, 1, 1/2, 1 of 4.
        found = metrics.area_under_curve([0.9, 0.5, 0.5, 0.1], np.array([1, 1, 0, 0]))
        assert found == pytest.approx(3.5 / 4)

    def test_agrees_with_scikit_learn(self, rng):
        scores, labels = rng.integers(0, 20, 100), rng.integers(0, 2, 100)
        witness = sklearn_metrics.roc_auc_score(labels, scores)
        assert metrics.area_under_curve(scores, labels) == pytest.approx(witness)

    def test_is_a_half_when_there_is_nothing_to_tell_apart(self):
        assert metrics.area_under_curve([0.1, 0.2], np.array([1, 1])) == 0.5


def keys_of(values: list[int], relevant: list[int]) -> np.ndarray:
    keys = 2 * np.array(values, dtype=np.int64) + np.array(relevant)
    return np.sort(keys)[::-1][None, :]


class TestExpectedPrecisions:
    def test_without_ties_by_hand(self):
        precision, average = metrics.expected_precisions(keys_of([9, 8, 7, 6], [1, 0, 1, 0]), 2)
        assert precision[0] == pytest.approx(1 / 2)
        assert average[0] == pytest.approx((1 / 1 + 2 / 3) / 2)

    def test_agrees_with_scikit_learn_without_ties(self, rng):
        scores = rng.permutation(50)
        relevant = (rng.random(50) < 0.3).astype(int)
        _, average = metrics.expected_precisions(keys_of(list(scores), list(relevant)), 5)
        witness = sklearn_metrics.average_precision_score(relevant, scores)
        assert average[0] == pytest.approx(witness)

    @pytest.mark.parametrize("k", [1, 3, 4, 10])
    def test_ties_count_with_the_mean_over_all_orders(self, k):
        values, relevant = [5, 3, 3, 3, 3, 1], [0, 1, 0, 1, 0, 1]
        precisions, averages = [], []
        for order in permutations([1, 2, 3, 4]):  # the four tied items, in every order
            flags = [relevant[0], *(relevant[i] for i in order), relevant[5]]
            precision, average = metrics.expected_precisions(keys_of([9, 8, 7, 6, 5, 4], flags), k)
            precisions.append(precision[0])
            averages.append(average[0])
        precision, average = metrics.expected_precisions(keys_of(values, relevant), k)
        assert precision[0] == pytest.approx(np.mean(precisions))
        assert average[0] == pytest.approx(np.mean(averages))

    @pytest.mark.parametrize("distinct", [1, 3, 12, 200])
    def test_agrees_with_the_mean_over_many_drawn_orders(self, rng, distinct):
        values, relevant = rng.integers(-distinct, distinct, 60), rng.integers(0, 2, 60)
        precision, average = metrics.expected_precisions(keys_of(list(values), list(relevant)), 7)
        drawn = []
        for _ in range(3000):
            order = np.lexsort([rng.random(60), -values])  # ties fall as they will
            flags = relevant[order]
            at_rank = np.cumsum(flags) / np.arange(1, 61)
            drawn.append((flags[:7].mean(), at_rank[flags == 1].mean()))
        # The widest spread of one order is 0.2: a standard error of 0.004 and less.
        assert [precision[0], average[0]] == pytest.approx(np.mean(drawn, axis=0), abs=0.012)

    def test_rows_do_not_touch_each_other(self):
        rows = [keys_of([4, 3, 3], [0, 1, 0]), keys_of([3, 3, 2], [1, 1, 0])]
        precision, average = metrics.expected_precisions(np.concatenate(rows), 2)
        assert precision == pytest.approx([0.25, 1.0])
        assert average == pytest.approx([(1 / 2 + 1 / 3) / 2, 1.0])


class TestSameSenseNeighbours:
    def test_by_hand(self):
        # At 0, 10 and 100 degrees sense a; at 20 and 110 sense b. Neighbours, nearest first:
        #   0: 10a 20b 100a 110b   10: 0a=20b 100a 110b    100: 110b 20b 10a 0a
        #   20: 10a 0a 100a 110b    110: 100a 20b 10a 0a
        found = metrics.same_sense_neighbours(
            on_circle(0, 10, 100, 20, 110), np.array(["a", "a", "a", "b", "b"]), k=1
        )
        assert found.precision_at_k == pytest.approx([1, 0.5, 0, 0, 0])
        tied = (1 / 2) * 1 + (1 / 2) * (1 / 2)  # the relevant one first or second
        assert found.average_precision == pytest.approx(
            [(1 + 2 / 3) / 2, (tied + 2 / 3) / 2, (1 / 3 + 2 / 4) / 2, 1 / 4, 1 / 2]
        )
        assert found.chance_precision == pytest.approx([0.5, 0.5, 0.5, 0.25, 0.25])

    def test_static_vectors_score_exactly_chance(self, rng):
        senses = np.array(["a"] * 12 + ["b"] * 5 + ["c"] * 2)
        one = rng.standard_normal(6).astype(np.float32)
        found = metrics.same_sense_neighbours(np.tile(one, (19, 1)), senses)
        assert found.precision_at_k == pytest.approx(found.chance_precision)
        assert found.average_precision == pytest.approx(found.chance_average_precision)

    def test_vectors_of_two_forms_are_ranked_form_by_form(self):
        # Form x: a a b; form y: a b. The neighbours of the first are a b in either order, then a b.
        vectors = on_circle(0, 0, 0, 90, 90)
        found = metrics.same_sense_neighbours(vectors, np.array(["a", "a", "b", "a", "b"]), k=2)
        assert found.precision_at_k[0] == pytest.approx(1 / 2)
        first = [1, 1 / 2]  # the precision where the a of its own form stands: rank 1 or 2
        then = [2 / 3, 2 / 4]  # and that of the other form
        expected = (sum(first) / 2 + sum(then) / 2) / 2
        assert found.average_precision[0] == pytest.approx(expected)

    def test_chance_is_what_random_vectors_give(self, rng):
        senses = np.array(["a"] * 300 + ["b"] * 100)
        found = metrics.same_sense_neighbours(
            rng.standard_normal((400, 50)).astype(np.float32), senses
        )
        # 4,000 neighbours looked at: a standard error below one point.
        assert found.precision_at_k.mean() == pytest.approx(found.chance_precision.mean(), abs=0.03)
        assert found.average_precision.mean() == pytest.approx(
            found.chance_average_precision.mean(), abs=0.02
        )

    def test_a_lonely_occurrence_is_in_the_pool_but_not_asked(self):
        found = metrics.same_sense_neighbours(
            on_circle(0, 50, 10), np.array(["a", "a", "alone"]), k=1
        )
        assert found.senses.tolist() == ["a", "a"]
        assert found.precision_at_k.tolist() == [0, 0]

    def test_blocks_do_not_change_the_answer(self, rng):
        vectors = rng.standard_normal((50, 4)).astype(np.float32)
        senses = rng.integers(0, 3, 50)
        whole = metrics.same_sense_neighbours(vectors, senses)
        blocks = metrics.same_sense_neighbours(vectors, senses, block_pairs=7 * 50)
        assert blocks.average_precision.tolist() == whole.average_precision.tolist()

    def test_a_word_that_never_repeats_a_sense_asks_nobody(self):
        found = metrics.same_sense_neighbours(on_circle(0, 9), np.array(["a", "b"]))
        assert len(found.precision_at_k) == len(found.chance_average_precision) == 0


def test_mean_over_senses_gives_each_sense_the_same_weight():
    values = np.array([1.0, 1.0, 1.0, 0.0])
    assert metrics.mean_over_senses(values, np.array(["a", "a", "a", "b"])) == 0.5


class TestScoreRanking:
    def test_by_hand(self):
        scores = metrics.score_ranking(np.array([0, 3, 0, 1.0]), ndcg_depth=3, recall_depth=2)
        assert scores.average_precision == pytest.approx((1 / 2 + 2 / 4) / 2)
        assert scores.ndcg == pytest.approx((3 / np.log2(3)) / (3 / np.log2(2) + 1 / np.log2(3)))
        assert scores.recall == 0.5

    def test_agrees_with_scikit_learn(self, rng):
        gains = rng.integers(0, 4, 40).astype(float)
        ranking = -np.arange(40.0)  # the scores that give this order
        scores = metrics.score_ranking(gains)
        witness = sklearn_metrics.ndcg_score([gains], [ranking], k=10)
        assert scores.ndcg == pytest.approx(witness)
        witness = sklearn_metrics.average_precision_score(gains > 0, ranking)
        assert scores.average_precision == pytest.approx(witness)

    def test_refuses_a_query_without_relevant_documents(self):
        with pytest.raises(ValueError, match="without relevant documents"):
            metrics.score_ranking(np.zeros(5))
