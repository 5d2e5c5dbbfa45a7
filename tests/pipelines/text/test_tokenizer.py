"""Sentences and tokens: rules by example, offsets for every text, spaCy as the witness."""

import time
from typing import Any

import pytest
import spacy
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.errors import UsageError
from pipelines.text.tokenizer import PretokenizedText, Tokenizer, make_tokenizer

ENGLISH = Tokenizer("en")
AWKWARD = [
    "",
    " \t\n \u2028 ",
    "a",
    "NUL\x00inside. And after.",
    "e\u0301tude na\u0308ive",
    "👩‍👩‍👧 family. 🇩🇪 flags!",
    "שלום עולם. مرحبا بالعالم؟ نعم",
    "two  blanks and\xa0a hard one",
    "中文没有空格。第二句！",
    "wait... what?! no",
]


def texts_of(text: str, tokenizer: Any = ENGLISH) -> list[str]:
    return [text[s.start : s.end] for s in tokenizer.tokenize(text)]


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("He left. She stayed.", ["He left.", "She stayed."]),
        ("Mr. Smith saw Dr. No. They spoke.", ["Mr. Smith saw Dr. No.", "They spoke."]),
        ("J. R. R. Tolkien wrote it. It sold.", ["J. R. R. Tolkien wrote it.", "It sold."]),
        ("It cost 3.14 dollars. Cheap.", ["It cost 3.14 dollars.", "Cheap."]),
        ("the U.S. President came. ok", ["the U.S. President came. ok"]),
        ("He moved to the U.S. He worked.", ["He moved to the U.S.", "He worked."]),
        ("Acme Inc. The firm grew.", ["Acme Inc.", "The firm grew."]),
        ("Acme Inc. Headquarters burned.", ["Acme Inc. Headquarters burned."]),
        ("See No. 5 and p. 12 now. Yes.", ["See No. 5 and p. 12 now.", "Yes."]),
        ('"Stop!" he said. "Why?" She ran.', ['"Stop!" he said.', '"Why?"', "She ran."]),
        ("(It ended.) Then more.", ["(It ended.)", "Then more."]),
        ("Well... maybe. Really... Yes.", ["Well... maybe.", "Really...", "Yes."]),
        ("1. First point. 2. Second.", ["1. First point.", "2. Second."]),
        ("In 1999. 12 men came.", ["In 1999.", "12 men came."]),
        ("one line\nanother line", ["one line", "another line"]),
        ("spaced out . Next one .", ["spaced out .", "Next one ."]),
        ("in lower case . the wing stalls .", ["in lower case .", "the wing stalls ."]),
        ("see fig . 2 for j . doe . then", ["see fig . 2 for j . doe .", "then"]),
        ("Is it? it is.", ["Is it? it is."]),
    ],
)
def test_sentence_boundaries(text: str, sentences: list[str]) -> None:
    assert texts_of(text) == sentences


@pytest.mark.parametrize("text", [text for text in AWKWARD if not text.startswith("中")])
def test_tokens_are_spacys(text: str) -> None:
    expected = [t.text for t in spacy.blank("en")(text) if not t.is_space]
    found = [token for sentence in ENGLISH.tokenize(text) for token in sentence.tokens]
    assert found == expected


# Marks that are not seen may stand between tokens as spaces do, and so may tags.
UNSEEN = dict.fromkeys(map(ord, "\u00ad\u200b\u200c\u200d\u2060\ufeff\u200e\u200f\u061c\u180e"
                           "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"))  # fmt: skip


def is_blank(text: str) -> bool:
    return not text.translate(UNSEEN).strip()


@settings(max_examples=150, deadline=None)
@given(st.text(st.characters(codec="utf-8", exclude_characters="<&"), max_size=200))
def test_offsets_are_exact_and_nothing_but_blanks_is_left_out(text: str) -> None:
    covered = 0
    for sentence in ENGLISH.sentences(text):
        assert sentence.start >= covered
        assert is_blank(text[covered : sentence.start])
        position = sentence.start
        for token, start, end in zip(
            sentence.tokens, sentence.token_starts, sentence.token_ends, strict=True
        ):
            assert text[start:end] == token != ""
            assert is_blank(text[position:start])
            position = end
        assert position == sentence.end
        covered = sentence.end
    assert is_blank(text[covered:])


