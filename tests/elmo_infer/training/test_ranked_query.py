"""The pooling query learns from a teacher which of the sentences near to one are nearest."""

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from elmo_infer.training.forms import CONTENT, PUNCTUATION
from elmo_infer.training.ranked_query import (
    choose_sentences,
    learn_ranking,
    nearest_sentences,
    within_group_correlation,
)
from elmo_infer.training.token_store import TokenStore, build_token_store

DIM = 8


def store_of(lengths: list[int], directory: Path) -> TokenStore:
    words = ["the", "cat", "dog", "."]
    documents = [[[words[(n + k) % 4] for k in range(length)]] for n, length in enumerate(lengths)]
    return build_token_store(documents, directory)


def test_sentences_of_middling_length_are_chosen_the_shortest_first(tmp_path: Path) -> None:
    store = store_of([3, 5, 20, 21, *[9, 7] * 20], tmp_path)
    read = np.ones((44, 2), dtype=np.float16)
    chosen = choose_sentences(store, read, 30, np.random.default_rng(0))
    assert len(set(chosen.tolist())) == 30
    assert np.all(np.diff(store.lengths[chosen]) >= 0)
    everything = choose_sentences(store, read, 1000, np.random.default_rng(0))
    assert sorted(everything.tolist()) == [1, 2, *range(4, 44)]
    again = choose_sentences(store, read, 30, np.random.default_rng(0))
    assert again.tolist() == chosen.tolist()
    read[1] = 0.0  # the teacher has not read this one
    assert 1 not in choose_sentences(store, read, 1000, np.random.default_rng(0))


def test_a_text_of_too_few_sentences_is_refused(tmp_path: Path) -> None:
    store = store_of([6] * 20 + [3] * 50, tmp_path)
    with pytest.raises(ValueError, match="20 sentences of 5 to 20 words; expected more than 20"):
        choose_sentences(store, np.ones((70, 2)), 30, np.random.default_rng(0))


def test_the_nearest_are_others_with_the_highest_cosines() -> None:
    generator = torch.Generator().manual_seed(1)
    taught = F.normalize(torch.randn(1500, DIM, generator=generator), dim=1)  # in two parts
    near = nearest_sentences(taught, 3)
    for row in (0, 1023, 1024, 1499):
        order = (taught @ taught[row]).argsort(descending=True)
        assert near[row].tolist() == order[1:4].tolist()


def sentences_of_topics(seed: int) -> tuple[np.ndarray, np.ndarray, Tensor]:
    """Sentences of a word that the teacher goes by, marked on the first axis, and of noise."""
    rng = np.random.default_rng(seed)
    lengths = rng.integers(5, 9, 300)
    offsets = np.concatenate([[0], lengths.cumsum()])
    vectors = rng.standard_normal((offsets[-1], DIM)).astype(np.float32)
    vectors[:, 0] = 0.0
    topics = offsets[:-1] + rng.integers(0, lengths)
    vectors[topics, 0] = 3.0
    return vectors, offsets, F.normalize(torch.from_numpy(vectors[topics]), dim=1)


def test_the_query_learns_to_look_at_what_the_teacher_goes_by() -> None:
    vectors, offsets, taught = sentences_of_topics(0)
    losses: list[float] = []
    query = learn_ranking(
        vectors, offsets, taught, torch.zeros(DIM), steps=300, learning_rate=0.1,
        report=lambda _, loss: losses.append(loss),
    )  # fmt: skip
    weights = torch.softmax(torch.from_numpy(vectors[: offsets[1]]) @ query / DIM**0.5, dim=0)
    assert float(weights[int(vectors[: offsets[1], 0].argmax())]) > 0.8
    assert len(losses) == 300
    assert np.mean(losses[-20:]) < 0.5 * losses[0]


def test_padding_has_no_weight() -> None:
    rng = np.random.default_rng(1)
    lengths = [5] * 100 + [12]  # one long sentence, and the others are padded
    offsets = np.cumsum([0, *lengths])
    vectors = rng.standard_normal((offsets[-1], DIM)).astype(np.float32)
    vectors[:, 0] = 2.0
    vectors[offsets[:-1], 0] = 1.0
    taught = F.normalize(torch.from_numpy(vectors[offsets[:-1]]), dim=1)
    start = torch.zeros(DIM)
    start[0] = -500.0  # looks at what is taught, and no word scores as high as zero
    losses: list[float] = []
    learn_ranking(
        vectors, offsets, taught, start, steps=1, report=lambda _, loss: losses.append(loss)
    )
    assert losses[0] == pytest.approx(0.0, abs=1e-4)


def test_the_same_seed_learns_the_same_query_and_start_is_left_alone() -> None:
    vectors, offsets, taught = sentences_of_topics(2)
    start = torch.ones(DIM)
    found = [learn_ranking(vectors, offsets, taught, start, steps=5, seed=s) for s in (3, 3, 4)]
    assert found[0].equal(found[1])
    assert not found[0].equal(found[2])
    assert start.equal(torch.ones(DIM))


def test_attention_that_costs_leaves_what_costs_it() -> None:
    vectors, offsets, taught = sentences_of_topics(0)
    # Where the teacher looks costs: the marked word is punctuation, all others have content.
    kinds = np.where(vectors[:, 0] > 0, PUNCTUATION, CONTENT).astype(np.int8)

    def mass(penalty: tuple[float, float]) -> float:
        query = learn_ranking(
            vectors, offsets, taught, torch.zeros(DIM), steps=150, learning_rate=0.1,
            kinds=kinds, penalty=penalty,
        )  # fmt: skip
        first = torch.from_numpy(vectors[: offsets[1]])
        weights = torch.softmax(first @ query / DIM**0.5, dim=0)
        return float(weights[torch.from_numpy(kinds[: offsets[1]] == PUNCTUATION)].sum())

    assert mass((0.0, 5.0)) > 0.7  # there is no stop word
    assert mass((5.0, 0.0)) < 0.05


def test_correlation_within_groups_by_hand() -> None:
    groups = torch.tensor([0, 0, 1, 1])
    x = torch.tensor([1.0, 3.0, 10.0, 20.0])  # around its means: -1, 1, -5, 5
    y = torch.tensor([0.0, 2.0, 9.0, 7.0])  # -1, 1, 1, -1
    expected = (1 + 1 - 5 - 5) / (52**0.5 * 4**0.5)
    torch.testing.assert_close(
        within_group_correlation(x, y, groups, 2), torch.tensor(expected), atol=1e-6, rtol=0
    )
