"""Text -> sentences -> tokens, with offsets in code points. No Beam.

Tokens are those of spaCy's rule-based tokenizers (for Chinese: jieba's words, or characters).
Such a tokenizer treats each stretch between blanks by itself, so its answer per stretch is cached
here, and a text costs one dictionary look-up per stretch. Sentences are found from the same
stretches by a few rules:

* a line break ends a sentence;
* `?` `!` `...` and their kin end one, unless the next word begins in lower case;
* so does a full stop, except after an abbreviation or an initial. After those that often end a
  sentence ("Inc.", "U.S.", "a.m.") only a capitalised function word begins a new one ("The", "He");
* a mark that stands by itself ends one whatever follows: such text is in tokens, often lower case;
* "No. 5", "p. 12", "Jan. 5" and the "1." of an enumeration go on.

A sentence longer than the limit is cut at a token and marked; a stretch longer than
MAX_STRETCH_CHARACTERS is cut before spaCy sees it, whose rules are slow on unbroken text.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Any

from pipelines.errors import UsageError

DEFAULT_MAX_SENTENCE_TOKENS = 256
MAX_STRETCH_CHARACTERS = 256
_PIECE_CHARACTERS = 1 << 16
_CACHE_ENTRIES = 1 << 17
# Raised whenever the same text could give other tokens or sentences than before.
RULES_VERSION = 1

_LINE_BREAK = re.compile("[\n\r\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029]")
_STRETCH = re.compile(r"\S+")
_CJK_SENTENCE = re.compile(r"[^。！？!?…；]*(?:[。！？!?…；]+[”’」』）)\"']*|$)")
_CJK_CHARACTER = re.compile(r"[A-Za-z0-9\u00c0-\u024f]+|\S")


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


# How a stretch may end a sentence, from its last characters.
_NO, _STRONG, _STOP, _NEVER, _RARELY, _BEFORE_NUMBER, _ENUMERATOR, _ALONE = range(8)
_CLOSERS = "\"'”’»)]}"
_OPENERS = "\"'“‘«([{¿¡—–-"
_CLOSING_STRETCHES = frozenset({"''", "”", "’", "»", ")", "]", "}"})
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


# What is known of a stretch: tokens, their offsets, how it may end a sentence, whether it begins
# in lower case, whether its first word is one of _STARTERS, whether it begins with a digit.
_Stretch = tuple[tuple[str, ...], tuple[int, ...], int, bool, bool, bool]


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
        self._stretches: dict[str, _Stretch] = {}
        self._content: dict[str, bool] = {}
        self._load()

    def _load(self) -> None:
        self._nlp = _blank(self.language)
        self._stop_words = frozenset(self._nlp.Defaults.stop_words)
        self._segment = _segmenter(self.language, self._nlp)

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
        ending = _NO
        for stretch, position in _stretches(text, start, end):
            known = self._stretches.get(stretch) or self._learn(stretch)
            if ending and tokens:
                if stretch in _CLOSING_STRETCHES:
                    tokens.extend(known[0])
                    starts.extend([position + offset for offset in known[1]])
                    continue
                if _breaks(ending, known):
                    yield _sentence(tokens, starts)
                    tokens, starts = [], []
            ending = known[2]
            if ending == _ENUMERATOR:
                ending = _STOP if tokens else _NO
            elif ending == _ALONE and (not tokens or _is_short_form(tokens[-1])):
                ending = _NO
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

    def _learn(self, stretch: str) -> _Stretch:
        if len(self._stretches) >= _CACHE_ENTRIES:
            # spaCy keeps every string it has ever seen; starting afresh bounds that too.
            self._stretches.clear()
            self._load()
        found = [(token.text, token.idx) for token in self._nlp.tokenizer(stretch)]
        tokens = tuple(text for text, _ in found)
        first = stretch.lstrip(_OPENERS)
        known: _Stretch = (
            tokens,
            tuple(offset for _, offset in found),
            _ending(stretch, tokens),
            first[:1].islower() or not first,
            first.rstrip(_CLOSERS + ",;:.") in _STARTERS,
            first[:1].isdigit(),
        )
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


def _breaks(ending: int, following: _Stretch) -> bool:
    _, _, _, lower, starter, digit = following
    if ending == _ALONE:
        return True
    if ending in (_STRONG, _STOP):
        return not lower
    if ending == _RARELY:
        return starter
    if ending == _BEFORE_NUMBER:
        return not lower and not digit
    return False


def _ending(stretch: str, tokens: Sequence[str]) -> int:
    """Say how a stretch may end a sentence, were it followed by a fitting next one."""
    if stretch in _ALONE_MARKS:
        return _ALONE
    bare = stretch.rstrip(_CLOSERS)
    if not bare:
        return _NO
    if bare[-1] in _STRONG_MARKS or bare.endswith("..."):
        return _STRONG
    if bare[-1] != ".":
        return _NO
    word = bare[:-1].lstrip(_OPENERS)
    lower = word.lower()
    if lower in _NEVER_FINAL:
        return _NEVER
    if lower in _BEFORE_NUMBERS:
        return _BEFORE_NUMBER
    if stretch == f"{word}." and word.isdigit() and len(word) < 4:
        return _ENUMERATOR
    # Initials ("J.", "U.S.") and whatever spaCy keeps in one token with its full stop.
    is_initial = len(word) == 1 and word.isalpha()
    is_abbreviation = len(word) > 1 and word + "." in tokens
    if is_initial or is_abbreviation or lower in _RARELY_FINAL:
        return _RARELY
    return _STOP


def _is_short_form(word: str) -> bool:
    """Say whether a full stop that stands after a word may belong to it, as in `fig . 2`."""
    lower = word.lower()
    return (len(word) == 1 and word.isalpha()) or lower in _NEVER_FINAL | _BEFORE_NUMBERS


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


def _blank(language: str) -> Any:
    import spacy

    try:
        return spacy.blank("zh" if language == "zh-char" else language)
    except ImportError as error:
        message = " ".join(str(error).split())
        raise UsageError(
            f"there is no tokenizer for language {language!r}: {message}"
            " (a spaCy language code is expected, such as en, de or zh)"
        ) from error


def _segmenter(language: str, nlp: Any) -> Callable[[str], Iterator[tuple[str, int]]] | None:
    """Return what finds words where blanks do not part them; None where blanks do."""
    if language == "zh-char":
        return lambda text: ((m.group(), m.start()) for m in _CJK_CHARACTER.finditer(text))
    if language == "zh":
        return _jieba_words()
    if type(nlp.tokenizer).__module__ == "spacy.tokenizer":  # the rule-based one
        return None
    return lambda text: ((t.text, t.idx) for t in nlp.make_doc(text) if not t.is_space)


def _jieba_words() -> Callable[[str], Iterator[tuple[str, int]]]:
    try:
        import jieba
    except ImportError as error:
        raise UsageError(
            "language 'zh' needs jieba, which is not installed: pip install 'sensegrep[zh]',"
            " or take --language zh-char"
        ) from error
    import logging

    jieba.setLogLevel(logging.WARNING)

    def words(text: str) -> Iterator[tuple[str, int]]:
        for word, start, _ in jieba.tokenize(text):
            if not word.isspace():
                yield word, start

    return words
