"""Detect what the line breaks of a document mean: sentence ends, or the width of a page.

In a hard-wrapped document a line is as full as it can be: the first word of the next line would
not have fitted. In one with a sentence, a verse or an item a line that is so only by chance.
"""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import islice, pairwise
from typing import NamedTuple

from pipelines.text.abbreviations import words_of

AUTO, WRAPPED, LINES = "auto", "wrapped", "lines"
LINE_BREAK_CHOICES = (AUTO, WRAPPED, LINES)
# A page's end, as programs that read PDF write it, is inside of a paragraph.
_LINE_BREAK = re.compile("\r\n|\n\x0c|[\n\r\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029]")
# Of files, groups, records, paragraphs: what follows them is something new.
_SEPARATORS = frozenset("\x1c\x1d\x1e\u2029")
_NARROWEST, _WIDEST = 30, 140  # columns of a page
_VERSE = 60  # columns; lines of a poem are that long, and may be as long as each other
_SAMPLED_LINES = 2000
_FULL_LINES = 0.7  # of the lines that are not the last of a paragraph
_SHORT_LINE = 0.6  # of a page; such a line before a capital is a heading, a name, an address
_FINAL = frozenset(".!?…:;\"'”’»)]。！？؟۔।")
_ITEM = re.compile(r"\s*(?:[-*+•‣◦▪–—]\s|\(?\d{1,3}[.)]\s|\(?[a-zA-Z][.)]\s|#{1,6}\s|>|\||```)")
_ROW = re.compile(r"\S(?:\t| {3})[ \t]*\S")  # of a table, its columns under each other
_END_IN_LINE = re.compile(r"[.!?…][\"'”’)]*\s+[\"'“‘(]*[^\W_]")
_HYPHENS = "-\u2010\u00ad"
_HYPHEN_ENDS = tuple(
    hyphen + end for hyphen in _HYPHENS for end in ("\n", "\r", " \n", " \r", "\u2028")
)
# From the beginning of a word only: a long one without a hyphen is passed over once.
_HYPHENATED = re.compile(r"(?<!\w)\w++(?:-\w++)+")
_MAX_HYPHENATED = 1 << 20  # bounds memory; a text has far fewer
_LONGEST_WORD = 200
_LETTERS_BEFORE = re.compile(r"[^\W\d_]{2,}$")
_LETTERS_AFTER = re.compile(r"[^\W\d_]{2,}")
# Words that keep their hyphen at a line end, unless an ending follows: well-known, selfish.
_FIRST_PARTS = words_of(
    "well self non half ill high low long short cross middle vice twenty thirty forty fifty sixty"
    " seventy eighty ninety first second third two three four five seven eight nine demi peut celui"
    " celle ceux après avant"
)
_ENDINGS = words_of(
    "ish less ness ship hood er ers est ing ings ly ed en en way ways land lands light lights th"
)
# What follows a hyphen that stays: pre- and post-war, dit-elle.
_SECOND_PARTS = words_of(
    "and or und oder bzw et ou og och eller of и или та elle elles il ils nous vous là même mêmes"
)


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


def runs_of(text: str, line_breaks: str) -> Iterator[Run]:
    """Cut a text at its line breaks.

    Args:
      text: of a document.
      line_breaks: auto to decide by the document; wrapped: only empty lines, items and indents
        begin anew; lines: each line does.
    """
    sample = list(islice(all_lines(text), _SAMPLED_LINES))
    alone = len(sample) < 2 or line_breaks == LINES
    wrapped = not alone and (line_breaks == WRAPPED or is_wrapped(text, sample))
    if alone or not (wrapped or any(end in text for end in _HYPHEN_ENDS)):
        runs: Iterator[Run] = (Run(start, end) for start, end in all_lines(text))
    else:
        runs = _joined_runs(text, wrapped, forced=line_breaks == WRAPPED)
    return (run for run in runs if run.end > run.start)


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
    if page < _VERSE and not _is_prose(sample):
        return False
    pairs = full = going_on = ending = ends = 0
    for line, following in pairwise(sample):
        if not _may_be_one(line, following):
            continue
        fills = _is_full(line, following, page)
        capital = following.lstrip()[:1].isupper()
        if capital and not fills and len(line) < _SHORT_LINE * page and line[-1] not in _FINAL:
            continue  # a heading
        pairs += 1
        full += fills
        if line[-1] in _FINAL:
            ending += 1
            ends += not fills  # of paragraphs, without an empty line between them
        elif fills and not capital:
            going_on += 1
    # Sentences that happen to be as long as each other end in full stops; verses and titles begin
    # in capitals.
    inner = pairs - ending
    filled = full >= _FULL_LINES * (pairs - ends)
    return filled and inner >= pairs / 3 and going_on >= inner / 3 > 0


def _may_be_one(line: str, following: str) -> bool:
    """Say whether two lines may be one sentence: both have words, neither is an item or a row."""
    if not line or not following or _ITEM.match(following):
        return False
    if _ROW.search(line) or _ROW.search(following):
        return False
    return _has_words(line) and _has_words(following)


