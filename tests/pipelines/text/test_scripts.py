"""A text in a script without spaces, read as another language, is said."""

import pytest

from pipelines.text.scripts import wrong_language


@pytest.mark.parametrize(
    ("text", "language", "words"),
    [
        ("银行在河边。我们去银行。", "en", "Chinese .* --language zh or --language zh-char"),
        ("銀行は川のそばにあります。", "en", "Japanese .* --language ja"),
        ("ธนาคารอยู่ริมแม่น้ำ", "de", "Thai .* --language th"),
        ("ធនាគារនៅមាត់ទន្លេ", "en", "Khmer .* --pretokenized"),
    ],
)
def test_the_option_that_is_needed_is_named(text: str, language: str, words: str) -> None:
    import re

    said = wrong_language(text, language)
    assert said is not None
    assert re.search(words, said)


@pytest.mark.parametrize(
    ("text", "language"),
    [("The bank (银行) is here, by the river.", "en"), ("银行在河边", "zh"), ("銀行は川", "ja"),
     ("은행은 강 옆에 있다", "ko"), ("Банк у реки", "ru"), ("", "en")],
)  # fmt: skip
def test_nothing_is_said_where_words_are_found(text: str, language: str) -> None:
    assert wrong_language(text, language) is None
