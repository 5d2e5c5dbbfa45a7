"""Text to integers and back."""

from pathlib import Path

import pytest

from elmo_infer.training.batches import epochs_of_batches
from elmo_infer.training.token_store import build_token_store, open_token_store

DOCUMENTS = [
    [["The", "cat", "sat", "."], ["The", "dog", "ran", "far", "away", "."]],
    [["A", "cat", "ran", "."]],
]


def test_sentences_come_back_as_they_went_in(tmp_path: Path) -> None:
    store = build_token_store(DOCUMENTS, tmp_path)
    assert list(store) == [sentence for document in DOCUMENTS for sentence in document]
    assert store.documents.tolist() == [0, 2, 3]


def test_types_stand_by_falling_frequency_then_spelling(tmp_path: Path) -> None:
    store = build_token_store(DOCUMENTS, tmp_path)
    assert store.types[:4] == [".", "The", "cat", "ran"]
    assert store.counts[:5].tolist() == [3, 2, 2, 2, 1]


def test_same_text_gives_the_same_digest(tmp_path: Path) -> None:
    first = build_token_store(DOCUMENTS * 9, tmp_path / "a", lowercase_share=0.5, seed=4)
    second = build_token_store(DOCUMENTS * 9, tmp_path / "b", lowercase_share=0.5, seed=4)
    other = build_token_store(DOCUMENTS * 9, tmp_path / "c", lowercase_share=0.5, seed=5)
    assert first.digest == second.digest != other.digest


def test_share_of_documents_is_lower_cased(tmp_path: Path) -> None:
    none = build_token_store(DOCUMENTS * 9, tmp_path / "none", lowercase_share=0.0)
    some = build_token_store(DOCUMENTS * 9, tmp_path / "some", lowercase_share=0.5)
    every = build_token_store(DOCUMENTS * 9, tmp_path / "every", lowercase_share=1.0)
    assert "the" not in none.types
    assert {"the", "The"} <= set(some.types)
    assert "The" not in every.types


def test_text_without_context_is_refused(tmp_path: Path) -> None:
    store = build_token_store([[["alone"]]], tmp_path)
    with pytest.raises(ValueError, match="no sentence of the training text has 2 tokens"):
        next(epochs_of_batches(store, 8, seed=1))


def test_long_sentences_are_cut(tmp_path: Path) -> None:
    store = build_token_store([[list("abcdefg")]], tmp_path, max_sentence_tokens=3)
    assert [len(sentence) for sentence in store] == [3, 3, 1]


def test_text_without_words_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="found 0 tokens in 1 documents"):
        build_token_store([[[]]], tmp_path)


def test_directory_without_a_store_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"store\.json is missing"):
        open_token_store(tmp_path)
