"""No mark of Unicode is glued to a word, whatever it is; letters and what belongs to words are."""

import unicodedata

import pytest

from pipelines.text.marks import mark_class
from pipelines.text.normal_forms import normal_form
from pipelines.text.tokenizer import Tokenizer

# Those that stand inside of words in some language: apostrophes, abbreviations, decimal points.
INSIDE = "'*._`@#&$\"¨¯´¸·‘’‚‛‟․…‧′‰⁄՚׳״٫٬।॥॰༌་‿⁀"
MARKS = [
    character
    for code in (*range(0x21, 0x1C80), *range(0x2010, 0x3100), *range(0x1F300, 0x1F650))
    if unicodedata.category(character := chr(code)) in
    ("Pc", "Pd", "Ps", "Pe", "Pi", "Pf", "Po", "Sm", "Sc", "So")
    and character not in INSIDE + "\u2adc"  # in normal form that is two characters
]  # fmt: skip


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer("en")


def forms(tokenizer: Tokenizer, text: str) -> list[str]:
    return [normal_form(token) for s in tokenizer.tokenize(text) for token in s.tokens]


@pytest.mark.parametrize("around", ["the bank{} was", "the {}bank was", "the bank{}loan was"])
def test_no_mark_hides_a_word(tokenizer: Tokenizer, around: str) -> None:
    assert len(MARKS) > 1500
    hidden = [mark for mark in MARKS if "bank" not in forms(tokenizer, around.format(mark))]
    assert hidden == []


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("R&D AT&T C++ A+ .NET and/or", ["R&D", "AT&T", "C++", "A+", ".NET", "and/or"]),
        ("col·lecció O’Brien o´clock", ["col·lecció", "O’Brien", "o´clock"]),
        ("H₂O CO₂ 2½ x@y.org", ["H₂O", "CO₂", "2½", "x@y.org"]),
        ("O\x92Brien \x9akoda", ["O\x92Brien", "\x9akoda"]),
        ("\x93bank\x94 bank\x00", ["\x93", "bank", "\x94", "bank\x00"]),
        ("Johnson&Johnson bank&loan", ["Johnson", "&", "Johnson", "bank", "&", "loan"]),
        ("/bank bank$ bank%", ["/", "bank", "bank", "$", "bank", "%"]),
        ("bank🙂 🙂bank bank★★★", ["bank", "🙂", "🙂", "bank", "bank", "★", "★", "★"]),
    ],
)
def test_what_belongs_to_a_word_stays(tokenizer: Tokenizer, text: str, tokens: list[str]) -> None:
    [sentence] = tokenizer.tokenize(text)
    assert sentence.tokens == tokens
    assert [text[s : s + len(t)] for s, t in zip(sentence.token_starts, tokens, strict=True)] == (
        tokens
    )


@pytest.mark.parametrize(
    "text", ["The bank.🙂 Then tea.", "The bank!🎉🎉 Then tea.", "The bank… ✓ Then tea.",
             "The bank.👩‍👩‍👧 Then tea.", "The bank?‡ Then tea."]
)  # fmt: skip
def test_pictures_hide_no_sentence_end(tokenizer: Tokenizer, text: str) -> None:
    assert [s.tokens[0] for s in tokenizer.tokenize(text)] in (["The", "Then"], ["The", "✓"])


@pytest.mark.parametrize(
    ("language", "text", "tokens"),
    [
        ("he", 'צה"ל בית־ספר ג׳ירף', ['צה"ל', "בית", "־", "ספר", "ג׳ירף"]),
        ("hi", "डॉ॰ राम", ["डॉ॰", "राम"]),
        ("am", "ባንክ፡ወንዝ", ["ባንክ", "፡", "ወንዝ"]),
        ("fa", "می‌خواهم ٣٫٥", ["می‌خواهم", "٣٫٥"]),
    ],
)
def test_marks_of_other_scripts(language: str, text: str, tokens: list[str]) -> None:
    [sentence] = Tokenizer(language).tokenize(text)
    assert sentence.tokens == tokens


def test_the_class_has_marks_alone() -> None:
    import re

    pattern = re.compile(f"[{mark_class()}]")
    assert not any(pattern.match(chr(code)) for code in range(0x10000) if chr(code).isalnum())
