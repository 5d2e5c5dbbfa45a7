"""Marks are never glued to a word, and never hide or make the end of a sentence."""

from typing import Any

import pytest
import spacy

from pipelines.text.normal_forms import normal_form
from pipelines.text.pieces import StretchReader
from pipelines.text.sentence_splitter import SentenceRules
from pipelines.text.tokenizer import Tokenizer

ENGLISH = Tokenizer("en")


def tokens_of(text: str, tokenizer: Any = ENGLISH) -> list[list[str]]:
    found = tokenizer.tokenize(text)
    for s in found:
        ends = zip(s.token_starts, s.token_ends, strict=True)
        assert [text[start:end] for start, end in ends] == s.tokens
    return [s.tokens for s in found]


@pytest.mark.parametrize(
    "text",
    [
        "bank[1]", "bank[12]", "bank[a]", "[bank](http://x.org)", "|bank|", "~~bank~~", "**bank**",
        "_bank_", "`bank`", "bank&nbsp;river", "bank&#160;river", "bank;river", "bank•loan",
        "bank!She", "bank!she", "bank?river", "bank(s", "bank(s)", "‹bank›", "«bank»", "bank†",
        "bank‡", "bank‐loan", "bank‑loan", "bank―loan", "bank—loan", "bank\u200briver",
        "bank\u00ad", "bank\u200c", "\ufeffbank", "bank²", "{bank}", "<bank>", "river/bank",
        "river=bank", "bank-", "-bank", "#bank", "bank…", "bank►loan", "→bank", "bank&mdash;loan",
        "bank\u2060", "“bank”", "„bank“", "bank[^1]", "bank[nb 2]", "bank[citation needed]",
        "==bank==",
        "^bank^", "bank·loan", "bank%loan", "bank−loan", "bank，loan", "＂bank＂", "bank։",
        "bank\u2063x",
        "bank\ufe0f", "（bank）", "【bank】", "bank&#x2060;",
    ],
)  # fmt: skip
def test_marks_are_not_glued_to_a_word(text: str) -> None:
    words = [token for sentence in tokens_of(text) for token in sentence]
    assert "bank" in words


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("The bank.[2] Then it", ["The bank.[2]", "Then it"]),
        ("The bank.[1][2] Then it", ["The bank.[1][2]", "Then it"]),
        ("The bank. [2] Then it", ["The bank. [2]", "Then it"]),
        ("The bank.² Then it", ["The bank.²", "Then it"]),
        ("The bank.† Then it", ["The bank.†", "Then it"]),
        ("The bank.”[3] Then it", ["The bank.”[3]", "Then it"]),
        ("The bank[1]. Then it", ["The bank[1].", "Then it"]),
        ("The bank[1] is. Then", ["The bank[1] is.", "Then"]),
        ("The bank [1] is", ["The bank [1] is"]),
        ("He left.[2]She came", ["He left.[2]", "She came"]),
        ("The bank!She came", ["The bank!", "She came"]),
        ("The river.Then she", ["The river.", "Then she"]),
        ("The bank.&nbsp;She came", ["The bank.", "She came"]),
        ("He left.[^1] Then she", ["He left.[^1]", "Then she"]),
        ("He left.[note 4] Then she", ["He left.[note 4]", "Then she"]),
        ("He left.[citation needed] Then she", ["He left.[citation needed]", "Then she"]),
        ("He left.[3]:12 Then she", ["He left.[3]:12", "Then she"]),
        ("He left.[1]–[3] Then she", ["He left.[1]–[3]", "Then she"]),
        ("The bank. – Then she", ["The bank.", "– Then she"]),
        ("The bank. * Then she", ["The bank.", "* Then she"]),
        ("“Go!” – she went", ["“Go!” – she went"]),
        ("Inc.[4] Headquarters moved", ["Inc.[4] Headquarters moved"]),
    ],
)
def test_marks_neither_hide_nor_make_an_end(text: str, sentences: list[str]) -> None:
    assert [text[s.start : s.end] for s in ENGLISH.tokenize(text)] == sentences


WORDS = """
bank bank, bank. bank: (bank) bank's don't cannot U.S. e.g. 5km 5km. $5 10% snow-white l'été z.B. 3.
dell'arte d'Artagnan Hauptstr. 3.5 1,000 x=y C++ A.B. a.m. rock'n'roll bank... gonna банк банк. т.д.
τράπεζα bank; בנק बैंक। bank? bank! «bank» 'bank' bank-, e-mail, 12:30. £5m 1848. III. 33° qu'il, ca.
aujourd'hui, 20°C. Jr., (U.S.), Ph.D., I'm, we'll. isn't, o'clock. dr. kg. 5kg, Co.,
"""
LANGUAGES = "en de fr es it pt nl ru uk pl cs sv da nb fi hu tr el ro ca he hi ar fa"


@pytest.mark.parametrize("language", LANGUAGES.split())
def test_tokens_are_those_of_spacy(language: str) -> None:
    nlp = spacy.blank(language)
    reader = StretchReader(nlp, SentenceRules(language, frozenset(nlp.Defaults.stop_words)))
    for word in WORDS.split():
        # What has no note, separator or sentence end inside is left to spaCy's patterns.
        pieces = reader.read(word)
        if len(pieces) == 1 and normal_form(word) == word and word.strip(".,'").isalnum():
            assert list(pieces[0].tokens) == [token.text for token in nlp(word)]
            assert list(pieces[0].offsets) == [token.idx for token in nlp(word)]


@pytest.mark.parametrize(
    "text",
    ["http://x.org/~a;b(c)?d=1", "www.x.org/a|b", "x@y.org", ":-)", ";-)", "<3", "e.g.", "U.S.",
     "3.14", "don't", "AT&T", "snake_case", "C++", "km/h", "$5", "50%", "10:30"],
)  # fmt: skip
def test_addresses_smileys_and_short_forms_are_spacys(text: str) -> None:
    expected = [token.text for token in spacy.blank("en")(text)]
    assert [token for sentence in tokens_of(text) for token in sentence] == expected
