"""The normal form of a word: what the model reads and the index counts. The text keeps its own.

Words that look the same are one form: composed and decomposed letters, ligatures, full-width
letters, typographic apostrophes and hyphens, HTML character references, invisible marks inside a
word, and a word that a hyphen parts at a line end.

>>> normal_form("cafe\u0301"), normal_form("O\u2019Brien"), normal_form("Mon-\nday")
('café', "O'Brien", 'Monday')
"""

import html
import re
import unicodedata
from collections.abc import Callable, Sequence
from typing import NamedTuple

# Typographic ones, accents that stand for them, letters of Hawaiian and of transliterations, the
# marks of Armenian and Hebrew.
APOSTROPHES = "`\u2019\u2018\u201b\u02bc\u02bb\u02be\u02bf\u2032\uff07\u00b4\ua78c\u055a\u05f3"
_HYPHENS = "\u2010\u2011"
_MINUS_SIGNS = "\u2212\ufe63\uff0d"
# Marks that are not seen: joiners of lines, words and letters, direction marks, byte-order marks,
# selectors of a letter's look, the line that stretches Arabic words; lines under and in letters.
_IGNORED = frozenset("\u00ad\u2060\u2061\u2062\u2064\ufeff\u200e\u200f\u061c\u202a\u202b\u202c"
                     "\u202d\u202e\u2066\u2067\u2068\u2069\u180e\u0640"
                     "\u034f\u0332\u0333\u0336\u206a\u206b\u206c\u206d\u206e\u206f\ufff9\ufffa\ufffb"
                     + "".join(map(chr, [*range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0)]))
                     )  # fmt: skip
_BLANKS = "\u200b\u2063"
_JOINERS = frozenset("\u200c\u200d")
_UNJOINED = "\u058f"  # the last character of Latin, Greek, Cyrillic and Armenian
# A hyphen that parts a word at a line end, with what separates it from the rest of the word: tags,
# marks of quoted mail and of comments.
LINE_HYPHEN = re.compile(
    "[-\u2010\u00ad][ \t]*(?:</?[A-Za-z][^<>\n]{0,80}>)?(?:\r\n|[\n\r\x0b\x0c\x85\u2028\u2029])"
    r"\s*(?:(?:</?[A-Za-z][^<>\n]{0,80}>|[>#*%;|]|//)\s*)*"
)
# A tag inside a word: markup.py leaves it there.
_WORD_TAGS = re.compile(r"(?<=[^\W\d_])(?:</?[A-Za-z]{1,6}>)+(?=[^\W\d_])")
_REFERENCE = re.compile(r"&(?:#[0-9]{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z][A-Za-z0-9]{1,31});")
_FOLDED_KINDS = ("<font>", "<wide>", "<narrow>", "<initial>", "<medial>", "<final>", "<isolated>")
_LIGATURES = frozenset("\u0132\u0133\u0149\u017f\u01c4\u01c5\u01c6\u01c7\u01c8\u01c9\u01ca\u01cb"
                       "\u01cc\u00b5") | set(map(chr, [
    *range(0xFB00, 0xFB18), *range(0x2160, 0x2180),  # fi and its kin, Roman numbers
]))  # fmt: skip
_CACHE_ENTRIES = 1 << 17


class NormalText(NamedTuple):
    """A text in normal form and where its characters come from.

    Attributes:
      text: n characters; a space where the original has an invisible or coded space.
      starts: [n] where each character's source begins in the original.
      ends: [n] where it ends.
    """

    text: str
    starts: Sequence[int]
    ends: Sequence[int]


def is_plain(text: str) -> bool:
    """Say at once, where it is so, that every word of a text is its own normal form."""
    if not text.isascii():
        return False
    return not ("&" in text or "<" in text or "\n" in text or "\r" in text or "`" in text)


def normal_form(token: str) -> str:
    """Return the normal form of a token; a token that is nothing but marks keeps itself."""
    if is_plain(token):
        return token
    known = _known.get(token)
    if known is None:
        if len(_known) >= _CACHE_ENTRIES:
            _known.clear()
        known = _known[token] = _normalize(token)
    return known


_known: dict[str, str] = {}


def _normalize(token: str) -> str:
    text = normal_text(token).text.replace(" ", "").strip("\u200c\u200d")
    if any(map(str.isalpha, text)):
        return text or token
    # A mark alone stays as it is: a closing quote is no apostrophe.
    return token if len(token) == 1 else text or token


