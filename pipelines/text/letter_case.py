"""Detect documents without capitals, such as chats and transcripts."""

import re
from collections.abc import Callable

_SAMPLED_CHARACTERS = 1 << 16
_LONGEST_WORD = 24
_CERTAIN = 40  # sentences with a capital
# Marks of an end, and the word that follows them.
_END = re.compile(r"(?P<marks>[.!?]+)(?P<quotes>[\"'”’»)]*)\s+[\"'“‘«(]*(?P<following>[^\W\d_]+)")
_STOP_OF_LONG_WORD = re.compile(r"(?<=[^\W\d_][^\W\d_][^\W\d_])\.$")
# No more than a hint: other scripts have letters without case.
_SMALL_AFTER_END = re.compile(r"[.!?][\"'”’»)]*\s+(?:[^\n]{0,80}[:>] )?[\"'“‘«(]*[^\W\dA-Z_]")
_LAST_WORD = re.compile(r"[^\W_]+$")
_WORD = re.compile(r"(?<![\w'’])[^\W\d_]+")
# Who speaks, and when, at the beginning of a line: `[10:32] Anna:`, `Speaker 1:`, `<ben>`, `Q:`.
_SPEAKER = re.compile(
    r"^[ \t>]*(?:[\[(]?\d[\d:./, \-]{2,22}(?:[apAP]\.?[mM]\.?)?[\])]?[ \t]*[-–—]?[ \t]*)?"
    r"(?:<[^<>\n]{1,32}>|[A-Z][\w.'’\- ]{0,40}(?:\([^()\n]{1,24}\))?:)(?=\s)",
    re.MULTILINE,
)


def is_uncased(text: str, is_abbreviation: Callable[[str], bool]) -> bool:
    """Say whether sentences of a document begin in small letters.

    So it is where small letters follow most full stops, abbreviations apart, and there are few
    words in capitals beside them: names, and the first words of some messages. The English I
    counts as neither.

    Args:
      text: of the document.
      is_abbreviation: says whether a word, in small letters and without its full stop, is one.
    """
    text = text[:_SAMPLED_CHARACTERS]
    if _SMALL_AFTER_END.search(text) is None:
        return False
    text = _SPEAKER.sub("", text)
    small = large = stops = 0
    for match in _END.finditer(text):
        following = match["following"]
        if following == "I" or _proves_nothing(text, match, is_abbreviation):
            continue
        if following[0].islower():
            small += 1
            stops += _STOP_OF_LONG_WORD.match(text, match.start(), match.end("marks")) is not None
        else:
            large += following[0].isupper()
            if large > _CERTAIN + 4 * small:
                return False
    if not small or small < large:
        return False
    words = _WORD.findall(text)
    capitals = sum(word[0].isupper() and word != "I" for word in words)
    if small < 2 * large:  # some write with capitals, others without
        return small >= 3 and capitals <= 2 * (small + large)
    if words and (words[0][0].islower() or words[0] == "I"):
        return capitals <= (4 * small if small > 1 else 2)
    # A text of one sentence may hold an abbreviation that nobody knows; two are proof.
    return stops >= 2 and capitals <= small + 1


def _proves_nothing(
    text: str, match: re.Match[str], is_abbreviation: Callable[[str], bool]
) -> bool:
    """Say whether a small letter may follow in a text with capitals too."""
    marks = match["marks"]
    if marks != ".":
        # "Where to?" he said. ... and an ellipsis within a sentence.
        return bool(match["quotes"]) or marks.startswith("..")
    found = _LAST_WORD.search(text, max(0, match.start() - _LONGEST_WORD), match.start())
    if found is None:  # a quote or a bracket
        return False
    word = found.group()
    # 3. and J. are numbers and initials; e.g. has its own full stop within.
    return len(word) < 2 or word.isdigit() or is_abbreviation(word.lower())
