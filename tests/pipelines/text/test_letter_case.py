"""Documents without capitals."""

import pytest

from pipelines.text.letter_case import is_uncased
from pipelines.text.tokenizer import Tokenizer


@pytest.mark.parametrize(
    ("text", "uncased"),
    [
        ("went fishing today. sat on the bank all morning. then lunch.", True),
        ("so I went home. then I slept. it was late.", True),
        ("went to Paris. then home.", True),
        ("Is it? it is.", False),
        ("the U.S. President came. ok", False),
        ("He left. She stayed.", False),
        ("see fig. 1 here", False),
        ("", False),
        ("银行。河岸。", False),
        ("HE LEFT. SHE STAYED.", False),
    ],
)
def test_a_document_without_capitals_is_known(text: str, uncased: bool) -> None:
    assert is_uncased(text) is uncased


def test_its_sentences_end_before_small_letters() -> None:
    text = "went to the u.s. and back. was that it? no... it was not. see e.g. the bank. he left."
    found = [text[s.start : s.end] for s in Tokenizer("en").tokenize(text)]
    assert found == [
        "went to the u.s. and back.",
        "was that it?",
        "no... it was not.",
        "see e.g. the bank.",
        "he left.",
    ]