def normal_text(text: str) -> NormalText:
    """Return a text in normal form, with the place of each of its characters."""
    characters: list[str] = []
    starts: list[int] = []
    ends: list[int] = []
    position = 0
    while position < len(text):
        end, replaced = _next_cluster(text, position)
        characters += replaced
        starts += [position] * len(replaced)
        ends += [end] * len(replaced)
        position = end
    return NormalText("".join(characters), starts, ends)


def _next_cluster(text: str, position: int) -> tuple[int, str]:
    """Return where the character at a position ends with what belongs to it, and its form."""
    character = text[position]
    if character == "&":
        reference = _REFERENCE.match(text, position)
        if reference is not None:
            decoded = html.unescape(reference.group())
            if decoded != reference.group():
                return reference.end(), _decoded(decoded)
    if character == "<":
        tags = _WORD_TAGS.match(text, position)
        if tags is not None:
            return tags.end(), ""
    if character in "-\u2010\u00ad":
        hyphen = LINE_HYPHEN.match(text, position)
        if hyphen is not None:
            return hyphen.end(), ""
    end = position + 1
    if character == "`":
        return end, _form_of(character, text, position, end)
    if character.isascii() and (end == len(text) or text[end].isascii()):
        return end, character
    while end < len(text) and _extends(text[end]):
        end += 1
    cluster = text[position:end]
    if len(cluster) > 1:
        if "\uff61" <= character <= "\uff9f":  # half-width, with its voicing beside it
            cluster = unicodedata.normalize("NFKC", cluster)
        cluster = unicodedata.normalize("NFC", cluster)
    return end, "".join(_form_of(c, text, position, end) for c in cluster if c not in _IGNORED)


def _decoded(decoded: str) -> str:
    if decoded.isspace() or decoded in _BLANKS:
        return " "
    return "".join(c for c in unicodedata.normalize("NFC", decoded) if c not in _IGNORED)


def _extends(character: str) -> bool:
    """Say whether a character is written as a part of the one before it."""
    if character < "\u0300":
        return False
    # Conjoining vowels and final consonants of Hangul; half-width marks of voicing.
    return (
        unicodedata.combining(character) != 0
        or "\u1160" <= character <= "\u11ff"
        or character in "\uff9e\uff9f"
    )


def _form_of(character: str, text: str, start: int, end: int) -> str:
    if character in APOSTROPHES:
        around = (text[start - 1 : start].isalpha(), text[end : end + 1].isalpha())
        # `code` has letters on one side only.
        inside = all(around) if character == "`" else any(around)
        return "'" if inside else character
    if character.isascii():
        return character
    if character == "\u05f4" and text[start - 1 : start].isalpha():
        return '"'
    if character in _HYPHENS:
        return "-"
    if character in _MINUS_SIGNS:
        left, right = text[start - 1 : start], text[end : end + 1]
        return "-" if left.isalpha() and right.isalpha() else character
    if character == "\u2015":
        return "\u2014"
    if character in _BLANKS:
        return " "
    if character in _JOINERS:
        # Inside a word or an emoji it is spelling; at an end, and in scripts whose letters do not
        # join, it is nothing.
        before, after = text[start - 1 : start], text[end : end + 1]
        joins = before > _UNJOINED and after and not before.isspace() and not after.isspace()
        return character if joins and not _is_mark(after) else ""
    if character in _LIGATURES or unicodedata.decomposition(character).startswith(_FOLDED_KINDS):
        folded = unicodedata.normalize("NFKC", character).replace("\u02bc", "'")
        return folded if folded.replace("'", "").isalnum() else character
    return unicodedata.normalize("NFC", character)


def _is_mark(character: str) -> bool:
    return unicodedata.category(character)[0] in "PZ"


def folded_form(form: str) -> str:
    """Return what forms that differ only in case share; `İ` is folded to `i` as `I` is.

    >>> folded_form("\u0130stanbul"), folded_form("Straße")
    ('istanbul', 'strasse')
    """
    folded = form.casefold()
    return folded.replace("i\u0307", "i") if "\u0307" in folded else folded


def form_rule(rules: int) -> Callable[[str], str]:
    """Return the function token -> form of a corpus, by the version of its token rules.

    In version 1 a token was its own form.
    """
    return str if rules < 2 else normal_form
