"""Tags in a text: HTML and XML are no words, and block tags end a sentence."""

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
# Where these are, the text is a page of HTML, and its line breaks are blanks.
_PAGE = re.compile(r"</?(?:p|br|div|li|td|h[1-6]|body)\b", re.IGNORECASE)


class Tag(NamedTuple):
    """A tag at [start, end) of a text; a block ends what was before it."""

    start: int
    end: int
    block: bool


def find_tags(text: str) -> Iterator[Tag]:
    """Yield the tags of a text, in order.

    A name that HTML does not know counts as a tag only where it cannot be anything else: with an
    attribute, with a slash, or closed later on. `a < b` and `List<String>` stay text.
    """
    if "<" not in text or ">" not in text:
        return
    for match in _TAG.finditer(text):
        name = (match["name"] or "").lower()
        if not name:
            yield Tag(match.start(), match.end(), block=not match.group().startswith("<!--"))
        elif name in _BLOCKS:
            yield Tag(match.start(), match.end(), block=True)
        elif name in _INLINE or _is_tag(text, match):
            yield Tag(match.start(), match.end(), block=False)


def _is_tag(text: str, match: re.Match[str]) -> bool:
    if match["close"]:
        return text.find(f"<{match['name']}", 0, match.start()) >= 0
    if match["empty"] or "=" in match["attributes"]:
        return True
    return text.find(f"</{match['name']}>", match.end()) >= 0


def without_tags(text: str) -> str:
    """Return a text of the same length with blanks for tags, and blank lines for block tags."""
    parts: list[str] = []
    position = 0
    for tag in find_tags(text):
        parts.append(text[position : tag.start])
        blank = "\n\n" if tag.block else ""
        parts.append(blank.ljust(tag.end - tag.start))
        position = tag.end
    if not parts:
        return text
    parts.append(text[position:])
    return "".join(parts)


def is_page(text: str) -> bool:
    """Say whether a text is marked up as a page, a tag or more to every second line."""
    if "<" not in text:
        return False
    return 2 * sum(1 for _ in _PAGE.finditer(text)) > text.count("\n")
