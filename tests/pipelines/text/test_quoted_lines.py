"""What lines begin with in mails and comments is no part of the text."""

import textwrap

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.text.quoted_lines import without_line_marks
from pipelines.text.tokenizer import Tokenizer

PROSE = (
    "The ship lay at anchor in the bay while the captain wrote his letters home. He had not slept"
    " for three nights, and the light of the lamp hurt his eyes; still he went on writing, page"
    " after page, until the first grey of Monday came over the bank of the river. Then he put down"
    " his pen and called the mate."
)
ENGLISH = Tokenizer("en")


def marked(mark: str, columns: int = 60) -> str:
    return "\n".join(mark + line for line in textwrap.wrap(PROSE, columns))


def words_of(text: str) -> list[list[str]]:
    found = ENGLISH.tokenize(text)
    for s in found:
        ends = zip(s.token_starts, s.token_ends, strict=True)
        assert [text[start:end] for start, end in ends] == s.tokens
    return [[ENGLISH.form(token) for token in s.tokens] for s in found]


@pytest.mark.parametrize(
    "mark", ["> ", ">> ", "> > ", " > ", "# ", "// ", " * ", "-- ", "% ", "; "]
)
@pytest.mark.parametrize("columns", [40, 72])
def test_marked_lines_are_read_as_their_text(mark: str, columns: int) -> None:
    assert words_of(marked(mark, columns)) == words_of(PROSE)


def test_a_word_that_is_parted_in_a_quote_is_one() -> None:
    text = "> It was closed on Mon-\n> day because of the flood.\n> Then it was open."
    assert words_of(text)[0][4] == "Monday"


def test_quotes_and_answers_stay_apart() -> None:
    text = f"On Monday Anna wrote:\n{marked('> ')}\n{textwrap.fill(PROSE, 62)}\n{marked('>> ')}"
    assert words_of(text) == [*words_of("On Monday Anna wrote:"), *(3 * words_of(PROSE))]


@pytest.mark.parametrize(
    "text",
    ["a > b\nc > d", ">seq1\nACGT", "# one\n# two\n# three", "- bread\n- milk\n- tea",
     "* one thing\n* another thing here\n* more", "| a | b |\n| c | d |\n| e | f |", "", ">", "#"],
)  # fmt: skip
def test_what_is_no_quote_keeps_its_marks(text: str) -> None:
    assert without_line_marks(text).split() == (text.split() if text != ">" else [])


@given(st.text(alphabet="> \n\r\u2029#*/ab-.", max_size=60))
def test_offsets_stay(text: str) -> None:
    bare = without_line_marks(text)
    assert len(bare) == len(text)
    assert all(a == b or b in " \u2029" for a, b in zip(text, bare, strict=True))
    words_of(text)
