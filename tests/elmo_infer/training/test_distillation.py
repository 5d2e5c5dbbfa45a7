"""The teacher's losses: which words are compared with which, and what a resumed run sees."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from elmo_infer.training.distillation import (
    Distillation,
    choose_words,
    pair_occurrences,
    within_group_correlation,
)
from elmo_infer.training.spelled_batch import Batch
from elmo_infer.training.token_store import TokenStore, build_token_store


class EchoTeacher:
    """A teacher whose state of a word is a one-hot of the word before it."""

    dim = 8
    middle_layers = (3, 4)

    def states(self, sentences: list[list[str]], layers: Sequence[int]) -> tuple[Tensor, Tensor]:
        assert layers == self.middle_layers
        words = torch.zeros(len(sentences), len(sentences[0]), self.dim)
        for row, sentence in enumerate(sentences):
            for place, before in enumerate(["0", *sentence[:-1]]):
                words[row, place, int(before) % self.dim] = 1.0
        return words, torch.nn.functional.normalize(words.mean(1), dim=1)

    def table_of(self, words: Iterable[str]) -> list[str]:
        return list(words)

    def states_of(
        self, table: list[str], words: np.ndarray, layers: Sequence[int]
    ) -> tuple[Tensor, Tensor]:
        return self.states([[table[word] for word in row] for row in words], layers)


@pytest.fixture
def store(tmp_path: Path, rng: np.random.Generator) -> TokenStore:
    documents = [[[str(word) for word in rng.integers(0, 200, 40)]] for _ in range(120)]
    return build_token_store(documents, tmp_path / "text")


def batch_of(sentences: np.ndarray) -> Batch:
    """A batch of which the loss needs the sentences only."""
    batch = Batch.__new__(Batch)
    object.__setattr__(batch, "sentences", sentences)
    return batch


def distillation(store: TokenStore) -> Distillation:
    return Distillation(
        EchoTeacher(),  # type: ignore[arg-type]
        store,
        torch.eye(16),
        dim=4,
        layer_weights=(0.5, 0.5),
        share=1.0,
    )


def losses(loss: Distillation, batches: list[np.ndarray], ahead: bool) -> list[float]:
    """The losses of seeded layers on batches, started one ahead or each in its turn."""
    found = []
    for number, sentences in enumerate(batches):
        if ahead and number == 0:
            loss.start(sentences)
        if ahead and number + 1 < len(batches):
            loss.start(batches[number + 1])
        generator = torch.Generator().manual_seed(int(sentences[0]))
        layers = [torch.randn(42, len(sentences), 4, generator=generator) for _ in range(2)]
        found.append(float(loss(batch_of(sentences), layers).detach()))
    return found


def test_frequent_types_are_left_out() -> None:
    types = np.array([3, 500, 149, 150, 7, 9000])
    np.testing.assert_array_equal(choose_words(types), [1, 3, 5])


def test_text_of_frequent_types_alone_is_compared_whole() -> None:
    np.testing.assert_array_equal(choose_words(np.array([3, 5, 160, 9])), [0, 1, 2, 3])


def test_words_of_a_long_batch_are_bounded_and_evenly_spaced() -> None:
    chosen = choose_words(np.full(5000, 200))
    np.testing.assert_array_equal(chosen, np.arange(0, 5000, 3))


def test_each_word_is_paired_with_others_of_its_type() -> None:
    others = np.array([7, 5, 7, -1, 7, 5, 8, 7])
    own, other = pair_occurrences(np.array([5, 8, 7, 6]), others, most=2)
    # 5 occurs twice, 8 once and so is left out, 7 four times: the first and the third.
    np.testing.assert_array_equal(own, [0, 0, 2, 2])
    np.testing.assert_array_equal(other, [1, 5, 0, 4])


def test_correlation_within_groups_by_hand() -> None:
    groups = torch.tensor([0, 0, 1, 1])
    x = torch.tensor([1.0, 3.0, 10.0, 20.0])  # around its means: -1, 1, -5, 5
    y = torch.tensor([0.0, 2.0, 9.0, 7.0])  # -1, 1, 1, -1
    expected = (1 + 1 - 5 - 5) / (52**0.5 * 4**0.5)
    torch.testing.assert_close(
        within_group_correlation(x, y, groups, 2), torch.tensor(expected), atol=1e-6, rtol=0
    )


def test_loss_does_not_depend_on_starting_ahead(store: TokenStore) -> None:
    batches = [np.arange(low, low + 30) for low in (0, 30, 60, 90)]
    alone = losses(distillation(store), batches, ahead=False)
    ahead = losses(distillation(store), batches, ahead=True)
    assert alone == ahead
    assert len(set(alone)) == 4


def test_what_is_remembered_is_enough_to_go_on(store: TokenStore) -> None:
    batches = [np.arange(low, low + 30) for low in (0, 30, 60, 90)]
    through = losses(distillation(store), batches, ahead=False)
    first, second = distillation(store), distillation(store)
    losses(first, batches[:2], ahead=False)
    for name, value in first.buffers.items():
        second.buffers[name].copy_(value)
    assert losses(second, batches[2:], ahead=False) == through[2:]
    assert losses(distillation(store), batches[2:], ahead=False) != through[2:]


def test_occurrences_that_follow_the_teacher_cost_nothing(store: TokenStore) -> None:
    loss = distillation(store)
    types = np.repeat(np.arange(200, 210), 20)
    generator = torch.Generator().manual_seed(3)
    states = torch.nn.functional.normalize(torch.randn(200, 16, generator=generator), dim=1)
    other = torch.nn.functional.normalize(torch.randn(200, 4, generator=generator), dim=1)
    empty = loss.follow_occurrences(types, other, states)
    unrelated = loss.follow_occurrences(types, other, states)
    assert float(empty) == 0.0  # nothing in the ring to compare with
    assert 0.5 < float(unrelated) < 1.5
    same = distillation(store)
    same.buffers["student"] = torch.zeros(len(same.buffers["types"]), 16, dtype=torch.float16)
    same.follow_occurrences(types, states, states)
    assert float(same.follow_occurrences(types, states, states)) < 1e-3


class TopicTeacher(EchoTeacher):
    """A teacher to whom all words are alike, and every sentence is of one of seven topics."""

    dim = 8
    middle_layers = (1,)

    def states(self, sentences: list[list[str]], layers: Sequence[int]) -> tuple[Tensor, Tensor]:
        assert layers == self.middle_layers
        words = torch.zeros(len(sentences), len(sentences[0]), self.dim)
        words[:, :, 0] = 1.0
        topics = torch.tensor([1 + int(sentence[0]) % 7 for sentence in sentences])
        return words, torch.nn.functional.one_hot(topics, self.dim).float()


def test_words_that_know_their_own_sentence_cost_nothing(store: TokenStore) -> None:
    loss = Distillation(
        TopicTeacher(),  # type: ignore[arg-type]
        store,
        torch.cat([torch.eye(8), 1.5 * torch.eye(8)]),  # of a word, and of 0.8 of its sentence
        dim=8,
        layer_weights=(0.5, 0.5),
        share=1.0,
    )
    with torch.no_grad():
        for name, value in loss.parameters.items():
            value.copy_(torch.zeros(8) if name == "query" else torch.eye(8))
    sentences = np.arange(70)
    firsts = store.tokens[store.sentences[sentences]]
    topics = torch.tensor([1 + int(store.types[first]) % 7 for first in firsts])
    gold = torch.nn.functional.one_hot(topics, 8).float()
    known = 1.2 * gold
    known[:, 0] = 1.0
    layer = known.expand(42, -1, -1)

    # What is left is the sentences' part: a pooled vector is 1 of what all have and 1.2 of topic.
    length = (1 + 1.2**2) ** 0.5
    cosines = torch.where(gold @ gold.t() > 0, 1.0, 1 / length**2)
    expected = (1 - 1.2 / length) + 4 * (cosines - gold @ gold.t()).square().mean()
    found = loss(batch_of(sentences), [layer, layer])
    assert float(found.detach()) == pytest.approx(float(expected), abs=1e-4)
