"""Detect documents without capitals, such as chats and transcripts."""

import re

_SAMPLED_CHARACTERS = 1 << 16
# A full stop, question or exclamation mark after a word of three letters, and what follows it.
_END = re.compile(r"[.!?](?<=[^\W\d_][^\W\d_][^\W\d_].)[\"'”’»)]*\s+[\"'“‘«(]*([^\W\d_])")
_WORD = re.compile(r"(?<![\w'’])[^\W\d_]+")


def is_uncased(text: str) -> bool:
    """Say whether sentences of a document begin in small letters.

    So it is where small letters follow most ends of sentences, and words with a capital, the
    English I apart, are fewer than those ends.
    """
    text = text[:_SAMPLED_CHARACTERS]
    following = _END.findall(text)
    small = sum(map(str.islower, following))
    if not small or small < 0.75 * len(following):
        return False
    words = _WORD.findall(text)
    allowed = small if words[0][0].islower() else (small - 1) // 2
    return sum(word[0].isupper() and word != "I" for word in words) <= allowed
