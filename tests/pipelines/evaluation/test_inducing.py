"""Induced senses of a set: what they score, beside chance, and how they are written."""

import numpy as np
import pytest

from pipelines.evaluation.inducing import key_lines, score_induced
from pipelines.evaluation.sets import Context, InductionSet, Instance


def of(name: str, golds: list[list[str]], *, force: bool) -> InductionSet:
    instances = [
        Instance(
            id=f"w{lemma}.{row}",
            lemma=f"w{lemma}",
            context=Context(("w",), 0),
            gold=((gold, 1.0),) if gold else (),
        )
        for lemma, rows in enumerate(golds)
        for row, gold in enumerate(rows)
    ]
    return InductionSet(name=name, instances=tuple(instances), force=force)


GOLDS = [["a"] * 6 + ["b"] * 6, ["a"] * 12]


def test_right_senses_are_above_one_cluster_and_above_their_sizes_shuffled() -> None:
    found = of("semcor_wsi", GOLDS, force=False)
    scores = score_induced(found, np.array([1] * 6 + [2] * 6 + [1] * 12))
    assert scores["bcubed_f"] == pytest.approx(1)
    # One cluster: precision 1/2, recall 1 of the first; 1 of the second.
    assert scores["one_cluster"] == pytest.approx((2 / 3 + 1) / 2)
    assert scores["over_one_cluster"] == pytest.approx(1 / 6)
    assert scores["over_shuffled"] > 0.1
    assert scores["random"] < scores["one_cluster"]
    assert (scores["lemmas_better"], scores["lemmas_worse"], scores["senses"]) == (1, 0, 1.5)


def test_one_cluster_a_lemma_gains_nothing() -> None:
    scores = score_induced(of("semcor_wsi", GOLDS, force=False), np.ones(24, int))
    assert scores["over_one_cluster"] == scores["over_shuffled"] == 0


def test_a_forced_set_is_scored_by_both_fuzzy_measures() -> None:
    found = of("semeval2013_wsi", [GOLDS[0], GOLDS[0]], force=True)
    right = score_induced(found, np.array(([1] * 6 + [2] * 6) * 2))
    assert right["avg"] == pytest.approx(1)
    assert right["random_avg"] < 0.6
    assert right["shuffled_avg"] < 0.6
    assert score_induced(found, np.ones(24, int))["avg"] == 0


def test_occurrences_without_gold_have_no_part_in_scores() -> None:
    found = of("semcor_wsi", [["a", "a", ""], [""]], force=False)
    scores = score_induced(found, np.array([1, 1, 2, 1]))
    assert scores["bcubed_f"] == 1
    assert score_induced(of("semcor_wsi", [["", ""]], force=False), np.ones(2, int)) == {}


def test_keys_have_a_line_an_occurrence() -> None:
    hard = key_lines(of("semcor_wsi", [["a", ""]], force=False), np.array([1, 2]))
    assert hard == ("w0.0\tw0.1", "w0.1\tw0.2")
    forced = key_lines(of("semeval2013_wsi", [["a", ""]], force=True), np.array([1, 2]))
    assert forced == ("w0 w0.0 w0.1", "w0 w0.1 w0.2")
