"""What tells senses apart: by hand, and in a text whose documents keep to a sense."""

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from elmo_infer.training import discourse
from elmo_infer.training.discourse import discriminant, in_context, sense_map
from elmo_infer.training.forms import FREQUENT
from elmo_infer.training.token_store import TokenStore, build_token_store


def test_a_word_in_context_is_its_direction_beside_some_of_its_sentence() -> None:
    words = torch.tensor([[3.0, 4.0], [0.0, 0.0]])
    found = in_context(words, torch.tensor([[1.0, 0.0], [0.0, 1.0]]))
    torch.testing.assert_close(found, torch.tensor([[0.6, 0.8, 0.8, 0.0], [0.0, 0.0, 0.0, 0.8]]))


def test_discriminant_by_hand() -> None:
    # Within documents: x of word 0 in document 0 by 1 each side, y in document 1 by 2 each side:
    # W = diag(2, 8) / (6 - 4). Between: x of word 0 by 2 each side, y of word 1 by 1 each side:
    # B = diag(8, 2) / (4 - 2).
    vectors = np.array([[-1, 0], [1, 0], [4, -2], [4, 2], [9, 0], [9, 2]], dtype=np.float64)
    words = np.array([0, 0, 0, 0, 1, 1])
    documents = np.array([0, 0, 1, 1, 0, 1])
    within, between, ridge = np.array([1.0, 4.0]), np.array([4.0, 1.0]), 2.5
    ratio = between / (within + ridge)
    expected = np.diag(ratio / (1 + ratio) / np.sqrt(within + ridge))

    found = discriminant(vectors, words, documents, 2)

    np.testing.assert_allclose(np.abs(found), expected, atol=1e-12)
    np.testing.assert_allclose(
        np.abs(discriminant(vectors, words, documents, 1)), expected[:, :1], atol=1e-12
    )


def test_order_of_the_words_is_no_matter(rng: np.random.Generator) -> None:
    vectors = rng.normal(size=(60, 4))
    words, documents = rng.integers(0, 5, 60), rng.integers(0, 6, 60)
    order = rng.permutation(60)
    one = discriminant(vectors, words, documents, 4)
    other = discriminant(vectors[order], words[order], documents[order], 4)
    np.testing.assert_allclose(one @ one.T, other @ other.T, atol=1e-10)


class NoisyTeacher:
    """A teacher whose states hold a word, the sense of its document, and more of what is neither.

    The first word of a sentence names its document: "d3" has the sense 3 % 2. In states, 0 and 1
    are the sense, 2 to 28 noise, more than that in all, and 29 to 31 the word.
    """

    dim = 32
    middle_layers = (1,)
    device = torch.device("cpu")

    def __init__(self) -> None:
        self.read: list[list[str]] = []

    def states(self, sentences: list[list[str]], layers: Sequence[int]) -> tuple[Tensor, Tensor]:
        assert layers == self.middle_layers
        assert len({len(sentence) for sentence in sentences}) == 1
        self.read += sentences
        states = torch.zeros(len(sentences), len(sentences[0]), self.dim)
        for row, sentence in enumerate(sentences):
            noise = np.random.default_rng([int(word[1:]) for word in sentence])
            for place, word in enumerate(sentence):
                states[row, place, int(sentence[0][1:]) % 2] = 1.0
                states[row, place, 2:29] = torch.from_numpy(noise.normal(size=27))
                states[row, place, 29 + int(word[1:]) % 3] = 1.0
        return states, torch.zeros(len(sentences), self.dim)


def text(directory: Path, sentences: int, documents: int = 60) -> TokenStore:
    """Documents of some sentences: what document it is, one of 30 rarer words, and another."""
    rng = np.random.default_rng(0)
    made = [
        [[f"d{d}", *(f"w{k}" for k in rng.integers(0, 30, 1 + s % 3))] for s in range(sentences)]
        for d in range(documents)
    ]
    # So many more frequent types that none of these is among the most frequent.
    often = [[[f"f{k}" for k in range(FREQUENT)] * 2] * (sentences * documents)]
    return build_token_store([*made, *often], directory, max_sentence_tokens=400)


