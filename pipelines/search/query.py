r"""What a query says: a sentence, and perhaps one word of it in brackets.

>>> parse_query("They sat on the [bank] of the river")
ParsedQuery(text='They sat on the bank of the river', node=(16, 20))
>>> parse_query(r"array\[0\] is first").text
'array[0] is first'
"""

import difflib
import heapq
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from pipelines.errors import UsageError

_RANKED_FORMS = 200


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
                    f"']' at character {position} of {query!r} closes nothing;"
                    r" write \] for a literal bracket"
                )
            end = len(characters)
        else:
            characters.append(character)
        position += 1
    if start is not None and end is None:
        raise UsageError(rf"the bracket in {query!r} is not closed; write \[ for a literal one")
    text = "".join(characters)
    if not text.strip():
        raise UsageError("the query is empty; give a sentence, with one word in [brackets]")
    if start is None or end is None:
        return ParsedQuery(text, None)
    return ParsedQuery(text, _trim(text, start, end))


def _second_bracket(query: str, *, closed: bool) -> str:
    if closed:
        return f"two words are in brackets in {query!r}; a search is for the sense of one"
    return rf"'[' inside brackets in {query!r}; write \[ for a literal bracket"


def _trim(text: str, start: int, end: int) -> tuple[int, int]:
    """Leave out white space just inside the brackets."""
    word = text[start:end]
    if not word.strip():
        raise UsageError("the brackets are empty; put the word whose sense you seek inside")
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
        tokens = ", ".join(repr(text[starts[index] : ends[index]]) for index in touched)
        raise UsageError(
            f"the brackets hold {len(touched)} tokens ({tokens}); put one of them in brackets"
        )
    if not touched:
        raise UsageError(f"no token of the query is at the bracketed {word!r}")
    index = touched[0]
    if (starts[index], ends[index]) != node:
        token = text[starts[index] : ends[index]]
        raise UsageError(
            f"the brackets hold {word!r}, a part of the token {token!r}; write [{token}]"
        )
    return index


def nearest_forms(word: str, forms: Iterable[str], *, limit: int = 5) -> list[str]:
    """The forms spelled most like a word, the likest first.

    Ranked by Ratcliff and Obershelp's ratio, which is slow: only the forms that share most pairs
    of letters with the word are ranked at all.
    """
    folded = word.casefold()
    pairs = _pairs(folded)
    shared = {
        form: len(pairs & _pairs(form.casefold()))
        for form in forms
        if abs(len(form) - len(word)) <= 2 + len(word) // 4
    }
    likely = heapq.nsmallest(_RANKED_FORMS, shared, key=lambda form: (-shared[form], form))
    by_folded: dict[str, list[str]] = {}
    for form in likely:
        by_folded.setdefault(form.casefold(), []).append(form)
    matches = difflib.get_close_matches(folded, by_folded, n=limit, cutoff=0.6)
    return [form for match in matches for form in sorted(by_folded[match])][:limit]


def _pairs(text: str) -> set[str]:
    return {first + second for first, second in pairwise(f"^{text}$")}


def inflections(word: str) -> frozenset[str]:
    """Forms that share a base with an English word by regular spelling, casefolded.

    A suffix stripper in the manner of Harman's S stemmer, extended to -ed and -ing. It makes
    more forms than there are; the caller keeps those that occur. Irregular forms are not known.

    >>> sorted(inflections("banks") & {"bank", "banks", "banked", "banking", "bunks"})
    ['bank', 'banked', 'banking', 'banks']
    """
    word = word.casefold()
    forms = {word}
    for base in _bases(word):
        forms |= _inflect(base) | {base}
    return frozenset(forms)


def _bases(word: str) -> set[str]:
    bases = {word}
    for suffix, replacements in (
        ("ies", ("y", "ie")),
        ("es", ("", "e")),
        ("s", ("",)),
        ("ied", ("y",)),
        ("ed", ("", "e")),
        ("ing", ("", "e")),
    ):
        stem = word.removesuffix(suffix)
        if stem == word or len(stem) < 2 or not any(letter in "aeiouy" for letter in stem):
            continue
        if suffix == "s" and word.endswith(("ss", "us", "is")):
            continue
        bases |= {stem + replacement for replacement in replacements}
        if suffix in ("ed", "ing") and len(stem) > 2 and stem[-1] == stem[-2]:
            bases.add(stem[:-1])
    return bases


def _inflect(base: str) -> set[str]:
    forms = {base + "s", base + "ed", base + "ing"}
    if base.endswith(("s", "x", "z", "ch", "sh", "o")):
        forms.add(base + "es")
    if base.endswith("y"):
        forms |= {base[:-1] + "ies", base[:-1] + "ied"}
    if base.endswith("e"):
        forms |= {base + "d", base[:-1] + "ing"}
    if base[-1:] not in "aeiouwxy":
        forms |= {base + base[-1:] + "ed", base + base[-1:] + "ing"}
    return forms
