"""Text -> sentences -> tokens, with offsets in code points. No Beam.

Tokens are those of spaCy's rule-based tokenizers (for Chinese: jieba's words, or characters).
Such a tokenizer treats each stretch between blanks by itself, so its answer per stretch is cached
here, and a text costs one dictionary look-up per stretch. A line break ends a sentence; within a
line, the rules of sentence_ends say from the same stretches where one ends.

A sentence longer than the limit is cut at a token and marked; a stretch longer than
MAX_STRETCH_CHARACTERS is cut before spaCy sees it, whose rules are slow on unbroken text.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Any

from pipelines.errors import UsageError
from pipelines.text.segmenters import blank_pipeline, choose_segmenter
from pipelines.text.sentence_splitter import (
    ALONE,
    CLOSING_STRETCHES,
    ENUMERATOR,
    NO,
    STOP,
    Stretch,
    breaks,
    describe_stretch,
    is_short_form,
)

DEFAULT_MAX_SENTENCE_TOKENS = 256
MAX_STRETCH_CHARACTERS = 256
_PIECE_CHARACTERS = 1 << 16
_CACHE_ENTRIES = 1 << 17
# Raised whenever the same text could give other tokens or sentences than before.
RULES_VERSION = 1

_LINE_BREAK = re.compile("[\n\r\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029]")
_STRETCH = re.compile(r"\S+")
_CJK_SENTENCE = re.compile(r"[^。！？!?…；]*(?:[。！？!?…；]+[”’」』）)\"']*|$)")


@dataclass(frozen=True, slots=True)
class TokenizedSentence:
    """One sentence; text[start:end] is exactly it, and each token exactly its stretch of text.

    Attributes:
      start: code points from the beginning of the document's text.
      end: likewise, exclusive.
      tokens: [T] strings, none empty, none with blanks at its ends.
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


class Tokenizer:
    """Splits a text into sentences and tokens by the rules of a language.

    Args:
      language: a spaCy language code such as "en"; "zh" segments Chinese into words with jieba,
        "zh-char" into characters.
      max_sentence_tokens: longer sentences are cut there.

    Raises:
      UsageError: if there is no such language, it needs a package that is not installed, or the
        limit is not positive.
    """

    def __init__(
        self, language: str = "en", max_sentence_tokens: int = DEFAULT_MAX_SENTENCE_TOKENS
    ) -> None:
        if max_sentence_tokens < 1:
            raise UsageError(f"max_sentence_tokens is {max_sentence_tokens}, expected at least 1")
        self.language = language
        self.max_sentence_tokens = max_sentence_tokens
        self._stretches: dict[str, Stretch] = {}
        self._content: dict[str, bool] = {}
        self._load()

    def _load(self) -> None:
        self._nlp = blank_pipeline(self.language)
        self._stop_words = frozenset(self._nlp.Defaults.stop_words)
        self._segment = choose_segmenter(self.language, self._nlp)

    def __reduce__(self) -> tuple[Any, ...]:
        # Pickled as what it is made from: Beam copies a transform many times, and each process
        # should have one tokenizer with one warm cache.
        return shared_tokenizer, (self.language, self.max_sentence_tokens)

    @property
    def identity(self) -> dict[str, Any]:
        """What decides the tokens; part of a corpus's fingerprint."""
        from importlib.metadata import version

        package = "jieba" if self.language == "zh" else "spacy"
        return {
            "name": package,
            "language": self.language,
            # A patch release is taken to tokenise alike.
            "version": ".".join(version(package).split(".")[:2]),
            "rules": RULES_VERSION,
            "max_sentence_tokens": self.max_sentence_tokens,
        }

    def tokenize(self, text: str) -> list[TokenizedSentence]:
        """Return all sentences of a text, in order."""
        return list(self.sentences(text))

    def sentences(self, text: str) -> Iterator[TokenizedSentence]:
        """Yield the sentences of a text, in order, holding no more than one of them."""
        split = self._split_spaced if self._segment is None else self._split_unspaced
        for start, end in _lines(text):
            yield from split(text, start, end)

    def is_content(self, token: str) -> bool:
        """Say whether a token carries meaning: no stop word, and not only punctuation."""
        known = self._content.get(token)
        if known is None:
            if len(self._content) >= _CACHE_ENTRIES:
                self._content.clear()
            known = token.lower() not in self._stop_words and any(map(str.isalnum, token))
            self._content[token] = known
        return known

    def _split_spaced(self, text: str, start: int, end: int) -> Iterator[TokenizedSentence]:
        tokens: list[str] = []
        starts: list[int] = []
        limit = self.max_sentence_tokens
        ending = NO
        for stretch, position in _stretches(text, start, end):
            known = self._stretches.get(stretch) or self._learn(stretch)
            if ending and tokens:
                if stretch in CLOSING_STRETCHES:
                    tokens.extend(known[0])
                    starts.extend([position + offset for offset in known[1]])
                    continue
                if breaks(ending, known):
                    yield _sentence(tokens, starts)
                    tokens, starts = [], []
            ending = known[2]
            if ending == ENUMERATOR:
                ending = STOP if tokens else NO
            elif ending == ALONE and (not tokens or is_short_form(tokens[-1])):
                ending = NO
            words = known[0]
            if len(words) == 1:
                tokens.append(words[0])
                starts.append(position)
            else:
                tokens.extend(words)
                starts.extend([position + offset for offset in known[1]])
            while len(tokens) > limit:
                yield _sentence(tokens[:limit], starts[:limit], cut=True)
                tokens, starts = tokens[limit:], starts[limit:]
        if tokens:
            yield _sentence(tokens, starts)

    def _split_unspaced(self, text: str, start: int, end: int) -> Iterator[TokenizedSentence]:
        assert self._segment is not None
        for match in _CJK_SENTENCE.finditer(text, start, end):
            tokens: list[str] = []
            starts: list[int] = []
            # Segmenters look at a whole stretch at once; a very long one is cut before.
            for first in range(match.start(), match.end(), 4 * MAX_STRETCH_CHARACTERS):
                last = min(first + 4 * MAX_STRETCH_CHARACTERS, match.end())
                for word, offset in self._segment(text[first:last]):
                    tokens.append(word)
                    starts.append(first + offset)
                while len(tokens) > self.max_sentence_tokens:
                    limit = self.max_sentence_tokens
                    yield _sentence(tokens[:limit], starts[:limit], cut=True)
                    tokens, starts = tokens[limit:], starts[limit:]
            if tokens:
                yield _sentence(tokens, starts)

    def _learn(self, stretch: str) -> Stretch:
        if len(self._stretches) >= _CACHE_ENTRIES:
            # spaCy keeps every string it has ever seen; starting afresh bounds that too.
            self._stretches.clear()
            self._load()
        found = [(token.text, token.idx) for token in self._nlp.tokenizer(stretch)]
        known = describe_stretch(stretch, [text for text, _ in found], [at for _, at in found])
        self._stretches[stretch] = known
        return known