def _has_words(line: str) -> bool:
    return any(map(str.isalnum, line))


def _is_prose(lines: Sequence[str]) -> bool:
    """Say whether short lines have a sentence end inside, or are one sentence from end to end."""
    if any(map(_END_IN_LINE.search, lines)):
        return True
    words = [line for line in lines if line]
    return words[0].lstrip()[:1].isupper() and words[-1][-1] in ".!?"


def _is_full(line: str, following: str, page: int) -> bool:
    first = following.split(maxsplit=1)[0]
    # A hyphenated word fills its line whatever the rest of it is like.
    return len(line) + 1 + len(first) > page or (line[-1] in _HYPHENS and len(line) > page // 2)


def all_lines(text: str) -> Iterator[tuple[int, int]]:
    """Yield [start, end) of the lines of a text, empty ones included."""
    start = 0
    for match in _LINE_BREAK.finditer(text):
        yield start, match.start()
        start = match.end()
    yield start, len(text)


def _page_width(text: str) -> int:
    """Return the width of the widest lines, one in fifty left out."""
    widths = Counter(end - start for start, end in all_lines(text) if end > start)
    left = widths.total() // 50
    for width in sorted(widths, reverse=True):
        left -= widths[width]
        if left < 0:
            return width
    return 0


def _joined_runs(text: str, wrapped: bool, *, forced: bool) -> Iterator[Run]:
    """Join the lines of paragraphs, and the words that a hyphen parts at a line end."""
    page = _page_width(text)
    found = (match.group().lower() for match in _HYPHENATED.finditer(text))
    hyphenated = set(islice(found, _MAX_HYPHENATED))
    last: Run | None = None  # the next line may still take a part of it
    before = ""
    for start, end in all_lines(text):
        line = text[start:end]
        if not line.strip():
            before = ""
            continue
        if start and text[start - 1] in _SEPARATORS:
            before = ""
        if wrapped and not _has_words(line):  # the line under a heading, three stars
            before = ""
        parted = _parted_word(text, before, last, start, end, hyphenated)
        if parted is not None:
            assert last is not None
            if last.start < parted.start:
                yield last._replace(end=parted.start)
            else:
                parted = parted._replace(joined=last.joined)
            yield parted
            last = Run(parted.end, end, joined=True)
        else:
            if last is not None:
                yield last
            joined = _ends_in_hyphen(before, line) or (
                wrapped and bool(before) and _goes_on(before, line, page, forced)
            )
            last = Run(start, end, joined)
        before = line.rstrip() if _has_words(line) else ""
    if last is not None:
        yield last


def _goes_on(before: str, line: str, page: int, forced: bool) -> bool:
    """Say whether a line of a wrapped document goes on with the one before it."""
    if not _may_be_one(before, line):
        return False
    indent, last_indent = _indent(line), _indent(before)
    if indent > last_indent and not _ITEM.match(before):
        return False
    if forced or _is_full(before, line, page):
        return True
    return before[-1] not in _FINAL and line.lstrip()[:1].islower()


def _ends_in_hyphen(before: str, line: str) -> bool:
    """Say whether a line ends in a word's hyphen, and the next one begins with a word."""
    return before[-2:-1].isalnum() and before[-1] in _HYPHENS and line.lstrip()[:1].isalnum()


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())


def _parted_word(
    text: str, before: str, last: Run | None, start: int, end: int, hyphenated: set[str]
) -> Run | None:
    """Return the word that a hyphen at the end of the line before parts, if it does."""
    if not before or last is None or before[-1] not in _HYPHENS:
        return None
    left = _LETTERS_BEFORE.search(before[-_LONGEST_WORD:-1])
    indented = end - len(text[start:end].lstrip())
    right = _LETTERS_AFTER.match(text, indented, end)
    if left is None or right is None or not right.group()[0].islower():
        return None
    # "well-" and "known" stay two words where the document has "well-known" elsewhere.
    if f"{left.group()}-{right.group()}".lower() in hyphenated:
        return None
    if before[-1] != "\u00ad" and _keeps_hyphen(left, right):
        return None
    place = text.rfind(before.rsplit(maxsplit=1)[-1], last.start, start)
    if place < 0:
        return None
    word_end = right.end()
    while word_end < end and not text[word_end].isspace():
        word_end += 1
    return Run(place, word_end, joined=True, word=True)


def _keeps_hyphen(left: re.Match[str], right: re.Match[str]) -> bool:
    """Say whether the hyphen between two parts of a word is its own, not that of the line end."""
    first, second = left.group().lower(), right.group()
    around = left.string[left.start() - 1 : left.start()]
    around += right.string[right.end() : right.end() + 1]
    if set(_HYPHENS[:2]).intersection(around):  # mother-in- / law, mother- / in-law
        return True
    return second in _SECOND_PARTS or (first in _FIRST_PARTS and second not in _ENDINGS)
