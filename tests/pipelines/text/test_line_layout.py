"""What line breaks mean: hard-wrapped prose runs on, sentences and verses a line do not."""

import textwrap

import pytest

from pipelines.text.line_layout import runs_of
from pipelines.text.tokenizer import Tokenizer

PROSE = (
    "The ship lay at anchor in the bay while the captain wrote his letters home. He had not slept"
    " for three nights, and the light of the lamp hurt his eyes; still he went on writing, page"
    " after page, until the first grey of morning came over the bank of the river. Then he put"
    " down his pen and called the mate."
)
SENTENCES = 3
WRAPPED = textwrap.fill(PROSE, 66)


def texts_of(text: str, line_breaks: str = "auto") -> list[str]:
    found = Tokenizer("en", line_breaks=line_breaks).tokenize(text)
    return [" ".join(text[s.start : s.end].split()) for s in found]


@pytest.mark.parametrize("columns", [40, 60, 72, 80, 100])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_wrapped_prose_is_read_as_running_text(columns: int, end: str) -> None:
    wrapped = textwrap.fill(PROSE, columns, break_on_hyphens=False).replace("\n", end)
    assert texts_of(wrapped) == texts_of(PROSE)
    assert len(texts_of(wrapped)) == SENTENCES


def test_paragraphs_and_headings_of_wrapped_text_stay_apart() -> None:
    body = textwrap.fill(PROSE, 64)
    text = f"CHAPTER I\n\n{body}\n\n  The second begins with an indent\n{body}"
    found = texts_of(text)
    assert found[0] == "CHAPTER I"
    assert found[1 : 1 + SENTENCES] == texts_of(PROSE)
    assert len(found) == 2 + 2 * SENTENCES or len(found) == 1 + 2 * SENTENCES


@pytest.mark.parametrize(
    "lines",
    [
        ["The bank was steep.", "They sat there for a while and watched.", "Then it rained."],
        ["Shall I compare thee to a summer's day", "Thou art more lovely and more temperate",
         "Rough winds do shake the darling buds", "And summer's lease hath all too short a date"],
        ["apples from the market in town", "bread", "butter and some of the old cheese", "milk"],
        ["- one thing that is needed here today", "- another thing that is needed there too"],
        ["one line", "another line"],
        ["i carry your heart with me(i carry it in", "my heart)i am never without it(anywhere",
         "i go you go,my dear;and whatever is done", "by only me is your doing,my darling)"],
        ["the bank is green and the river is wide", "the boats go down with the evening tide",
         "the moon comes up on the other side", "and there is nobody here to confide"],
        ["name      qty   price", "bank      12    3.40", "river     7     1.10"],
        ["Q: where is the bank?", "A: on the river, next to the old mill", "Q: when?"],
        ["Anna Smith", "12 High Street", "London N1 5XX"],
        ["went fishing with my brother", "sat on the bank", "then lunch at the place by the lake"],
    ],
)  # fmt: skip
def test_a_line_a_sentence_stays_so(lines: list[str]) -> None:
    assert texts_of("\n".join(lines)) == [" ".join(line.split()) for line in lines]


