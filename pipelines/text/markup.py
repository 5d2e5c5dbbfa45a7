"""Tags in a text: they are not words, and block tags end a sentence."""

import re
from collections.abc import Callable, Iterator
from typing import NamedTuple

from pipelines.text.abbreviations import words_of

_NAME = r"[A-Za-z][A-Za-z0-9:._\-]*"
_ATTRIBUTE = r"""\s+[A-Za-z_:@][\w:.@\-]*(?:\s*=\s*(?:"[^"<]*"|'[^'<]*'|[^\s"'=<>`]+))?"""
_NAMED = (
    rf"<(?P<close>/?)(?P<name>{_NAME})(?P<attributes>(?:{_ATTRIBUTE}){{0,40}})\s*(?P<empty>/?)>"
)
_NAMED_TAG = re.compile(_NAMED, re.IGNORECASE)
_TAG = re.compile(
    r"(?P<comment><!--)|<!DOCTYPE[^>]{0,400}>|<\?xml[^>]{0,400}\?>"
    rf"|<(?P<script>script|style)\b[^<>]{{0,400}}>|{_NAMED}",
    re.IGNORECASE,
)
# What ends what no tag of its own does.
_ENDS = {
    "<!--": re.compile("-->"),
    "script": re.compile(r"</script\s*>", re.IGNORECASE),
    "style": re.compile(r"</style\s*>", re.IGNORECASE),
}
_MAX_NAMES = 1000  # that HTML does not know, in one text
_JOINED_PARTS = 1 << 16
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
# Tags of letters and links, which may stand inside a word; with a space in them they divide it.
_IN_WORD = words_of("a b big em font hi i mark s small span strong u")
# Where these are, the text is a page of HTML, and its line breaks are spaces.
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
    """Yield the tags of a text, in order, in time that grows with its length.

    A name that HTML does not know counts as a tag only where it cannot be anything else: with an
    attribute, with a slash, or closed later on. `a < b` and `List<String>` stay text.
    """
    if "<" not in text or ">" not in text:
        return
    names = _Names(text)
    match = _TAG.search(text)
    while match is not None:
        position = match.end()
        if kind := (match["comment"] or match["script"] or "").lower():
            if (end := names.end_of(kind, position)) > 0:
                yield Tag(match.start(), end, block=kind != "<!--")
                position = end
            elif (named := _NAMED_TAG.match(text, match.start())) is not None:
                position = named.end()
                if names.is_tag(named):
                    yield Tag(named.start(), named.end(), block=False)
            else:
                position = match.start() + 1
        elif match["name"] is None or match["name"].lower() in _BLOCKS:
            yield Tag(match.start(), match.end(), block=True)
        elif match["name"].lower() in _INLINE or names.is_tag(match):
            yield Tag(match.start(), match.end(), block=False, side=_side(match, names))
        match = _TAG.search(text, position)


class _Names:
    """Where names are opened and closed in a text; it is searched once for each name."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._open: set[str] = set()
        self._first: dict[str, int] = {}
        self._last: dict[str, int] = {}

    def end_of(self, kind: str, start: int) -> int:
        """Return where a comment, a script or a style sheet ends; 0 if it never does."""
        found = None if kind in self._open else _ENDS[kind].search(self._text, start)
        if found is None:
            self._open.add(kind)
            return 0
        return found.end()

    def is_closed_after(self, match: re.Match[str]) -> bool:
        """Say whether an element that a tag opens is closed behind it."""
        return self._find(self._last, f"</{match['name']}>", self._text.rfind) >= match.end()

    def is_tag(self, match: re.Match[str]) -> bool:
        """Say whether a name that HTML does not know is that of a tag."""
        name = match["name"]
        if match["close"]:
            first = self._find(self._first, f"<{name}", self._text.find)
            return 0 <= first <= match.start() - len(name) - 1
        return bool(match["empty"] or "=" in match["attributes"]) or self.is_closed_after(match)

    def _find(self, known: dict[str, int], mark: str, find: Callable[[str], int]) -> int:
        if mark not in known:
            if len(known) >= _MAX_NAMES:
                return -1
            known[mark] = find(mark)
        return known[mark]


def _side(match: re.Match[str], names: _Names) -> int:
    alone = match["attributes"] or match["empty"] or " " in match.group()
    if match["name"].lower() not in _IN_WORD or alone:
        return 0
    if match["close"]:
        return -1
    return int(names.is_closed_after(match))


def without_tags(text: str) -> str:
    """Return a text of the same length with spaces for tags, and empty lines for block tags.

    A tag inside a word (`b<b>an</b>k`) stays: the word's normal form leaves it out.
    """
    joined: list[str] = []
    parts: list[str] = []
    position = 0
    for tag in _parting(text):
        parts.append(text[position : tag.start])
        blank = "\n\n" if tag.block else ""
        parts.append(blank.ljust(tag.end - tag.start))
        position = tag.end
        if len(parts) >= _JOINED_PARTS:  # a string has a head, which outweighs a short one
            joined.append("".join(parts))
            parts.clear()
    if not position:
        return text
    return "".join([*joined, *parts, text[position:]])


def _parting(text: str) -> Iterator[Tag]:
    """Yield the tags that part words: all but those, of one side, with letters around them."""
    group: list[Tag] = []
    for tag in find_tags(text):
        if group and tag.start != group[-1].end:
            yield from _parting_of(text, group)
            group = []
        group.append(tag)
    if group:
        yield from _parting_of(text, group)


def _parting_of(text: str, group: list[Tag]) -> list[Tag]:
    """Return the tags of a group, which stand one after the other, if they part words."""
    around = text[group[0].start - 1 : group[0].start], text[group[-1].end : group[-1].end + 1]
    sides = {tag.side for tag in group}
    within = len(sides) == 1 and 0 not in sides and all(map(str.isalpha, around))
    return [] if within else group


def is_page(text: str) -> bool:
    """Say whether a text is marked up as a page, a tag or more to every second line."""
    if "<" not in text:
        return False
    return 2 * sum(1 for _ in _PAGE.finditer(text)) > text.count("\n")
