r"""Parse a query: a sentence, with one word of it in brackets or none.

>>> parse_query("They sat on the [bank] of the river")
ParsedQuery(text='They sat on the bank of the river', node=(16, 20))
>>> parse_query(r"array\[0\] is first").text
'array[0] is first'
"""

from collections.abc import Sequence
from dataclasses import dataclass

from pipelines.errors import UsageError

SHOWN_CHARACTERS = 200  # of a query, in an error


@dataclass(frozen=True)
class ParsedQuery:
    """A query's text without its brackets.

    Attributes:
      text: what is encoded.
      node: code points [start, end) of the bracketed word in `text`; None without brackets.
    """

    text: str
    node: tuple[int, int] | None


def parse_query(query: str) -> ParsedQuery:
    r"""Take the brackets out of a query; `\[`, `\]` and `\\` are the characters themselves.

    Raises:
      UsageError: for an empty query, a bracket that does not open or close, or two words.
    """
    check_unicode(query, "the query")
    characters: list[str] = []
    start = end = None
    position = 0
    while position < len(query):
        character = query[position]
        following = query[position + 1 : position + 2]
        if character == "\\" and following and following in "[]\\":
            characters.append(following)
            position += 1
        elif character == "[":
            if start is not None:
                raise UsageError(_second_bracket(query, closed=end is not None))
            start = len(characters)
        elif character == "]":
            if start is None or end is not None:
                raise UsageError(
                    f"']' at character {position} of {_shown(query)} matches no '[';"
                    r" write \] for a literal bracket"
                )
            end = len(characters)
        else:
            characters.append(character)
        position += 1
    if start is not None and end is None:
        raise UsageError(
            rf"the bracket in {_shown(query)} is not closed; write \[ for a literal bracket"
        )
    text = "".join(characters)
    if not text.strip():
        raise UsageError("the query is empty; give a sentence, with one word in [brackets]")
    if start is None or end is None:
        return ParsedQuery(text, None)
    return ParsedQuery(text, _trim(text, start, end))


def check_unicode(text: str, what: str) -> None:
    """Refuse bytes of a command line that are no text.

    Raises:
      UsageError: if there are any; says which.
    """
    bad = [character for character in text if "\ud800" <= character <= "\udfff"]
    if bad:
        shown = " ".join(f"0x{ord(c) & 0xFF:02x}" for c in bad)
        raise UsageError(
            f"{what} has bytes that are not UTF-8 ({shown[:40]}); is the terminal set to another"
            " encoding, such as Latin-1? Set it, and the locale, to UTF-8"
        )


def _shown(query: str) -> str:
    return repr(query) if len(query) <= SHOWN_CHARACTERS else f"{query[:SHOWN_CHARACTERS]!r}..."


def _second_bracket(query: str, *, closed: bool) -> str:
    if closed:
        return f"two words are in brackets in {_shown(query)}; put only one word in brackets"
    return rf"'[' inside brackets in {_shown(query)}; write \[ for a literal bracket"


def _trim(text: str, start: int, end: int) -> tuple[int, int]:
    """Leave out white space just inside the brackets."""
    word = text[start:end]
    if not word.strip():
        raise UsageError("the brackets are empty; put the word to search for inside")
    return start + len(word) - len(word.lstrip()), end - len(word) + len(word.rstrip())


def find_node(text: str, node: tuple[int, int], starts: Sequence[int], ends: Sequence[int]) -> int:
    """Find the one token that the brackets hold.

    Args:
      text: the query's text.
      node: code points [start, end) of the bracketed word.
      starts, ends: code points of the tokens in `text`, in order.

    Raises:
      UsageError: if the brackets hold several tokens or a part of one; it names them.
    """
    touched = [
        index
        for index, (start, end) in enumerate(zip(starts, ends, strict=True))
        if start < node[1] and end > node[0]
    ]
    word = text[node[0] : node[1]]
    if len(touched) > 1:
        tokens = ", ".join(repr(text[starts[index] : ends[index]]) for index in touched[:8])
        tokens += ", ..." if len(touched) > 8 else ""
        raise UsageError(
            f"the brackets hold {len(touched)} tokens ({tokens}); put one of them in brackets"
        )
    if not touched:
        raise UsageError(
            f"the brackets hold {word!r}, which is not a word; put a word of the query in"
            " [brackets]"
        )
    index = touched[0]
    if (starts[index], ends[index]) != node:
        token = text[starts[index] : ends[index]]
        raise UsageError(
            f"the brackets hold {word!r}, a part of the token {token!r}; write [{token}]"
        )
    return index