def same_sense_share(vectors: np.ndarray, senses: np.ndarray) -> float:
    """How many nearest neighbours, by cosine, have a vector's own sense."""
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    cosines = unit @ unit.T
    np.fill_diagonal(cosines, -2)
    return float((senses[cosines.argmax(1)] == senses).mean())


def test_senses_are_found_among_what_is_stronger(tmp_path: Path) -> None:
    store = text(tmp_path / "text", sentences=14)
    teacher = NoisyTeacher()

    found = sense_map(teacher, store, seed=1)  # type: ignore[arg-type]

    assert found.shape == (64, 64)
    senses = np.arange(200) % 2
    sentences = [[f"d{k}", "w4", f"w{k % 30}"] for k in range(200)]
    states, whole = NoisyTeacher().states(sentences, (1,))
    before = in_context(states[:, 1], whole)
    assert same_sense_share(before.numpy(), senses) < 0.75
    assert same_sense_share((before @ found).numpy(), senses) > 0.95
    # The long document of frequent types alone is one of those drawn; the others are read whole.
    assert {sentence[0] for sentence in teacher.read} == {"f0", *(f"d{d}" for d in range(60))}


def test_same_seed_gives_the_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(discourse, "MAX_DOCUMENTS", 50)
    store = text(tmp_path / "text", sentences=14)
    one, again, other = (
        sense_map(NoisyTeacher(), store, seed)  # type: ignore[arg-type]
        for seed in (1, 1, 2)
    )
    assert torch.equal(one, again)
    assert not torch.equal(one, other)


def test_short_documents_are_not_read_and_long_ones_not_to_their_end(tmp_path: Path) -> None:
    documents = [[[f"d{d}", f"w{s}"] for s in range(n)] for d, n in enumerate((11, 12, 40))]
    teacher = NoisyTeacher()
    store, told = build_token_store(documents, tmp_path / "text"), []
    sense_map(teacher, store, 1, lambda *counts: told.append(counts))  # type: ignore[arg-type]
    assert told[-1] == (42, 42)
    read = sorted(teacher.read, key=lambda sentence: (sentence[0], int(sentence[1][1:])))
    assert read == [["d1", f"w{s}"] for s in range(12)] + [["d2", f"w{s}"] for s in range(30)]


def test_documents_are_read_up_to_a_number_of_tokens(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(discourse, "MAX_TOKENS", 75)
    documents = [[[f"d{d}", f"w{s}"] for s in range(12)] for d in range(5)]
    teacher = NoisyTeacher()
    sense_map(teacher, build_token_store(documents, tmp_path / "text"), 1)  # type: ignore[arg-type]
    assert len(teacher.read) == 3 * 12
    assert len({sentence[0] for sentence in teacher.read}) == 3


@pytest.mark.parametrize("sentences", [1, 14], ids=["short documents", "few documents"])
def test_text_that_repeats_too_few_words_is_taught_whole_and_that_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, sentences: int
) -> None:
    store = text(tmp_path / "text", sentences, documents=3)
    with caplog.at_level(logging.WARNING):
        found = sense_map(NoisyTeacher(), store, seed=1)  # type: ignore[arg-type]
    assert torch.equal(found, torch.eye(64))
    assert "this text is too short to learn which directions distinguish senses" in caplog.text
    assert "expected 256 of each; give more text in long documents" in caplog.text


def test_words_without_senses_are_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[np.ndarray] = []

    def watched(vectors: np.ndarray, words: np.ndarray, *rest: np.ndarray | int) -> np.ndarray:
        seen.append(words)
        return discriminant(vectors, words, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(discourse, "discriminant", watched)
    store = text(tmp_path / "text", sentences=14)
    sense_map(NoisyTeacher(), store, seed=1)  # type: ignore[arg-type]
    assert {store.types[word][0] for word in seen[0]} == {"d", "w"}
