"""The pooling query learns, without labels, which words tell sentences apart."""

from pathlib import Path

import numpy as np
import pytest
import torch

from elmo_infer.training.pooling import learn_query, neighbour_pairs
from elmo_infer.training.token_store import TokenStore, build_token_store

DIM = 12


@pytest.fixture
def store(tmp_path: Path) -> TokenStore:
    """Documents of two sentences that share a topic word among noise words."""
    rng = np.random.default_rng(2)

    def sentence(topic: str) -> list[str]:
        noise = [f"noise{index}" for index in rng.integers(0, 40, size=5)]
        return [*noise[:2], topic, *noise[2:]]

    documents = [[sentence(f"topic{n}"), sentence(f"topic{n}")] for n in range(200)]
    return build_token_store(documents, tmp_path)


def encode(sentences: list[list[str]]) -> tuple[np.ndarray, np.ndarray]:
    """Give every word its own direction; the first axis says whether it is a topic."""
    rows = []
    for sentence in sentences:
        for word in sentence:
            vector = np.random.default_rng(abs(hash_of(word))).standard_normal(DIM)
            vector[0] = 2.0 if word.startswith("topic") else -2.0
            rows.append(vector)
    offsets = np.cumsum([0] + [len(sentence) for sentence in sentences])
    return np.array(rows, dtype=np.float32), offsets


def hash_of(word: str) -> int:
    return int.from_bytes(word.encode(), "little")


def test_query_learns_to_look_at_the_words_that_matter(store: TokenStore) -> None:
    losses: list[float] = []
    query = learn_query(
        store, encode, DIM, batch=20, learning_rate=0.5, seed=1,
        report=lambda _, loss: losses.append(loss),
    )  # fmt: skip
    weights = torch.softmax(
        torch.from_numpy(encode([["noise1", "topic7", "noise2"]])[0]) @ query / DIM**0.5, dim=0
    )
    assert float(weights[1]) > 0.5
    assert losses[-1] < losses[0]


def test_the_last_steps_are_small(store: TokenStore) -> None:
    def furthest(steps: int) -> float:
        query = learn_query(store, encode, DIM, batch=20, steps=steps, learning_rate=0.1, seed=1)
        return float(query.abs().max())

    # Adam moves each number by about the rate: 0.1 times 1, 3/4, 1/2 and 1/4.
    assert furthest(1) == pytest.approx(0.1, rel=0.01)
    assert furthest(4) <= 0.1 * 2.5 + 1e-3
    # The text has ten batches: the rate falls over those it has, 0.1 times 5.5 in all.
    assert furthest(200) <= 0.1 * 5.5 + 1e-3


def test_pairs_are_neighbours_of_one_document(store: TokenStore) -> None:
    seen: list[int] = []
    for first, second in neighbour_pairs(store, 20, np.random.default_rng(0)):
        assert (second == first + 1).all()
        assert (first % 2 == 0).all()  # documents have two sentences each
        seen += first.tolist()
    assert len(seen) == len(set(seen)) == 200


def test_text_without_neighbours_is_refused(tmp_path: Path) -> None:
    store = build_token_store([[["one", "single", "short", "sentence", "."]]], tmp_path)
    with pytest.raises(ValueError, match="fewer than 128 documents with two neighbouring"):
        learn_query(store, encode, DIM)
