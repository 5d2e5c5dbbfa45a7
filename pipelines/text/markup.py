"""Tags in a text: they are not words, and block tags end a sentence."""

import re
from collections.abc import Iterator
from typing import NamedTuple

from pipelines.text.abbreviations import words_of

_NAME = r"[A-Za-z][A-Za-z0-9:._\-]*"
_ATTRIBUTE = r"""\s+[A-Za-z_:@][\w:.@\-]*(?:\s*=\s*(?:"[^"<]*"|'[^'<]*'|[^\s"'=<>`]+))?"""
_TAG = re.compile(
    rf"<!--.*?-->|<!DOCTYPE[^>]{{0,400}}>|<\?xml[^>]{{0,400}}\?>"
    rf"|<(script|style)\b[^<>]{{0,400}}>.*?</\1\s*>"
    rf"|<(?P<close>/?)(?P<name>{_NAME})(?P<attributes>(?:{_ATTRIBUTE}){{0,40}})\s*(?P<empty>/?)>",
    re.IGNORECASE | re.DOTALL,
)
_BLOCKS = words_of(
    """
    address article aside blockquote body br button caption center col colgroup dd details dialog
    dir div dl dt fieldset figcaption figure footer form frame frameset h1 h2 h3 h4 h5 h6 head
    header hgroup hr html iframe legend li main menu nav noscript ol optgroup option p pre section
    select summary table tbody td textarea tfoot th thead title tr ul
    doc text para sec sent sentence sp lg note titlestmt
    """  # the last line: TEI, DocBook, JATS and corpora written in them
)
_INLINE = words_of(
    """
    a abbr acronym b bdi bdo big cite code data del dfn em font i img input ins kbd label map mark
    math nobr object output picture q ref rp rt ruby s samp small source span strike strong sub
    sup svg time tt u var video wbr w pc hi emph
    """
)
# Tags of letters and links, which may stand inside a word; with a blank in them they part it.
_IN_WORD = words_of("a b big em font hi i mark s small span strong u")
# Where these are, the text is a page of HTML, and its line breaks are blanks.
_PAGE = re.compile(r"</?(?:p|br|div|li|td|h[1-6]|body)\b", re.IGNORECASE)


class Tag(NamedTuple):
    """A tag at [start, end) of a text.

    Attributes:
      start, end: in the text.
      block: it ends what was before it.
      side: 1 if it opens, -1 if it closes an element that may be a part of a word; else 0.
    """

    start: int
    end: int
    block: bool
    side: int = 0


def find_tags(text: str) -> Iterator[Tag]:
    """Yield the tags of a text, in order.

    A name that HTML does not know counts as a tag only where it cannot be anything else: with an
    attribute, with a slash, or closed later on. `a < b` and `List<String>` stay text.
    """
    if "<" not in text or ">" not in text:
        return
    closings = _Closings(text)
    for match in _TAG.finditer(text):
        name = (match["name"] or "").lower()
        if not name:
            yield Tag(match.start(), match.end(), block=not match.group().startswith("<!--"))
        elif name in _BLOCKS:
            yield Tag(match.start(), match.end(), block=True)
        elif name in _INLINE or _is_tag(text, match, closings):
            side = _side(match, name, closings)
            yield Tag(match.start(), match.end(), block=False, side=side)


class _Closings:
    """Where elements of a text are closed last, looked for once a name."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._last: dict[str, int] = {}

    def after(self, match: re.Match[str]) -> bool:
        """Say whether an element that a tag opens is closed behind it."""
        name = match["name"]
        if name not in self._last:
            self._last[name] = self._text.rfind(f"</{name}>")
        return self._last[name] >= match.end()


def _side(match: re.Match[str], name: str, closings: _Closings) -> int:
    if name not in _IN_WORD or match["attributes"] or match["empty"] or " " in match.group():
        return 0
    if match["close"]:
        return -1
    return int(closings.after(match))


def _is_tag(text: str, match: re.Match[str], closings: _Closings) -> bool:
    if match["close"]:
        return text.find(f"<{match['name']}", 0, match.start()) >= 0
    if match["empty"] or "=" in match["attributes"]:
        return True
    return closings.after(match)


def without_tags(text: str) -> str:
    """Return a text of the same length with blanks for tags, and blank lines for block tags.

    A tag inside a word (`b<b>an</b>k`) stays: the word's normal form leaves it out.
    """
    parts: list[str] = []
    position = 0
    for tag in _parting(text, list(find_tags(text))):
        parts.append(text[position : tag.start])
        blank = "\n\n" if tag.block else ""
        parts.append(blank.ljust(tag.end - tag.start))
        position = tag.end
    if not parts:
        return text
    parts.append(text[position:])
    return "".join(parts)


def _parting(text: str, tags: list[Tag]) -> Iterator[Tag]:
    """Yield the tags that part words: all but those, of one side, with letters around them."""
    first = 0
    while first < len(tags):
        last = first
        while last + 1 < len(tags) and tags[last + 1].start == tags[last].end:
            last += 1
        group = tags[first : last + 1]
        around = text[group[0].start - 1 : group[0].start], text[group[-1].end : group[-1].end + 1]
        sides = {tag.side for tag in group}
        if not (len(sides) == 1 and 0 not in sides and all(map(str.isalpha, around))):
            yield from group
        first = last + 1


def is_page(text: str) -> bool:
    """Say whether a text is marked up as a page, a tag or more to every second line."""
    if "<" not in text:
        return False
    return 2 * sum(1 for _ in _PAGE.finditer(text)) > text.count("\n")
