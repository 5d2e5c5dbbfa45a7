"""Which characters are marks, never parts of a word: told by Unicode's categories.

pieces.py makes a token of each run of one such mark, wherever it stands.
"""

import sys
import unicodedata
from functools import cache

# Punctuation and symbols that stand inside of words, or that other rules look at: apostrophes,
# signs of abbreviation, degrees, fraction slashes, points in numbers and between syllables.
_IN_WORDS = frozenset(
    "\u00b0\u00b7\u2018\u2019\u201a\u201b\u2024\u2027\u2032\u2044\u2026\u2030"
    "\u055a\u05f3\u05f4\u066b\u066c\u0964\u0965\u0970\u0f0b\u0f0c\u203f\u2040"
)
# Control characters; where Windows' code page has letters and apostrophes they stay in words.
_CONTROLS = "\x01-\x08\x0e-\x1b\x7f\x80-\x82\x84-\x89\x8b\x8d\x8f\x90\x93-\x99\x9b\x9d"
# Blocks with marks; beyond them are rare scripts.
_BLOCKS = ((0xA1, 0x1C80), (0x2010, 0x3100), (0xA4D0, 0xABFF), (0xFE10, 0xFFFF))
_PICTURES = "\u231a-\u23ff\u2600-\u27bf\u2b05-\u2b55\U0001f000-\U0001faff"
# A picture, its look and skin, and those joined to it; flags are two letters of their own kind.
_PICTURE = (
    f"[{_PICTURES}][\ufe0f\u20e3\U0001f3fb-\U0001f3ff]*"
    f"(?:\u200d[{_PICTURES}][\ufe0f\U0001f3fb-\U0001f3ff]*)*"
)


@cache
def mark_class() -> str:
    """Return the marks as the inside of a regular expression's character class."""
    ranges: list[list[int]] = []
    for first, last in _BLOCKS:
        for code in range(first, min(last, sys.maxunicode) + 1):
            if not _is_mark(chr(code)):
                continue
            if ranges and ranges[-1][1] == code - 1:
                ranges[-1][1] = code
            else:
                ranges.append([code, code])
    return _CONTROLS + "".join(f"\\u{low:04x}-\\u{high:04x}" for low, high in ranges)


def picture() -> str:
    """Return a regular expression for emoji, each with all that is joined to it."""
    return f"(?:{_PICTURE}|[\U0001f1e6-\U0001f1ff]{{2}})"


def _is_mark(character: str) -> bool:
    if character in _IN_WORDS:
        return False
    category = unicodedata.category(character)
    return category[0] == "P" or category in ("Sm", "Sc", "So")
