"""Detect what the line breaks of a document mean: sentence ends, or the width of a page.

In a hard-wrapped document a line is as full as it can be: the first word of the next line would
not have fitted. In one with a sentence, a verse or an item a line that is so only by chance.
"""

import re
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

AUTO, WRAPPED, LINES = "auto", "wrapped", "lines"
LINE_BREAK_CHOICES = (AUTO, WRAPPED, LINES)
_LINE_BREAK = re.compile("\r\n|[\n\r\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029]")
_NARROWEST, _WIDEST = 30, 140  # columns of a page
_SAMPLED_LINES = 2000
_FULL_LINES = 0.7  # of the lines that are not the last of a paragraph
_FINAL = frozenset(".!?…:;\"'”’»)]。！？؟۔।")
_ITEM = re.compile(r"\s*(?:[-*+•‣◦▪–—]\s|\(?\d{1,3}[.)]\s|\(?[a-zA-Z][.)]\s|#{1,6}\s|>|\||```)")
_HYPHENS = "-\u2010\u00ad"
_HYPHEN_ENDS = tuple(
    hyphen + end for hyphen in _HYPHENS for end in ("\n", "\r", " \n", " \r", "\u2028")
)
_HYPHENATED = re.compile(r"\w+(?:-\w+)+")
_LETTERS_BEFORE = re.compile(r"[^\W\d_]{2,}$")
_LETTERS_AFTER = re.compile(r"[^\W\d_]{2,}")


class Run(NamedTuple):
    """A stretch of running text.

    Attributes:
      start, end: in the text.
      joined: it goes on with what was before it.
      word: it is one word, parted at a line end.
    """

    start: int
    end: int
    joined: bool = False
    word: bool = False


def runs_of(text: str, line_breaks: str) -> list[Run]:
    """Cut a text at its line breaks.

    Args:
      text: of a document.
      line_breaks: auto to decide by the document; wrapped: only blank lines, items and indents
        begin anew; lines: each line does.
    """
    lines = _lines(text)
    if len(lines) < 2 or line_breaks == LINES:
        return [Run(start, end) for start, end in lines if end > start]
    wrapped = line_breaks == WRAPPED or is_wrapped(text, lines)
    if not wrapped and not any(end in text for end in _HYPHEN_ENDS):
        return [Run(start, end) for start, end in lines if end > start]
    return _joined_runs(text, lines, wrapped, forced=line_breaks == WRAPPED)


def is_wrapped(text: str, lines: Sequence[tuple[int, int]]) -> bool:
    """Say whether a document is hard-wrapped.

    Args:
      text: of the document.
      lines: [start, end) of its lines, empty ones included.
    """
    sample = [text[start:end].rstrip() for start, end in lines[:_SAMPLED_LINES]]
    widths = sorted(len(line) for line in sample if line)
    if len(widths) < 2:
        return False
    # The widest line tells the page; one in fifty may be an address that could not be broken.
    page = widths[-1 - len(widths) // 50]
    if not _NARROWEST <= page <= _WIDEST:
        return False
    pairs = full = going_on = ending = 0
    for line, following in pairwise(sample):
        if not line or not following or _ITEM.match(following):
            continue
        pairs += 1
        fills = _is_full(line, following, page)
        full += fills
        if line[-1] in _FINAL:
            ending += 1
        elif fills and not following.lstrip()[:1].isupper():
            going_on += 1
    # Sentences that happen to be as long as each other end in full stops; verses and titles begin
    # in capitals.
    inner = pairs - ending
    return bool(
        pairs and full >= _FULL_LINES * pairs and inner >= pairs / 3 and going_on >= inner / 3 > 0
    )


def _is_full(line: str, following: str, page: int) -> bool:
    first = following.split(maxsplit=1)[0]
    # A hyphenated word fills its line whatever the rest of it is like.
    return len(line) + 1 + len(first) > page or (line[-1] in _HYPHENS and len(line) > page // 2)


def _lines(text: str) -> list[tuple[int, int]]:
    found = []
    start = 0
    for match in _LINE_BREAK.finditer(text):
        found.append((start, match.start()))
        start = match.end()
    found.append((start, len(text)))
    return found


def _joined_runs(
    text: str, lines: Sequence[tuple[int, int]], wrapped: bool, *, forced: bool
) -> list[Run]:
    """Join the lines of paragraphs, and the words that a hyphen parts at a line end."""
    widths = sorted(end - start for start, end in lines if end > start)
    page = widths[-1 - len(widths) // 50] if widths else 0
    hyphenated = {word.lower() for word in _HYPHENATED.findall(text)}
    found: list[Run] = []
    before = ""
    for start, end in lines:
        line = text[start:end]
        if not line.strip():
            before = ""
            continue
        parted = _parted_word(text, before, found, start, end, hyphenated)
        if parted is not None:
            last = found[-1]
            found[-1] = last._replace(end=parted.start)
            if found[-1].start >= found[-1].end:
                found.pop()
                parted = parted._replace(joined=last.joined)
            found.append(parted)
            found.append(Run(parted.end, end, joined=True))
        else:
            joined = _ends_in_hyphen(before, line) or (
                wrapped and bool(before) and _goes_on(before, line, page, forced)
            )
            found.append(Run(start, end, joined))
        before = line.rstrip()
    return [run for run in found if run.end > run.start]


def _goes_on(before: str, line: str, page: int, forced: bool) -> bool:
    """Say whether a line of a wrapped document goes on with the one before it."""
    if _ITEM.match(line):
        return False
    indent, last_indent = _indent(line), _indent(before)
    if indent > last_indent and not _ITEM.match(before):
        return False
    if forced or _is_full(before, line, page):
        return True
    return before[-1] not in _FINAL and line.lstrip()[:1].islower()


def _ends_in_hyphen(before: str, line: str) -> bool:
    """Say whether a line ends in a word's hyphen, and the next one goes on in small letters."""
    return before[-2:-1].isalpha() and before[-1] in _HYPHENS and line.lstrip()[:1].islower()


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())


def _parted_word(
    text: str, before: str, found: list[Run], start: int, end: int, hyphenated: set[str]
) -> Run | None:
    """Return the word that a hyphen at the end of the line before parts, if it does."""
    if not before or not found or before[-1] not in _HYPHENS:
        return None
    left = _LETTERS_BEFORE.search(before[:-1])
    indented = end - len(text[start:end].lstrip())
    right = _LETTERS_AFTER.match(text, indented, end)
    if left is None or right is None or not right.group()[0].islower():
        return None
    # "well-" and "known" stay two words where the document has "well-known" elsewhere.
    if f"{left.group()}-{right.group()}".lower() in hyphenated:
        return None
    place = text.rfind(before.split()[-1], found[-1].start, start)
    if place < 0:
        return None
    last = right.end()
    while last < end and not text[last].isspace():
        last += 1
    return Run(place, last, joined=True, word=True)
