"""Divide a stretch between spaces into words, marks, note marks and sentence ends.

`bank[1]`, `bank;river`, `|bank|`, `bank.[2]` and `bank!She` are one stretch each; here they come
apart. What looks like an address or a smiley stays whole.
"""

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from pipelines.text.marks import mark_class, picture
from pipelines.text.normal_forms import NormalText, is_plain, normal_text
from pipelines.text.sentence_splitter import FINAL_MARKS, Piece, SentenceRules
from pipelines.text.simple_words import SimpleWords

# Marks that are a token of their own wherever they stand, each run of the same mark being one.
_SEPARATORS = "\\[\\](){}<>|~;\u00b9\u00b2\u00b3\u2070\u2074-\u2079" + mark_class()
_SEPARATOR = re.compile(
    rf"{picture()}|([{_SEPARATORS}])\1*|(?<=[^\W\d_][^\W\d_])[/=+\\](?=[^\W\d_]{{2}})"
    r"|(?<=[^\W\d_])[!?]+(?=[^\W\d_])|(?<=[^\W\d_])[-=^]+$|^[-=^]+(?=[^\W\d_])"
    r"|`{2,}|(?<=[^\W\d_])[·‧%^]+(?=[^\W\d_])(?<!l·(?=l))|[‧‰]+$"
    # Marks that belong to short names (C#, R&D, A+, .Net), but to no longer word.
    r"|(?<=[^\W\d_]{3})[&#$\"](?=[^\W\d_]{3})|(?<=[^\W\d_]{3})[&#$%@/\\+]+$"
    r"|^[/\\]+(?=[^\W\d_]+$)|^\.(?=[A-Z][a-z]+$)(?!\.Net$)"
)
_NEEDS_CARE = re.compile(rf"[{_SEPARATORS}/=+^%\\&#$\"@]|[.{FINAL_MARKS}…].|^-.|^\.[A-Z]|.-$")
# [1] [1,2] [12-14] [1]–[3] [4]:12 [a] [^1] and superscripts and daggers: a note, after a word or
# its full stop. Of those with a space inside ([note 2], [citation needed]) each half is one.
# Pictures glued to a sentence end hide it as little.
_NUMBERS = r"\d{1,3}(?:[,\-–]\d{1,3})*"
_NOTE = re.compile(
    rf"(?<=.)(?:\[(?:{_NUMBERS}|[a-z]|\^[\w\-]{{1,32}}|(?:nb|note)\d+)\](?:[,\-–](?=\[)|:\d{{1,4}})?"
    r"|\[(?:nb|note|n|notes|citation|clarification|page|better|original|verification)$"
    r"|[\u00b9\u00b2\u00b3\u2070\u2074-\u2079†‡]+)"
    rf"|(?<=[.{FINAL_MARKS}…])(?:{picture()})+"
)
_NOTE_ALONE = re.compile(
    rf"(?:\[(?:{_NUMBERS}|\^[\w\-]{{1,32}})\](?::\d{{1,4}})?)+$|(?:\d{{1,3}}|needed)\]$"
)
# A sentence end with the next sentence glued to it: "bank!She", "river.The", "है।वह".
_GLUED_END = re.compile(
    r"(?<=[^\W\d_][^\W\d_])(?:[!?]+|\.)[\"'”’»)\]]*(?=[\"'“‘«(\[¿¡]*[^\W\d_])"
    r"|[؟۔।॥။។。！？]+[\"'”’»)」』]*(?=\w)"
)
_LETTERS = re.compile(r"[^\W\d_]+")
_LETTERS_BEFORE = re.compile(r"[^\W\d_]+$")
# Blanks part words here too, and joiners at a word's ends are none of it.
_VISIBLE = re.compile("[^\\s\u200c\u200d](?:\\S*[^\\s\u200c\u200d])?")
_ADDRESS = re.compile(
    r"[(<\[\"'“‘«]*(?:[A-Za-z][A-Za-z0-9+.\-]*://\S|www\.\S|[\w.+\-]+@[\w\-]+(?:\.[\w\-]+)+"
    r"|[\w\-]+(?:\.[\w\-]+)+/\S)"
)


