"""Concordance lines: contexts, sorting, alignment, what a document cannot do to a terminal."""

import unicodedata
from types import SimpleNamespace
from typing import Any

import pytest

from pipelines.search.kwic import (
    KwicLine,
    Style,
    clip,
    cut_context,
    format_lines,
    format_sentences,
    one_line,
    sort_key,
    width,
)

TEXT = "They sat on the bank, by the river."
STARTS = [0, 5, 9, 12, 16, 20, 22, 25, 29, 34]


def hit(**fields: Any) -> SimpleNamespace:
    defaults = {"score": 0.5, "sense": None, "left": "", "node": "bank", "right": "", "doc_id": "d"}
    return SimpleNamespace(**{**defaults, **fields})


@pytest.mark.parametrize(
    ("left", "right", "expected"),
    [
        (None, None, ("They sat on the ", ", by the river.")),
        (2, 2, ("on the ", ", by")),
        (0, 0, ("", "")),
        (1, None, ("the ", ", by the river.")),
        (99, 99, ("They sat on the ", ", by the river.")),
        (4, 5, ("They sat on the ", ", by the river.")),
        (3, 4, ("sat on the ", ", by the river")),
    ],
)
def test_context_is_cut_in_whole_tokens(
    left: int | None, right: int | None, expected: tuple[str, str]
) -> None:
    assert cut_context(TEXT, 16, 20, STARTS, left, right) == KwicLine(
        expected[0], "bank", expected[1]
    )


def test_context_of_the_only_token_is_empty() -> None:
    assert cut_context("bank", 0, 4, [0], 3, 3) == KwicLine("", "bank", "")


@pytest.mark.parametrize(
    ("sort", "expected"),
    [
        ("1L", ["the", "on", "sat"]),
        ("2L", ["on", "sat"]),
        ("1R", ["by", "the"]),
        ("2R", ["the"]),
        ("3R", []),
    ],
)
def test_lines_are_sorted_from_the_node_outwards(sort: str, expected: list[str]) -> None:
    assert sort_key(["Sat", "on", "the"], ["by", "the"], sort) == expected


def test_nodes_stand_in_one_column() -> None:
    hits = [
        hit(left="a very long left context " * 5, right=" right", node="bank"),
        hit(left="short ", right=" a long right context" * 9, node="banks", doc_id="document-2"),
        hit(left="", right="", node="bank"),
    ]
    lines = format_lines(hits, Style(columns=80))
    assert len({line.index("bank") for line in lines}) == 1
    assert all(width(line) <= 80 for line in lines)
    assert lines[1].endswith("document-2")


def test_wide_characters_keep_the_column() -> None:
    hits = [hit(left="他去", right="取钱", node="银行"), hit(left="go to the ", node="bank")]
    lines = format_lines(hits, Style(columns=60))
    assert width(lines[0][: lines[0].index("银行")]) == width(lines[1][: lines[1].index("bank")])


def test_without_colour_no_escape_is_written() -> None:
    hits = [hit(sense=2, left="x ", right=" y")]
    assert "\x1b" not in format_lines(hits, Style())[0]
    coloured = format_lines(hits, Style(colour=True))[0]
    assert "\x1b[36m" in coloured
    assert "[2]" in format_lines(hits, Style())[0]


def test_a_document_cannot_command_the_terminal() -> None:
    evil = "a\x1b[2Jb\x07\u202ec\nd"
    lines = format_lines([hit(left=evil, right=evil, node=evil, doc_id=evil)], Style())
    lines += format_sentences([hit(node=evil, doc_id=evil)], Style())
    assert not any(c in line for line in lines for c in "\x1b\x07\u202e\n")


def test_one_line_keeps_words_apart() -> None:
    assert one_line("a\nb\tc\u2028d") == "a b c d"


@pytest.mark.parametrize(("keep", "expected"), [("left", "abcd…"), ("right", "…efgh")])
def test_clipping_says_so(keep: str, expected: str) -> None:
    assert clip("abcdefgh", 5, keep=keep) == expected
    assert clip("abc", 5, keep=keep) == "abc"


def test_no_hits_give_no_lines() -> None:
    assert format_lines([], Style()) == format_sentences([], Style()) == []


@pytest.mark.parametrize(
    "text",
    [
        "हिन्दी में बैंक नदी के किनारे है",
        "ธนาคารอยู่ริมแม่น้ำ",
        unicodedata.normalize("NFD", "한국어 은행"),
        "👩‍👩‍👧 and 🇩🇪 and ❤️",
        "می‌خواهم به بانک بروم",
        "plain text of some length",
    ],
)
def test_lines_of_any_script_are_as_wide_as_the_column(text: str) -> None:
    for columns in (4, 9, 17):
        for keep in ("left", "right"):
            shown = clip(one_line(text), columns, keep=keep)
            assert min(columns - 2, width(text)) <= width(shown) <= columns


def test_only_what_commands_a_terminal_is_replaced() -> None:
    spelling = "می‌خواهم 👩‍👩‍👧 soft­hyphen \u200eLRM"
    assert one_line(spelling) == spelling
    assert one_line("\x1b[2J\x07\x9b31m\u202etxt") == "�[2J��31m�txt"
