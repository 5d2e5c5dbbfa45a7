"""Bags of words: those of many lines are those of each line."""

import numpy as np

from pipelines.search.word_bags import weighted_bag, weighted_bags


def test_bags_of_many_lines_are_those_of_each(rng: np.random.Generator) -> None:
    words = ["river", "loan", "water", "money"]
    vectors = {word: rng.standard_normal(3).astype(np.float32) for word in words}
    idf = {"river": 2.0, "loan": 3.0, "water": 1.5, "money": 1.0}
    lines = [["river", "water", "unheard"], [], ["loan", "money", "loan"], ["unheard"]]
    bags = weighted_bags(lines, vectors, idf, 3)
    expected = [weighted_bag(sorted(set(line)), vectors, idf) for line in lines]
    stacked = np.stack([np.zeros(3, np.float32) if one is None else one for one in expected])
    np.testing.assert_allclose(bags, stacked, atol=1e-6)
    assert (bags[[1, 3]] == 0).all()
    by_hand = 3 * vectors["loan"] + vectors["money"]
    np.testing.assert_allclose(bags[2], by_hand / np.linalg.norm(by_hand), atol=1e-6)