class StretchReader:
    """Takes stretches apart by the rules of a language.

    Args:
      nlp: the spaCy pipeline with the language's tokenizer.
      rules: of its sentences.
    """

    def __init__(self, nlp: Any, rules: SentenceRules) -> None:
        self._tokenizer = nlp.tokenizer
        self._simple = SimpleWords(nlp.tokenizer)
        self._special = frozenset(nlp.tokenizer.rules)
        self._rules = rules

    def read(self, stretch: str) -> tuple[Piece, ...]:
        """Return the pieces of a stretch; offsets count from its beginning."""
        if is_plain(stretch):
            if _NEEDS_CARE.search(stretch):
                return tuple(self._pieces(_Source(stretch, None), stretch, 0))
            return (self._rules.describe(stretch, *self._tokens(stretch)),)
        normal = normal_text(stretch)
        source = _Source(stretch, normal)
        found: list[Piece] = []
        for match in _VISIBLE.finditer(normal.text):
            found += self._pieces(source, match.group(), match.start())
        # Nothing but marks that are not seen: kept as it stands, like any other mark.
        return tuple(found) or (self._rules.describe(stretch, [stretch], [0]),)

    def _pieces(self, source: "_Source", text: str, start: int) -> Iterator[Piece]:
        """Yield the pieces of one word of normal text that begins at `start` of it."""
        if self._is_whole(text):
            yield self._piece(source, text, start)
        elif _NOTE_ALONE.match(text):
            yield self._piece(source, text, start, note=True)
        else:
            position = 0
            for cut, note in self._cuts(text):
                if cut > position:
                    part = text[position:cut]
                    glued = position > 0
                    yield self._piece(source, part, start + position, note=note, glued=glued)
                    position = cut

    def _piece(
        self, source: "_Source", text: str, start: int, *, note: bool = False, glued: bool = False
    ) -> Piece:
        places: list[tuple[int, int]] = []
        words: list[str] = []
        for part, offset in self._parts(text):
            for word, place in zip(*self._tokens(part), strict=True):
                first = start + offset + place
                places.append((first, first + len(word)))
                words.append(word)
        # The rules look for abbreviations among the words in normal form.
        described = self._rules.describe(text, words, [], note=note, glued=glued)
        tokens, offsets = source.tokens_at(places)
        return described._replace(tokens=tokens, offsets=offsets)

    def _tokens(self, text: str) -> tuple[tuple[str, ...], tuple[int, ...]]:
        """Return the tokens of a text and their offsets."""
        known = self._simple.split(text)
        if known is not None:
            return known
        found = [(token.text, token.idx) for token in self._tokenizer(text)]
        words, offsets = zip(*found, strict=True)
        return words, offsets

    def _cuts(self, text: str) -> list[tuple[int, bool]]:
        """Return where the pieces of a word end, in order, and which of them are note marks."""
        cuts: dict[int, bool] = {}
        for match in _NOTE.finditer(text):
            cuts.setdefault(match.start(), False)
            cuts[match.end()] = True
        for match in _GLUED_END.finditer(text):
            if self._begins_sentence(text, match):
                cuts.setdefault(match.end(), False)
        cuts.setdefault(len(text), False)
        return sorted(cuts.items())

    def _begins_sentence(self, text: str, end: re.Match[str]) -> bool:
        following = text[end.end() :].lstrip("\"'“‘«([¿¡")
        if end.group()[0] != ".":
            return end.group()[0] not in "!?" or following[:1].isupper()
        if not text[end.start() - 1].islower():
            return False
        if following[:1].isupper():
            return following[1:2].islower()
        before, word = _LETTERS_BEFORE.search(text, 0, end.start()), _LETTERS.match(following)
        if before is None or word is None or "." in (text[before.start() - 1 : before.start()]):
            return False
        after = following[word.end() :]
        return (not after or not after[0].isalnum()) and self._rules.begins_glued(
            before.group(), word.group()
        )

    def _is_whole(self, text: str) -> bool:
        return text in self._special or _ADDRESS.match(text) is not None

    def _parts(self, text: str) -> Iterator[tuple[str, int]]:
        position = 0
        if not self._is_whole(text):
            for match in _SEPARATOR.finditer(text):
                if match.start() > position:
                    yield text[position : match.start()], position
                yield match.group(), match.start()
                position = match.end()
        if position < len(text):
            yield text[position:], position


class _Source(NamedTuple):
    """A stretch, and its normal form where that is another text."""

    stretch: str
    normal: NormalText | None

    def tokens_at(self, places: list[tuple[int, int]]) -> tuple[tuple[str, ...], tuple[int, ...]]:
        """Return tokens as they stand, and their offsets, by their places in the normal form."""
        if self.normal is None:
            return (
                tuple(self.stretch[first:last] for first, last in places),
                tuple(first for first, _ in places),
            )
        spans: list[tuple[int, int]] = []
        for first, last in places:
            start, end = self.normal.starts[first], self.normal.ends[last - 1]
            if spans and start < spans[-1][1]:  # two tokens of one original character
                start, _ = spans.pop()
            spans.append((start, end))
        return (
            tuple(self.stretch[start:end] for start, end in spans),
            tuple(start for start, _ in spans),
        )
