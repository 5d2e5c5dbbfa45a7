"""Marks at the beginnings of lines that are no part of the text: quotes of mails, comments."""

import re
from io import StringIO
from itertools import islice

from pipelines.text.line_layout import all_lines, is_wrapped

_QUOTED = re.compile(r"^[ \t]*>(?:[> \t]|$)", re.MULTILINE)
_QUOTE = re.compile(r"[ \t]*(?:>[ \t]?)+(?=[\s>]|(?<=[ \t])|$)")
_COMMENT = re.compile(r"[ \t]*(//+|#+|\*|%+|;+|--|\|)(?=[ \t]|$)")
_SAMPLED_LINES = 200
_FEWEST_COMMENTS = 3


def without_line_marks(text: str) -> str:
    """Return a text of the same length with spaces for the marks that its lines begin with.

    These are `>` of quoted mail, and what each line of a wrapped comment begins with (`#`, `//`,
    `*`). Where quoted lines begin or end, the line break becomes a paragraph's end.
    """
    comments = _comment_mark(text)
    if comments is None and (">" not in text or _QUOTED.search(text) is None):
        return text
    pattern = _QUOTE if comments is None else _COMMENT
    out = StringIO()
    depth = position = 0
    for start, end in all_lines(text):
        match = pattern.match(text, start, end)
        marks = match.group() if match is not None else ""
        found = marks.count(">")
        if comments is None and found != depth and start:
            out.write(text[position : start - 1])
            out.write("\u2029")
        else:
            out.write(text[position:start])
        out.write(" " * len(marks))
        position, depth = start + len(marks), found
    out.write(text[position:])
    return out.getvalue()


def _comment_mark(text: str) -> str | None:
    """Return the mark that each line of a text begins with, if the lines are wrapped prose."""
    first = text.lstrip()[:1]
    if first not in "/#*%;-|" or not first:
        return None
    found: str | None = None
    contents: list[tuple[int, int]] = []
    for start, end in islice(all_lines(text), _SAMPLED_LINES):
        match = _COMMENT.match(text, start, end)
        if match is None:
            if text[start:end].strip():
                return None
            contents.append((end, end))
            continue
        if found not in (None, match[1]):
            return None
        found = match[1]
        contents.append((match.end(), end))
    return found if len(contents) >= _FEWEST_COMMENTS and is_wrapped(text, contents) else None
