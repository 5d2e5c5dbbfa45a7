"""Where SimpleWords answers, spaCy's tokenizer gives the same tokens."""

import gzip
import json
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.text.segmenters import blank_pipeline
from pipelines.text.simple_words import SimpleWords

LANGUAGES = ("en", "de", "it", "ru", "tr", "hu", "hi")


@cache
def tokenizer_of(language: str) -> Any:
    return blank_pipeline(language).tokenizer


def by_spacy(language: str, word: str) -> tuple[tuple[str, ...], tuple[int, ...]]:
    found = [(token.text, token.idx) for token in tokenizer_of(language)(word)]
    return tuple(text for text, _ in found), tuple(start for _, start in found)


def agrees(language: str, word: str) -> bool:
    split = SimpleWords(tokenizer_of(language)).split(word)
    return split is None or split == by_spacy(language, word)


@pytest.mark.parametrize(
    ("word", "tokens"),
    [
        ("bank", ["bank"]),
        ("bank,", ["bank", ","]),
        ("bank.", ["bank", "."]),
        ("1984.", ["1984", "."]),
        ("Łódź", ["Łódź"]),
        ("bank's", None),  # 's is itself a special case
        ("cannot", None),
        ("Inc.", None),
        ("(bank", None),
        ("bank).", None),
        ("well-known", None),
        (",", None),
    ],
)
def test_words_without_affixes_and_with_one_mark_are_simple(
    word: str, tokens: list[str] | None
) -> None:
    split = SimpleWords(tokenizer_of("en")).split(word)

    assert (split and list(split[0])) == tokens


@pytest.mark.parametrize("language", LANGUAGES)
@given(word=st.text(st.sampled_from("aNéßжx'’.,;:-–()\"«°%$€/@0 9!?…"), min_size=1, max_size=6))
def test_any_word_is_split_as_spacy_splits_it(language: str, word: str) -> None:
    assert agrees(language, "".join(word.split()) or "x")


@pytest.mark.parametrize("language", LANGUAGES)
def test_special_cases_are_split_as_spacy_splits_them(language: str) -> None:
    special = tokenizer_of(language).rules
    words = [f"{case}{mark}" for case in special for mark in ("", ",", ".", ")", "'s")]

    assert [word for word in words if word.split() == [word] and not agrees(language, word)] == []


@pytest.mark.slow
def test_words_of_real_text_are_split_as_spacy_splits_them(shared: Path) -> None:
    words: set[str] = set()
    with gzip.open(shared / "data/demo/simplewiki_en_demo.jsonl.gz", "rt") as file:
        for line in file:
            words.update(json.loads(line)["text"].split())

    assert [word for word in sorted(words) if not agrees("en", word)] == []
