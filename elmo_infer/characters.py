"""Spelling: a token becomes character ids.

The official scheme works on UTF-8 bytes. With C = 50 and ids as the rows of the weights file:
byte b -> b, BOS 256, EOS 257, begin-of-word 258, end-of-word 259, padding 260. So

    "a"  ->  258  97 259 260 260 ...
    ""   ->  258 259 260 260 260 ...
    "<S>" -> 258 256 259 260 260 ...   (the mark that starts every sentence)

The reference adds 1 to all of these, to keep 0 for masked positions; nothing is masked here, so
nothing is added.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

BOS, EOS = 256, 257
BEGIN_OF_WORD, END_OF_WORD = 258, 259
PADDING = 260
N_BYTE_CHARACTERS = 261


@dataclass(frozen=True, kw_only=True)
class Spellings:
    """Spelled tokens.

    Attributes:
      character_ids: [N, W] int64, W = the longest spelling here, padded with `padding`.
      lengths: [N] int64, characters of each token before its padding, markers included.
      word_ids: [N] int64, or None where the model has no word vectors.
    """

    character_ids: npt.NDArray[np.int64]
    lengths: npt.NDArray[np.int64]
    word_ids: npt.NDArray[np.int64] | None = None


class Speller(Protocol):
    """How a family of models spells its tokens."""

    start: str  # the token that stands before every sentence
    end: str  # the token that stands after it
    padding: int

    def key(self, token: str) -> str:
        """Return a token of bounded length that is spelled as `token` is."""
        ...

    def spell(self, tokens: Sequence[str]) -> Spellings:
        """Spell N tokens."""
        ...


class ByteSpeller:
    """The official scheme: UTF-8 bytes, the first `max_characters` - 2 of them.

    Lone surrogates have no bytes and vanish. Cutting may split a code point. Nothing is
    lower-cased or normalised.
    """

    start = "<S>"
    end = "</S>"
    padding = PADDING

    def __init__(self, max_characters: int) -> None:
        self.max_bytes = max_characters - 2
        self._marks = {self.start: (BOS,), self.end: (EOS,)}

    def key(self, token: str) -> str:
        if len(token) <= self.max_bytes:
            return token
        spoken = "".join(char for char in token if not "\ud800" <= char <= "\udfff")
        # The surrogate has no bytes; it keeps "<S>" and 50 surrogates from becoming the mark.
        return "\ud800" + spoken[: self.max_bytes]

    def spell(self, tokens: Sequence[str]) -> Spellings:
        spelled: list[bytes | tuple[int, ...]] = [
            self._marks.get(token) or token.encode("utf-8", "ignore")[: self.max_bytes]
            for token in tokens
        ]
        return Spellings(
            **_surround(spelled, before=BEGIN_OF_WORD, after=END_OF_WORD, padding=PADDING)
        )


class DictionarySpeller:
    """ELMoForManyLangs' scheme: code points through a dictionary, and a word id beside them.

    Its markers are swapped (the slot before the characters holds <eow>, the one after them
    <bow>), in training as well, so this copies it. A sentence mark is its own id alone between
    the markers. The word is looked up as it is left after truncation.
    """

    start = "<bos>"
    end = "<eos>"

    def __init__(
        self,
        max_characters: int,
        character_to_id: Mapping[str, int],
        word_to_id: Mapping[str, int] | None,
    ) -> None:
        self.max_points = max_characters - 2
        self.padding = character_to_id["<pad>"]
        self._characters = character_to_id
        self._words = word_to_id

    def key(self, token: str) -> str:
        return token[: self.max_points]

    def spell(self, tokens: Sequence[str]) -> Spellings:
        characters, unknown = self._characters, self._characters["<oov>"]
        spelled = [
            (characters[token],)
            if token in (self.start, self.end)
            else tuple(characters.get(char, unknown) for char in token[: self.max_points])
            for token in tokens
        ]
        words = self._words
        word_ids = None
        if words is not None:
            word_ids = np.fromiter(
                (words.get(token[: self.max_points], words["<oov>"]) for token in tokens),
                dtype=np.int64,
                count=len(tokens),
            )
        return Spellings(
            **_surround(
                spelled,
                before=characters["<eow>"],
                after=characters["<bow>"],
                padding=self.padding,
            ),
            word_ids=word_ids,
        )


def _surround(
    spelled: Sequence[bytes | tuple[int, ...]], *, before: int, after: int, padding: int
) -> dict[str, npt.NDArray[np.int64]]:
    """Lay N spellings out as rows [before, characters.., after, padding..]."""
    inner = np.fromiter(map(len, spelled), dtype=np.int64, count=len(spelled))
    flat = np.fromiter(
        (char for one in spelled for char in one), dtype=np.int64, count=int(inner.sum())
    )
    width = int(inner.max(initial=0)) + 2
    rows = np.full((len(spelled), width), padding, dtype=np.int64)
    rows[:, 0] = before
    columns = np.arange(width - 2)
    rows[:, 1:-1][columns < inner[:, None]] = flat
    rows[np.arange(len(spelled)), inner + 1] = after
    return {"character_ids": rows, "lengths": inner + 2}
