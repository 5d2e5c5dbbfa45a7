"""Tags are no words; block tags end a sentence."""

import time

import pytest

from pipelines.text.markup import without_tags
from pipelines.text.tokenizer import Tokenizer


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("<b>bank</b>", [["bank"]]),
        ("<p>The bank.</p><p>A river</p>", [["The", "bank", "."], ["A", "river"]]),
        ("one<br>two<br/>three", [["one"], ["two"], ["three"]]),
        ("<li>one</li><li>two</li>", [["one"], ["two"]]),
        ("The <b>bank</b>. She came.", [["The", "bank", "."], ["She", "came", "."]]),
        ('the <a href="x y.html" class=z>bank</a> is', [["the", "bank", "is"]]),
        ("a <!-- not this --> bank", [["a", "bank"]]),
        ("x<script>var y = 1 < 2;</script>z", [["x"], ["z"]]),
        ("<doc id='1'>text</doc>", [["text"]]),
        ("<verse>old bank</verse>", [["old", "bank"]]),
        ("<p>The bank\nof the\nriver.</p>", [["The", "bank", "of", "the", "river", "."]]),
        ("a < b and c > d", [["a", "<", "b", "and", "c", ">", "d"]]),
        ("List<String> x", [["List", "<", "String", ">", "x"]]),
        ("I <3 you", [["I", "<3", "you"]]),
    ],
)
def test_tags_are_blanks(text: str, sentences: list[list[str]]) -> None:
    found = Tokenizer("en").tokenize(text)
    assert [s.tokens for s in found] == sentences
    for s in found:
        ends = zip(s.token_starts, s.token_ends, strict=True)
        assert [text[start:end] for start, end in ends] == s.tokens


@pytest.mark.parametrize(
    ("text", "forms"),
    [
        ("b<b>an</b>k", ["bank"]),
        ("<b>b</b>ank", ["bank"]),
        ("two bank</a>s", ["two", "banks"]),
        ("two <a href='x'>bank</a>s", ["two", "banks"]),
        ("ban<b><i>k</i></b>s", ["banks"]),
        ("<span>Home</span><span>Bank</span>", ["Home", "Bank"]),
        ("bank<sup>2</sup>", ["bank", "2"]),
        ("<td>bank</td>loan", ["bank", "loan"]),
    ],
)
def test_tags_of_letters_are_no_part_of_a_word_and_do_not_part_it(
    text: str, forms: list[str]
) -> None:
    tokenizer = Tokenizer("en")
    found = tokenizer.tokenize(text)
    assert [tokenizer.form(token) for s in found for token in s.tokens] == forms
    for s in found:
        ends = zip(s.token_starts, s.token_ends, strict=True)
        assert [text[start:end] for start, end in ends] == s.tokens


def test_places_stay() -> None:
    text = "<p>a</p> <i>b</i> < c"
    bare = without_tags(text)
    assert len(bare) == len(text)
    assert bare.split() == ["a", "b", "<", "c"]
    assert without_tags("a < b") == "a < b"


def test_a_megabyte_of_open_tags_takes_no_time() -> None:
    started = time.monotonic()
    for text in (
        "<a " * 300_000,
        "<" * 1_000_000,
        "<a b='" * 200_000,
        "<!--" * 200_000,
        "x<b>" * 200_000,
    ):
        without_tags(text + ">")
    assert time.monotonic() - started < 20


def seconds_of(text: str) -> float:
    started = time.process_time()
    without_tags(text)
    return time.process_time() - started


@pytest.mark.parametrize("repeated", ["<foo> ", "</foo> ", "<script> ", "<!-- ", "List<T{}> "])
def test_time_grows_with_the_text(repeated: str) -> None:
    short, long = ("".join(repeated.format(n) for n in range(k)) for k in (10_000, 80_000))
    # Eight times as long: sixty-four times as slow if each mark were searched for anew.
    assert seconds_of(long) < 30 * max(seconds_of(short), 0.01)
