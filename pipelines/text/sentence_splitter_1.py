"""Version 1 of the rules that decide where a sentence ends.

* `?` `!` `...` and their kin end one, unless the next word begins in lower case;
* so does a full stop, except after an abbreviation or an initial. After those that often end a
  sentence ("Inc.", "U.S.", "a.m.") only a capitalised function word begins a new one ("The", "He");
* a mark that stands by itself ends one whatever follows: such text is in tokens, often lower case;
* "No. 5", "p. 12", "Jan. 5" and the "1." of an enumeration go on.
"""

from collections.abc import Sequence


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


# How a stretch may end a sentence, from its last characters.
NO, STRONG, STOP, NEVER, RARELY, BEFORE_NUMBER, ENUMERATOR, ALONE = range(8)
_CLOSERS = "\"'”’»)]}"
_OPENERS = "\"'“‘«([{¿¡—–-"
CLOSING_STRETCHES = frozenset({"''", "”", "’", "»", ")", "]", "}"})
_ALONE_MARKS = frozenset(".?!")
_STRONG_MARKS = "!?…。！？؟۔।॥։።"
_NEVER_FINAL = _words(
    "mr mrs ms messrs dr prof gen gov rep rev sen adm col capt lt sgt hon pres st mt ft vs v.s e.g"
    " i.e cf viz ca approx mme mlle m bros"
)
_BEFORE_NUMBERS = _words(
    "no nos p pp vol vols ch sec art fig figs eq ed eds nr jan feb mar apr jun jul aug sep sept oct"
    " nov dec"
)
_RARELY_FINAL = _words(
    "inc ltd co corp jr sr etc al esq dept univ assn ave blvd ph.d m.d b.a m.a b.c a.d"
)
_STARTERS = _words(
    "The A An This That These Those He She It They We I You His Her Its Their Our My Your In On At"
    " From For To With By As After Before During When While Where Although Though Because Since If"
    " But And Or So Then There Here Some Many Most Several However Also Other Another Both Each"
    " One Two Three What Who How Why Not No Yes"
)


# What is known of a stretch: tokens, their offsets, how it may end a sentence, whether it begins
# in lower case, whether its first word is one of _STARTERS, whether it begins with a digit.
Stretch = tuple[tuple[str, ...], tuple[int, ...], int, bool, bool, bool]


def describe_stretch(stretch: str, tokens: Sequence[str], offsets: Sequence[int]) -> Stretch:
    """Return what the rules need to know of a stretch with these tokens at these offsets."""
    first = stretch.lstrip(_OPENERS)
    return (
        tuple(tokens),
        tuple(offsets),
        _ending(stretch, tokens),
        first[:1].islower() or not first,
        first.rstrip(_CLOSERS + ",;:.") in _STARTERS,
        first[:1].isdigit(),
    )


def breaks(ending: int, following: Stretch) -> bool:
    """Say whether a sentence ends between a stretch of this ending and the following one."""
    _, _, _, lower, starter, digit = following
    if ending == ALONE:
        return True
    if ending in (STRONG, STOP):
        return not lower
    if ending == RARELY:
        return starter
    if ending == BEFORE_NUMBER:
        return not lower and not digit
    return False


def _ending(stretch: str, tokens: Sequence[str]) -> int:
    """Say how a stretch may end a sentence, were it followed by a fitting next one."""
    if stretch in _ALONE_MARKS:
        return ALONE
    bare = stretch.rstrip(_CLOSERS)
    if not bare:
        return NO
    if bare[-1] in _STRONG_MARKS or bare.endswith("..."):
        return STRONG
    if bare[-1] != ".":
        return NO
    word = bare[:-1].lstrip(_OPENERS)
    lower = word.lower()
    if lower in _NEVER_FINAL:
        return NEVER
    if lower in _BEFORE_NUMBERS:
        return BEFORE_NUMBER
    if stretch == f"{word}." and word.isdigit() and len(word) < 4:
        return ENUMERATOR
    # Initials ("J.", "U.S.") and whatever spaCy keeps in one token with its full stop.
    is_initial = len(word) == 1 and word.isalpha()
    is_abbreviation = len(word) > 1 and word + "." in tokens
    if is_initial or is_abbreviation or lower in _RARELY_FINAL:
        return RARELY
    return STOP


def is_short_form(word: str) -> bool:
    """Say whether a full stop that stands after a word may belong to it, as in `fig . 2`."""
    lower = word.lower()
    return (len(word) == 1 and word.isalpha()) or lower in _NEVER_FINAL | _BEFORE_NUMBERS
