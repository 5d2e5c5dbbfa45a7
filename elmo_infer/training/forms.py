"""Types of a text as forms of words: their lower-cased forms, and which carry meaning."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

# Kinds of tokens, as attention sees them.
CONTENT, STOP_WORD, PUNCTUATION = 0, 1, 2
FREQUENT = 150  # types of this rank and above carry no senses
RARE = 1e-3  # a: the share of the text at which a word weighs half in a sum, see fading.py


@dataclass(frozen=True, kw_only=True, eq=False)
class WordForms:
    """What is known of each type of a text.

    Attributes:
      folded: [V] int64, the most frequent type that lower-cases to the same form.
      lower: [V] int64, the type that is the lower-cased form; itself where the text has none.
      kinds: [V] int8, CONTENT, STOP_WORD or PUNCTUATION.
      taught: [V] bool: a teacher's knowledge of it is taught. It has a letter or a digit, and its
        form is none of the most frequent.
    """

    folded: np.ndarray
    lower: np.ndarray
    kinds: np.ndarray
    taught: np.ndarray

    @classmethod
    def of(cls, types: Sequence[str], is_content: Callable[[str], bool]) -> "WordForms":
        """Look at every type.

        Args:
          types: the most frequent first.
          is_content: says whether a word is neither a stop word nor punctuation.
        """
        place = {word: index for index, word in enumerate(types)}
        first: dict[str, int] = {}
        lowered = [word.lower() for word in types]
        folded = np.array([first.setdefault(word, index) for index, word in enumerate(lowered)])
        lower = np.array([place.get(word, index) for index, word in enumerate(lowered)])
        worded = np.array([any(map(str.isalnum, word)) for word in types], dtype=bool)
        content = np.array([is_content(word) for word in types], dtype=bool)
        kinds = np.full(len(types), STOP_WORD, dtype=np.int8)
        kinds[worded & content] = CONTENT
        kinds[~worded] = PUNCTUATION
        return cls(folded=folded, lower=lower, kinds=kinds, taught=taught_types(folded, worded))


def taught_types(folded: np.ndarray, worded: np.ndarray) -> np.ndarray:
    """Return [V] bool: types with a letter or digit whose form is not among the FREQUENT first.

    A text of so few types that none is left teaches all that have a letter or a digit, and one
    without any teaches all.
    """
    taught = worded & (folded >= FREQUENT)
    if not taught.any():
        taught = worded.copy()
    return taught if taught.any() else np.ones_like(taught)