def test_either_reading_can_be_forced() -> None:
    text = "a line of words\nand another\n\nnext paragraph"
    assert texts_of(text, "wrapped") == ["a line of words and another", "next paragraph"]
    wrapped = textwrap.fill(PROSE, 60)
    assert len(texts_of(wrapped, "lines")) > len(wrapped.splitlines())


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        # Headings on the line before, underlined or in capitals; paragraphs without empty lines.
        (f"Introduction\n=====\n{WRAPPED}\n\nMethods\n-------\n{WRAPPED}", 4 + 2 * SENTENCES),
        (f"INTRODUCTION\n{WRAPPED}\nMETHODS\n{WRAPPED}", 2 + 2 * SENTENCES),
        (f"{WRAPPED}\n{WRAPPED}\n{WRAPPED}", 3 * SENTENCES),
        (f"{WRAPPED}\n* * *\n{WRAPPED}", 1 + 2 * SENTENCES),
        # A letter and a mail, with their short lines.
        (f"Anna Smith\n12 High Street\nLondon\n\nDear Anna,\n\n{WRAPPED}\n\nYours,\nBen",
         6 + SENTENCES),
        (f"From: a@x.org\nTo: b@x.org\nSubject: Bank\n\n{WRAPPED}\n\n--\nA", 5 + SENTENCES),
        # A table, a verse, a list between paragraphs.
        (f"{WRAPPED}\n\nname      qty\nbank      12\n\n{WRAPPED}", 2 + 2 * SENTENCES),
        (f"{WRAPPED}\n\nname\tqty\nbank\t12\n\n{WRAPPED}", 2 + 2 * SENTENCES),
        (f"{WRAPPED}\n\n    Two roads,\n    And I took one\n\n{WRAPPED}", 2 + 2 * SENTENCES),
        (f"{WRAPPED}\n\n- bread\n- butter\n2) milk\n\n{WRAPPED}", 3 + 2 * SENTENCES),
        # A page's end inside of a paragraph, a separator between two.
        (WRAPPED.replace("\n", "\n\x0c", 1), SENTENCES),
        (f"{WRAPPED}\u2029{WRAPPED}", 2 * SENTENCES),
    ],
)  # fmt: skip
def test_what_is_between_wrapped_paragraphs_stays_apart(text: str, sentences: int) -> None:
    found = texts_of(text)
    assert len(found) == sentences
    assert set(texts_of(PROSE)) <= set(found)


@pytest.mark.parametrize(
    ("text", "forms"),
    [
        ("a well-\nknown bank", ["a", "well", "-", "known", "bank"]),
        ("a twenty-\none year", ["a", "twenty", "-", "one", "year"]),
        ("my mother-\nin-law", ["my", "mother", "-", "in", "-", "law"]),
        ("my mother-in-\nlaw", ["my", "mother", "-", "in", "-", "law"]),
        ("pre-\nand post-war", ["pre", "-", "and", "post", "-", "war"]),
        ("pre-\n1990 it", ["pre", "-", "1990", "it"]),
        ("an X-\nray of", ["an", "X", "-", "ray", "of"]),
        ("so self-\nish it", ["so", "selfish", "it"]),
        ("on Mon-\nday it", ["on", "Monday", "it"]),
        ("the semi-\ncolon is", ["the", "semicolon", "is"]),
        ("well\u00ad\nknown it", ["wellknown", "it"]),
        ("on Mon-\n<i>day</i> it", ["on", "Monday", "it"]),
    ],
)
def test_a_hyphen_at_a_line_end_is_told_from_that_of_a_word(text: str, forms: list[str]) -> None:
    [sentence] = Tokenizer("en").tokenize(text)
    assert [Tokenizer("en").form(token) for token in sentence.tokens] == forms
    ends = zip(sentence.token_starts, sentence.token_ends, strict=True)
    assert [text[start:end] for start, end in ends] == sentence.tokens


@pytest.mark.parametrize("hyphen", ["-", "\u2010", "\u00ad"])
def test_a_word_parted_at_a_line_end_is_one_token(hyphen: str) -> None:
    text = f"We met on Mon{hyphen}\nday at the bank."
    [sentence] = Tokenizer("en").tokenize(text)
    assert sentence.tokens[3] == f"Mon{hyphen}\nday"
    assert [Tokenizer("en").form(t) for t in sentence.tokens][3] == "Monday"
    assert [text[s:e] for s, e in zip(sentence.token_starts, sentence.token_ends, strict=True)] == (
        sentence.tokens
    )


def test_a_hyphen_that_the_document_has_elsewhere_stays() -> None:
    text = "A well-known bank. It is a well-\nknown bank."
    assert "wellknown" not in [Tokenizer("en").form(t) for s in Tokenizer("en").tokenize(text)
                               for t in s.tokens]  # fmt: skip


def test_runs_cover_all_that_is_no_blank() -> None:
    text = textwrap.fill(PROSE, 60) + "\n\nMon-\nday ends\n"
    for line_breaks in ("auto", "wrapped", "lines"):
        covered = "".join(text[run.start : run.end] for run in runs_of(text, line_breaks))
        assert "".join(covered.split()) == "".join(text.split())
