"""What spaCy's tokenizer makes of the many words that it leaves whole, or parts from one mark.

spaCy makes a document of each text and looks up attributes of each new word, which takes several
times as long as its rules. `SimpleWords` applies the rules alone, to the words where they are
simple; all others are for spaCy.
"""

from typing import Any


class SimpleWords:
    """Splits words as a spaCy tokenizer does, or says that it cannot.

    Args:
      tokenizer: of a spaCy pipeline.
    """

    def __init__(self, tokenizer: Any) -> None:
        self._special = frozenset(tokenizer.rules)
        self._find = tokenizer.prefix_search, tokenizer.suffix_search, tokenizer.infix_finditer
        self._is_token = tokenizer.token_match
        self._possible = all(find is not None for find in self._find)

    def split(self, word: str) -> tuple[tuple[str, ...], tuple[int, ...]] | None:
        """Return the tokens of a word and their offsets; None if spaCy has to split it.

        A word is simple if it has no special case, no prefix, no infix and at most one suffix.
        """
        if not self._possible or not self._is_plain(word):
            return None
        _, find_suffix, find_infixes = self._find
        suffix = find_suffix(word)
        if suffix is None or suffix.start() == suffix.end():
            return None if any(find_infixes(word)) else ((word,), (0,))
        cut = suffix.start()
        rest, mark = word[:cut], word[cut:]
        if not rest or mark in self._special or not self._is_plain(rest):
            return None
        following = find_suffix(rest)
        if (following is not None and following.group()) or any(find_infixes(rest)):
            return None
        return (rest, mark), (0, cut)

    def _is_plain(self, word: str) -> bool:
        """Say whether no special case and no prefix applies to a word, nor a rule to keep it."""
        if word in self._special or (self._is_token is not None and self._is_token(word)):
            return False
        prefix = self._find[0](word)
        return prefix is None or prefix.start() == prefix.end()
