"""The options of a search, checked before any work starts."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from pipelines.errors import UsageError
from pipelines.search.query import check_unicode

SORTS = ("score", "1L", "2L", "3L", "1R", "2R", "3R", "document")


@dataclass(frozen=True, kw_only=True)
class SearchOptions:
    """Options of one search.

    Attributes:
      k: largest number of hits.
      any_word: compare with every token, not only with occurrences of the same form.
      fold_case: also compare forms that differ in upper and lower case only.
      inflections: also compare simple inflections (banks, banking), in upper and lower case.
      filters: metadata that the document of a hit must have, all of them.
      min_score: hits below this score are left out.
      sense: only hits of the sense with this number.
      senses: give the sense of each hit; finds the senses of the word if none are stored.
      left, right: tokens of context, or None for the whole sentence.
      sort: one of SORTS; nL and nR sort by the n-th word to the left or right of the word found.
      sample: number of hits drawn at random from the k best; None returns all.
      seed: seed of the random sample.
      unfold: return identical sentences one by one, not as one hit with a count.
      plain_ranking: rank by each occurrence's own score, without those of its neighbours.
    """

    k: int = 10
    any_word: bool = False
    fold_case: bool = False
    inflections: bool = False
    filters: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    min_score: float | None = None
    sense: int | None = None
    senses: bool = True
    left: int | None = None
    right: int | None = None
    sort: str = "score"
    sample: int | None = None
    seed: int = 0
    unfold: bool = False
    plain_ranking: bool = False

    def __post_init__(self) -> None:
        if self.k < 1:
            raise UsageError(f"k is {self.k}; ask for at least 1 hit")
        if self.any_word and (self.fold_case or self.inflections):
            raise UsageError(
                "--any-word already finds every form: leave out --fold-case and --inflections"
            )
        if self.sense is not None and self.sense < 1:
            raise UsageError(f"--sense is {self.sense}; senses are numbered from 1")
        if self.sense is not None and self.any_word:
            raise UsageError(
                "--sense chooses a sense of one word, so it cannot be used with --any-word"
            )
        if self.sort not in SORTS:
            raise UsageError(f"--sort is {self.sort!r}; expected one of {', '.join(SORTS)}")
        if self.sample is not None and self.sample < 1:
            raise UsageError(f"--sample is {self.sample}; ask for at least 1 hit")
        if self.min_score is not None and not math.isfinite(self.min_score):
            raise UsageError(f"--min-score is {self.min_score}; give a finite number")
        for side in (self.left, self.right):
            if side is not None and side < 0:
                raise UsageError(f"--context is {side} tokens; give 0 or more")


def parse_context(text: str) -> tuple[int | None, int | None]:
    """Read `5:10` (tokens left and right), `5` (both) or `s` (the sentence) into a pair."""
    if text == "s":
        return None, None
    left, colon, right = text.partition(":")
    try:
        return int(left), int(right if colon else left)
    except ValueError:
        raise UsageError(
            f"--context is {text!r}; write 5:10 (tokens left and right), 5, or s (the sentence)"
        ) from None


def parse_filters(texts: list[str]) -> dict[str, str]:
    """Read `key=value` words into a mapping; a key given twice is an error."""
    filters: dict[str, str] = {}
    for text in texts:
        check_unicode(text, f"--filter {text!r}")
        key, equals, value = text.partition("=")
        if not equals or not key:
            raise UsageError(f"--filter is {text!r}; write KEY=VALUE, as in --filter lang=en")
        if filters.get(key, value) != value:
            raise UsageError(f"--filter gives {key!r} twice: no document has two values of it")
        filters[key] = value
    return filters


def make_options(options: Mapping[str, Any]) -> SearchOptions:
    """Read keyword arguments into SearchOptions.

    Raises:
      UsageError: for a name that is no option; lists those that are.
    """
    known = SearchOptions.__dataclass_fields__
    unknown = sorted(set(options) - set(known))
    if unknown:
        raise UsageError(f"search has no option {unknown[0]!r}; it has {', '.join(known)}")
    return SearchOptions(**options)
