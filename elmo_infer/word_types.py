"""Word types as numbers: a form is looked at once a call, its other occurrences by C alone."""

from collections.abc import Callable, Sequence
from itertools import chain

import numpy as np

from elmo_infer.batching import Indices


class _Numbers(dict[str, int]):
    """The number of each form; a form that is asked for the first time is numbered."""

    def __init__(self, key: Callable[[str], str], types: list[str]) -> None:
        super().__init__()
        self._key = key
        self._types = types
        self._of_type: dict[str, int] = {}

    def __missing__(self, form: str) -> int:
        of_type, spelled = self._of_type, self._key(form)
        number = of_type.setdefault(spelled, len(of_type))
        if number == len(self._types):
            self._types.append(spelled)
        self[form] = number
        return number


class WordTypes:
    """The word types of one call, numbered as they are met.

    Args:
      key: returns the type of a form: forms that are spelled alike are of one type.
    """

    def __init__(self, key: Callable[[str], str]) -> None:
        self._types: list[str] = []
        self._numbers = _Numbers(key, self._types)

    def number(self, batches: Sequence[Sequence[Sequence[str]]]) -> tuple[list[Indices], list[str]]:
        """Number the tokens of batches that are computed together.

        Args:
          batches: their sentences, lists of tokens.

        Returns:
          For each batch [n] int64, the types of its tokens as rows of the list; and that list,
          the distinct types of these batches.
        """
        ids = [self._ids(batch) for batch in batches]
        present = np.zeros(len(self._types), dtype=bool)
        for each in ids:
            present[each] = True
        asked = np.flatnonzero(present)
        row = np.cumsum(present) - 1
        return [row[each] for each in ids], [self._types[number] for number in asked.tolist()]

    def _ids(self, batch: Sequence[Sequence[str]]) -> Indices:
        tokens = list(chain.from_iterable(batch))
        return np.fromiter(map(self._numbers.__getitem__, tokens), np.int64, len(tokens))
