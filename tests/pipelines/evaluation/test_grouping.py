"""Occurrences of a set as vectors, grouped by word."""

from typing import Any

import numpy as np

from elmo_infer.results import EmbedResult
from pipelines.evaluation.grouping import group_occurrences
from pipelines.evaluation.sets import Context, Instance


class OneHot:
    """Each word has a direction of its own; a sentence is the mean of its words."""

    WORDS = ("river", "bank", "loan", "banks", "the")

    def embed(self, sentences: Any) -> EmbedResult:
        rows = np.eye(len(self.WORDS), dtype=np.float32)
        vectors = [np.stack([rows[self.WORDS.index(t)] for t in s]) for s in sentences]
        lengths = [len(sentence) for sentence in sentences]
        return EmbedResult(
            token_vectors=np.concatenate(vectors),
            offsets=np.concatenate([[0], np.cumsum(lengths)]),
            sentence_vectors=np.stack([each.mean(axis=0) for each in vectors]),
            attention=np.concatenate([np.full(n, 1 / n, np.float32) for n in lengths]),
        )


def one(lemma: str, *tokens: str, index: int) -> Instance:
    return Instance(id=f"{lemma}{index}", lemma=lemma, context=Context(tokens, index))


def test_occurrences_are_grouped_with_the_words_around_them() -> None:
    instances = [
        one("bank", "the", "river", "bank", index=2),
        one("loan", "the", "loan", index=1),
        one("bank", "the", "banks", "loan", index=1),
    ]
    found = group_occurrences(OneHot(), instances, lambda token: token != "the")
    bank, loan = found.groups
    assert (bank.lemma, bank.rows.tolist(), loan.rows.tolist()) == ("bank", [0, 2], [1])
    assert found.own == {"bank": {"bank", "banks"}, "loan": {"loan"}}
    assert found.counts == {"river": 1, "bank": 1, "banks": 1, "loan": 2}
    # Of the words around, neither of the word's own forms.
    assert np.argmax(bank.sample.bags, axis=1).tolist() == [0, 2]
    assert not loan.sample.bags.any()
    np.testing.assert_allclose(np.linalg.norm(bank.sample.tokens, axis=1), 1, atol=1e-6)
