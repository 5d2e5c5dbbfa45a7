"""Words that name a sense."""

from collections.abc import Mapping, Sequence

import numpy as np

from pipelines.senses.labels import label_words

COUNTS = {
    "the": 1000, "river": 10, "rivers": 3, "water": 10, "money": 10, "loan": 10, "bank": 6,
    "fog": 5, "银": 4, "of": 900,
}  # fmt: skip


def vectors_of(words: Sequence[str]) -> Mapping[str, np.ndarray]:
    """Water words point one way, money words another; all else stands between."""
    sides = dict.fromkeys(("river", "rivers", "water"), (1, 0.1))
    sides |= dict.fromkeys(("money", "loan"), (0.1, 1))
    return {word: np.array(sides.get(word, (0.7, 0.7)), np.float32) for word in words}


def test_labels_are_words_of_one_sense_only() -> None:
    contexts = {
        1: [["the", "river", "bank"], ["river", "the", "water"], ["the", "water"]],
        2: [["the", "money", "bank"], ["money", "the", "loan"], ["the", "loan"]],
    }
    labels = label_words(contexts, COUNTS, {"bank"}, vectors_of)
    assert labels[1][:2] == ("river", "water")
    assert labels[2][:2] == ("loan", "money")
    assert not {"bank", "banks"} & {*labels[1], *labels[2]}


def test_a_word_of_a_single_line_can_name_a_sense() -> None:
    labels = label_words(
        {1: [["river", "fog"]], 2: [["loan", "fog"]]}, COUNTS, {"bank"}, vectors_of
    )
    assert labels[1][0] == "river"
    assert labels[2][0] == "loan"


def test_one_form_of_a_word_is_shown_and_no_short_ones() -> None:
    contexts = {1: [["rivers", "river", "of", "x1", "银"]], 2: [["loan"]]}
    labels = label_words(contexts, COUNTS, {"bank"}, vectors_of)
    assert len({"river", "rivers"} & set(labels[1])) == 1
    assert "银" in labels[1]
    assert "of" not in labels[1]


def test_one_sense_is_named_against_the_corpus() -> None:
    labels = label_words({1: [["the", "river"], ["water"]]}, COUNTS, {"bank"}, vectors_of)
    assert set(labels[1][:2]) == {"river", "water"}


def test_a_sense_without_words_has_no_labels() -> None:
    assert label_words({1: [["bank"]], 2: []}, COUNTS, {"bank"}, vectors_of) == {1: (), 2: ()}
