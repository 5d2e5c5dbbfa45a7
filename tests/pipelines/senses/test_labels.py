"""Words that name a sense."""

from collections import Counter

from pipelines.senses.labels import label_words


def test_labels_are_words_of_one_sense_only() -> None:
    contexts = {
        1: [["the", "river", "bank"], ["river", "the", "water"], ["the", "water"]],
        2: [["the", "money", "bank"], ["money", "the", "loan"], ["the", "loan"]],
    }
    counts = {"the": 1000, "river": 10, "water": 10, "money": 10, "loan": 10, "bank": 6}
    labels = label_words(contexts, Counter(counts), {"bank"})
    assert set(labels[1]) == {"river", "water"}
    assert set(labels[2]) == {"money", "loan"}
