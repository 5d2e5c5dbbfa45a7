"""The options of finding senses, checked before any work starts."""

from dataclasses import dataclass

import numpy as np

from pipelines.errors import UsageError

MIN_OCCURRENCES = 10
# Occurrences, and what share of words with one sense must look less split: between them by the
# logarithm. The bound from 24 on is the lowest whole percent at which less than 10 % of such words
# are split at 24, 50 and 100, in text that nothing was learned of. Ten lines say little: more is
# asked of them, by SemCor's lemmas.
SURE = ((10, 0.99), (24, 0.94))
_MOST = 20


def needed_surety(count: int) -> float:
    """Return the surety at which a word with so many occurrences counts as one of several senses.

    >>> needed_surety(10), needed_surety(24), needed_surety(500)
    (0.99, 0.94, 0.94)
    """
    counts, sureties = zip(*SURE, strict=True)
    return float(np.interp(np.log(max(count, 1)), np.log(counts), sureties))


@dataclass(frozen=True, kw_only=True)
class SenseOptions:
    """Options of finding the senses of a word.

    Attributes:
      min_share: smallest share of a word's occurrences that is a sense, 0 to 0.5; a sense has at
        least three occurrences.
      at_most: largest number of senses; 1 finds none.
      force: split a word even if it has few occurrences or looks like one sense.
    """

    min_share: float = 0.04
    at_most: int = 6
    force: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.min_share <= 0.5:
            raise UsageError(f"--min-share is {self.min_share}; give a share from 0 to 0.5")
        if not 1 <= self.at_most <= _MOST:
            raise UsageError(f"--at-most is {self.at_most}; give a number from 1 to {_MOST}")
        if self.force and self.at_most == 1:
            raise UsageError(
                "--force splits a word into senses, but --at-most 1 forbids that;"
                " give one of the two"
            )
