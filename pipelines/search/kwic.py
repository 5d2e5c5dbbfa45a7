"""Key word in context: cutting contexts, sorting and printing concordance lines."""

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from wcwidth import iter_graphemes, wcswidth

# Colours that are told apart on dark and light grounds; a sense keeps its own.
_SENSE_COLOURS = (33, 36, 35, 32, 34, 31)
# Embeddings, overrides and isolates of the bidirectional algorithm.
_TURNING = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
_BOLD, _DIM, _RESET = "\x1b[1m", "\x1b[2m", "\x1b[0m"


class KwicLine(NamedTuple):
    """A sentence cut at its node; left + node + right is a stretch of the sentence."""

    left: str
    node: str
    right: str


def cut_context(
    text: str,
    start: int,
    end: int,
    token_starts: Sequence[int],
    left: int | None,
    right: int | None,
) -> KwicLine:
    """Cut a sentence into what stands left of the node, the node, and what stands right.

    Args:
      text: the sentence.
      start, end: code points of the node in `text`.
      token_starts: code points of all tokens in `text`, ascending.
      left, right: tokens of context; None for all.

    >>> cut_context("a b bank c d", 4, 8, [0, 2, 4, 9, 11], 1, 1)
    Context(left='b ', node='bank', right=' c')
    """
    before = [place for place in token_starts if place < start]
    after = [place for place in token_starts if place >= end]
    first, last = 0, len(text)
    if left is not None:
        first = ([*before, start])[max(0, len(before) - left)]
    if right is not None and right < len(after):
        last = after[right] if right else end
    stop = len(text[:last].rstrip()) if last < len(text) else last
    return KwicLine(text[first:start], text[start:end], text[end : max(stop, end)])


def sort_key(left_tokens: Sequence[str], right_tokens: Sequence[str], sort: str) -> list[str]:
    """Return what a line is sorted by: its n-th word left or right, then the ones beyond.

    `1L` looks at the words to the left from the node outwards, `2R` from the second to the right.
    """
    place, side = int(sort[:-1]) - 1, sort[-1]
    words = list(reversed(left_tokens)) if side == "L" else list(right_tokens)
    return [word.casefold() for word in words[place:]]


def width(text: str) -> int:
    """Columns a text takes on a terminal."""
    return max(0, wcswidth(text))


def clip(text: str, columns: int, *, keep: str) -> str:
    """Cut a text to some columns, keeping its `left` or its `right` end; an ellipsis says so."""
    if width(text) <= columns:
        return text
    if columns < 1:
        return ""
    # Whole graphemes: half of a syllable or an emoji would be another one.
    graphemes = list(iter_graphemes(text))
    kept: list[str] = []
    used = 1
    for character in reversed(graphemes) if keep == "right" else graphemes:
        used += width(character)
        if used > columns:
            break
        kept.append(character)
    return "…" + "".join(reversed(kept)) if keep == "right" else "".join(kept) + "…"


def one_line(text: str) -> str:
    """Put a text on one line: spaces of any kind become one space, controls a visible mark."""
    spaced = "".join(" " if c.isspace() else c for c in text)
    return "".join("\N{REPLACEMENT CHARACTER}" if _is_control(c) else c for c in spaced)


def _is_control(character: str) -> bool:
    # A document must not be able to send commands to the reader's terminal, nor turn the rest of
    # a line around; joiners, soft hyphens and the like are spelling.
    return unicodedata.category(character) in ("Cc", "Cs") or character in _TURNING


@dataclass(frozen=True, kw_only=True)
class Style:
    """How lines are laid out.

    Attributes:
      columns: of the terminal.
      colour: whether escape sequences may be written.
    """

    columns: int = 100
    colour: bool = False

    def paint(self, text: str, code: str) -> str:
        """Wrap a text in an escape sequence, or leave it."""
        return f"{code}{text}{_RESET}" if self.colour and text else text

    def sense(self, text: str, number: int | None) -> str:
        """Paint in the colour of a sense."""
        if number is None:
            return text
        return self.paint(text, f"\x1b[{_SENSE_COLOURS[(number - 1) % len(_SENSE_COLOURS)]}m")


def format_lines(hits: Sequence[Any], style: Style) -> list[str]:
    """Lay hits out with their nodes in one column: score, sense, left, node, right, document.

    Args:
      hits: with score, sense, left, node, right, doc_id.
      style: of the terminal.
    """
    if not hits:
        return []
    numbered = any(hit.sense is not None for hit in hits)
    node_width = min(max(width(one_line(hit.node)) for hit in hits), style.columns // 3)
    doc_width = min(max(width(_source(hit)) for hit in hits), style.columns // 5)
    rest = style.columns - node_width - doc_width - 7 - (4 if numbered else 0) - 3
    left_width = max(8, rest // 2)
    right_width = max(8, rest - left_width)
    return [
        _line(hit, style, (left_width, node_width, right_width, doc_width), numbered)
        for hit in hits
    ]


def _line(hit: Any, style: Style, widths: tuple[int, int, int, int], numbered: bool) -> str:
    left = clip(one_line(hit.left).lstrip(), widths[0], keep="right")
    node = clip(one_line(hit.node), widths[1], keep="left")
    room = widths[2] + widths[1] - width(node)
    right = clip(one_line(hit.right).rstrip(), room, keep="left")
    number = f"[{hit.sense}] " if hit.sense is not None else "    "
    return "".join(
        (
            style.paint(f"{hit.score:6.3f} ", _DIM),
            style.sense(number, hit.sense) if numbered else "",
            " " * (widths[0] - width(left)) + left,
            style.paint(node, _BOLD) if hit.sense is None else _node(style, node, hit.sense),
            right + " " * (room - width(right)),
            "  " + style.paint(clip(_source(hit), widths[3], keep="left"), _DIM),
        )
    ).rstrip()


def _source(hit: Any) -> str:
    """Return the document of a line, after the count of identical lines where there are several."""
    copies = getattr(hit, "copies", 1)
    return f"{copies}x {one_line(hit.doc_id)}" if copies > 1 else one_line(hit.doc_id)


def _node(style: Style, node: str, sense: int) -> str:
    return style.paint(style.sense(node, sense), _BOLD) if style.colour else node


def format_sentences(hits: Sequence[Any], style: Style) -> list[str]:
    """Lay out hits that are whole sentences: score, sentence, document."""
    if not hits:
        return []
    doc_width = min(max(width(_source(hit)) for hit in hits), style.columns // 5)
    room = max(20, style.columns - doc_width - 9)
    lines = []
    for hit in hits:
        text = clip(one_line(hit.node), room, keep="left")
        line = style.paint(f"{hit.score:6.3f} ", _DIM) + text + " " * (room - width(text))
        doc_id = clip(_source(hit), doc_width, keep="left")
        lines.append((line + "  " + style.paint(doc_id, _DIM)).rstrip())
    return lines
