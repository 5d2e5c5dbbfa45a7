"""Words of one sense in text: which occurrences are read."""

from pathlib import Path

import pytest

from pipelines.evaluation.single_words import PER_WORD, read_single_words
from pipelines.text.tokenizer import Tokenizer

SENTENCE = "The {word} stood near the old harbour wall ."


def write(path: Path, words: list[str]) -> str:
    path.write_text("\n\n".join(SENTENCE.format(word=word) for word in words), encoding="utf-8")
    return str(path)


def test_occurrences_of_listed_words_are_read_with_their_sentences(tmp_path: Path) -> None:
    text = write(tmp_path / "a.txt", ["airport", "bank", "bishop", "airports", "Bishop"])
    found = read_single_words([text], ["airport", "bishop"], Tokenizer("en"))
    assert [(one.lemma, one.context.tokens[one.context.index]) for one in found.instances] == [
        ("airport", "airport"),
        ("bishop", "bishop"),
    ]
    assert found.instances[0].context.tokens[-2:] == ("wall", ".")
    assert not found.instances[0].gold


def test_frequent_words_are_bounded_and_the_choice_is_the_same_each_time(tmp_path: Path) -> None:
    text = write(tmp_path / "a.txt", ["airport"] * (PER_WORD + 50))
    first, again = (read_single_words([text], ["airport"], Tokenizer("en")) for _ in range(2))
    assert len(first.instances) == PER_WORD
    assert first == again


def test_text_without_any_of_the_words_is_refused(tmp_path: Path) -> None:
    text = write(tmp_path / "a.txt", ["bank"])
    with pytest.raises(ValueError, match=r"none of the 1 words of one sense occurs in a\.txt"):
        read_single_words([text], ["airport"], Tokenizer("en"))
