"""What a tokenizer yields, and how it walks over a text: sentences, lines, stretches."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

MAX_STRETCH_CHARACTERS = 256
_PIECE_CHARACTERS = 1 << 16
_LINE_BREAK = re.compile("[\n\r\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029]")
STRETCH = re.compile(r"\S+")


@dataclass(frozen=True, slots=True)
class TokenizedSentence:
    """One sentence; text[start:end] is exactly it, and each token exactly its stretch of text.

    Attributes:
      start: code points from the beginning of the document's text.
      end: likewise, exclusive.
      tokens: [T] strings, none empty, none with spaces at its ends.
      token_starts: [T] code points from the beginning of the document's text.
      cut: the sentence was longer than the limit and goes on in the next one.
    """

    start: int
    end: int
    tokens: list[str]
    token_starts: list[int]
    cut: bool = False

    @property
    def token_ends(self) -> list[int]:
        """[T] code points, exclusive."""
        return [s + len(t) for s, t in zip(self.token_starts, self.tokens, strict=True)]


def sentence_of(tokens: list[str], starts: list[int], cut: bool = False) -> TokenizedSentence:
    """Return the sentence that some tokens are."""
    return TokenizedSentence(starts[0], starts[-1] + len(tokens[-1]), tokens, starts, cut)


def lines_of(text: str) -> Iterator[tuple[int, int]]:
    """Yield [start, end) of the lines of a text that are not empty."""
    start = 0
    for match in _LINE_BREAK.finditer(text):
        if match.start() > start:
            yield start, match.start()
        start = match.end()
    if start < len(text):
        yield start, len(text)


def stretches_of(text: str, start: int, end: int) -> Iterator[tuple[str, int]]:
    """Yield (stretch, position) of what stands between spaces, the longest ones cut."""
    for first, last in _pieces(text, start, end):
        piece = text[first:last]
        stretches = piece.split()
        if max(map(len, stretches), default=0) > MAX_STRETCH_CHARACTERS:
            for match in STRETCH.finditer(text, first, last):
                marks = range(match.start(), match.end() + MAX_STRETCH_CHARACTERS, 256)
                for left, right in pairwise(marks):
                    yield text[left : min(right, match.end())], left
        elif len(" ".join(stretches)) == len(piece):
            # One space between any two and none at the ends: positions are sums.
            position = first
            for stretch in stretches:
                yield stretch, position
                position += len(stretch) + 1
        else:
            for match in STRETCH.finditer(text, first, last):
                yield match.group(), match.start()


def _pieces(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Cut a line into pieces of bounded length, at spaces where there are any."""
    while end - start > _PIECE_CHARACTERS:
        cut = text.rfind(" ", start, start + _PIECE_CHARACTERS) + 1
        if cut <= start:
            cut = start + _PIECE_CHARACTERS
        yield start, cut
        start = cut
    yield start, end