@settings(max_examples=150, deadline=None)
@given(st.text(st.sampled_from("ab.!? \n-<>/p&;[1]’\u0301\u00ad\u200bÉ"), max_size=80))
def test_tokens_of_marked_up_text_are_in_order_and_exact(text: str) -> None:
    position = 0
    for sentence in ENGLISH.sentences(text):
        for token, start in zip(sentence.tokens, sentence.token_starts, strict=True):
            assert start >= position
            assert text[start : start + len(token)] == token
            position = start + len(token)
            assert sentence.start <= start < position <= sentence.end


def test_long_sentence_is_cut_at_a_token_and_marked() -> None:
    text = " ".join(f"w{i}" for i in range(25))
    sentences = Tokenizer("en", max_sentence_tokens=10).tokenize(text)
    assert [len(s.tokens) for s in sentences] == [10, 10, 5]
    assert [s.cut for s in sentences] == [True, True, False]
    assert [t for s in sentences for t in s.tokens] == text.split()


def test_ten_megabytes_without_a_blank_take_seconds() -> None:
    text = "ab-c.d" * 1_700_000
    start = time.monotonic()
    tokens = sum(len(s.tokens) for s in ENGLISH.sentences(text))
    assert tokens > 39_000
    assert time.monotonic() - start < 60  # spaCy alone would take hours


def test_very_long_line_keeps_its_tokens_whole() -> None:
    text = "word " * 50_000
    assert {t for s in ENGLISH.sentences(text) for t in s.tokens} == {"word"}
    assert sum(len(s.tokens) for s in ENGLISH.sentences(text)) == 50_000


def test_content_words_are_neither_stop_words_nor_punctuation() -> None:
    tokens = ["The", "bank", "'s", ",", "1999", "--", "not", "Ünal"]
    assert [t for t in tokens if ENGLISH.is_content(t)] == ["bank", "1999", "Ünal"]


def test_chinese_words_and_characters() -> None:
    text = "我们在河岸上散步。银行关门了！A1"
    words = [s.tokens for s in Tokenizer("zh").tokenize(text)]
    assert words[0][:2] == ["我们", "在"]
    assert words[0][-1] == "。"
    assert len(words) == 3
    characters = [s.tokens for s in Tokenizer("zh-char").tokenize(text)]
    assert characters[1] == list("银行关门了！")
    assert characters[2] == ["A1"]


def test_pretokenized_lines_are_sentences() -> None:
    sentences = PretokenizedText("en").tokenize("Mr . X\n\n can't  go .\n")
    assert [s.tokens for s in sentences] == [["Mr", ".", "X"], ["can't", "go", "."]]
    assert sentences[1].token_starts == [9, 16, 19]


def test_identity_makes_the_same_tokenizer_again() -> None:
    for tokenizer in (
        Tokenizer("de", 50),
        Tokenizer("en", line_breaks="lines"),
        Tokenizer("en", rules=1),
        PretokenizedText("en", 7),
        PretokenizedText("en", 7, rules=1),
        Tokenizer("zh"),
    ):
        again = make_tokenizer(tokenizer.identity)
        assert again.identity == tokenizer.identity


def test_other_version_is_refused() -> None:
    identity = {**ENGLISH.identity, "version": "1.0"}
    with pytest.raises(UsageError, match="install that version, or embed the documents"):
        make_tokenizer(identity)


def test_newer_rules_are_refused() -> None:
    with pytest.raises(UsageError, match=r"version 3 of the token rules.*versions 1 to 2"):
        make_tokenizer({**ENGLISH.identity, "rules": 3})


def test_version_1_reads_as_it_did() -> None:
    first = Tokenizer("en", rules=1)
    assert texts_of("a bank.[2] Then\nit", first) == ["a bank.[2] Then", "it"]
    assert first.identity == {
        "name": "spacy",
        "language": "en",
        "version": ENGLISH.identity["version"],
        "rules": 1,
        "max_sentence_tokens": 256,
    }
    assert first.form("O’Brien") == "O’Brien"


def test_unknown_language_is_refused() -> None:
    with pytest.raises(UsageError, match="no tokenizer for --language qq"):
        Tokenizer("qq")
    with pytest.raises(UsageError, match="max_sentence_tokens is 0, expected at least 1"):
        Tokenizer("en", 0)
