"""Forms of a word: its regular inflections, and the forms spelled most like it."""

import difflib
import heapq
from collections.abc import Iterable
from itertools import pairwise

_RANKED_FORMS = 200


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