@lru_cache(maxsize=4)
def shared_tokenizer(language: str, max_sentence_tokens: int) -> Tokenizer:
    """Return this process's tokenizer of these settings; its cache lives as long as it does."""
    return Tokenizer(language, max_sentence_tokens)


class PretokenizedText:
    """Reads a text that is in tokens already: a line is a sentence, blanks part the tokens.

    Args:
      language: whose stop words tell content words from others.
      max_sentence_tokens: longer sentences are cut there.
    """

    def __init__(
        self, language: str = "en", max_sentence_tokens: int = DEFAULT_MAX_SENTENCE_TOKENS
    ) -> None:
        self._words = shared_tokenizer(language, max_sentence_tokens)
        self.max_sentence_tokens = max_sentence_tokens

    @property
    def identity(self) -> dict[str, Any]:
        """What decides the tokens; part of a corpus's fingerprint."""
        return {
            "name": "pretokenized",
            "language": self._words.language,
            "rules": RULES_VERSION,
            "max_sentence_tokens": self.max_sentence_tokens,
        }

    def tokenize(self, text: str) -> list[TokenizedSentence]:
        """Return all sentences of a text, in order."""
        return list(self.sentences(text))

    def sentences(self, text: str) -> Iterator[TokenizedSentence]:
        """Yield the sentences of a text, in order."""
        limit = self.max_sentence_tokens
        for start, end in _lines(text):
            tokens: list[str] = []
            starts: list[int] = []
            for match in _STRETCH.finditer(text, start, end):
                if len(tokens) == limit:
                    yield _sentence(tokens, starts, cut=True)
                    tokens, starts = [], []
                tokens.append(match.group())
                starts.append(match.start())
            if tokens:
                yield _sentence(tokens, starts)

    def is_content(self, token: str) -> bool:
        """Say whether a token carries meaning: no stop word, and not only punctuation."""
        return self._words.is_content(token)


def make_tokenizer(identity: dict[str, Any]) -> Tokenizer | PretokenizedText:
    """Return the tokenizer that a corpus was made with, from what its segments say of it.

    Raises:
      UsageError: if it cannot be had here in the same version.
    """
    maker = PretokenizedText if identity["name"] == "pretokenized" else shared_tokenizer
    tokenizer: Tokenizer | PretokenizedText = maker(
        identity["language"], identity["max_sentence_tokens"]
    )
    if tokenizer.identity != identity:
        raise UsageError(
            f"the corpus was tokenised by {identity}, but here is {tokenizer.identity};"
            " install that version, or embed the corpus again"
        )
    return tokenizer


def _sentence(tokens: list[str], starts: list[int], cut: bool = False) -> TokenizedSentence:
    return TokenizedSentence(starts[0], starts[-1] + len(tokens[-1]), tokens, starts, cut)


def _lines(text: str) -> Iterator[tuple[int, int]]:
    start = 0
    for match in _LINE_BREAK.finditer(text):
        if match.start() > start:
            yield start, match.start()
        start = match.end()
    if start < len(text):
        yield start, len(text)


def _stretches(text: str, start: int, end: int) -> Iterator[tuple[str, int]]:
    """Yield (stretch, position) of what stands between blanks, the longest ones cut."""
    for first, last in _pieces(text, start, end):
        piece = text[first:last]
        stretches = piece.split()
        if max(map(len, stretches), default=0) > MAX_STRETCH_CHARACTERS:
            for match in _STRETCH.finditer(text, first, last):
                marks = range(match.start(), match.end() + MAX_STRETCH_CHARACTERS, 256)
                for left, right in pairwise(marks):
                    yield text[left : min(right, match.end())], left
        elif len(" ".join(stretches)) == len(piece):
            # One blank between any two and none at the ends: positions are sums.
            position = first
            for stretch in stretches:
                yield stretch, position
                position += len(stretch) + 1
        else:
            for match in _STRETCH.finditer(text, first, last):
                yield match.group(), match.start()


def _pieces(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Cut a line into pieces of bounded length, at blanks where there are any."""
    while end - start > _PIECE_CHARACTERS:
        cut = text.rfind(" ", start, start + _PIECE_CHARACTERS) + 1
        if cut <= start:
            cut = start + _PIECE_CHARACTERS
        yield start, cut
        start = cut
    yield start, end
