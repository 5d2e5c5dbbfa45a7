"""Text -> sentences -> tokens, with offsets in code points. No Beam.

Tokens are those of spaCy's rule-based tokenizers, marks glued to words apart (for Chinese: jieba's
words, or characters). Token and sentence rules have a version; a corpus says which made it, and is
read, searched and added to by that version.
"""

from collections.abc import Iterator
from functools import lru_cache
from typing import Any, Protocol

from pipelines.errors import UsageError
from pipelines.text.line_layout import AUTO, LINE_BREAK_CHOICES
from pipelines.text.normal_forms import form_rule
from pipelines.text.segmenters import UnspacedText, blank_pipeline, choose_segmenter
from pipelines.text.sentences import STRETCH, TokenizedSentence, lines_of, sentence_of
from pipelines.text.spaced_text import SpacedText
from pipelines.text.spaced_text_1 import SpacedTextVersion1

DEFAULT_MAX_SENTENCE_TOKENS = 256
_CACHE_ENTRIES = 1 << 17
# Raised whenever the same text could give other tokens, forms or sentences than before; what the
# older versions do is kept, for the corpora that they made.
RULES_VERSION = 2


class _Splitter(Protocol):
    def sentences(self, text: str) -> Iterator[TokenizedSentence]: ...


class Tokenizer:
    """Splits a text into sentences and tokens by the rules of a language.

    Args:
      language: a spaCy language code such as "en"; "zh" segments Chinese into words with jieba,
        "zh-char" into characters.
      max_sentence_tokens: longer sentences are cut there.
      line_breaks: what a line break is: auto (each document decides), wrapped (a space within a
        paragraph) or lines (the end of a sentence).
      rules: version of the rules.

    Raises:
      UsageError: if there is no such language, it needs a package that is not installed, or the
        limit is not positive.
    """

    def __init__(
        self,
        language: str = "en",
        max_sentence_tokens: int = DEFAULT_MAX_SENTENCE_TOKENS,
        line_breaks: str = AUTO,
        rules: int = RULES_VERSION,
    ) -> None:
        if max_sentence_tokens < 1:
            raise UsageError(f"max_sentence_tokens is {max_sentence_tokens}, expected at least 1")
        if line_breaks not in LINE_BREAK_CHOICES:
            raise UsageError(
                f"line_breaks is {line_breaks!r}, expected one of {', '.join(LINE_BREAK_CHOICES)}"
            )
        self.language = language
        self.max_sentence_tokens = max_sentence_tokens
        self.line_breaks = line_breaks
        self.rules = rules
        self._form = form_rule(rules)
        self._content: dict[str, bool] = {}
        nlp = blank_pipeline(language)
        self._stop_words = frozenset(nlp.Defaults.stop_words)
        self._splitter = self._choose_splitter(nlp)

    def _choose_splitter(self, nlp: Any) -> _Splitter:
        segment = choose_segmenter(self.language, nlp)
        if segment is not None:
            return UnspacedText(segment, self.max_sentence_tokens, tags=self.rules > 1)
        if self.rules == 1:
            return SpacedTextVersion1(self.language, self.max_sentence_tokens)
        return SpacedText(self.language, self.max_sentence_tokens, self.line_breaks, nlp)

    def __reduce__(self) -> tuple[Any, ...]:
        # Pickled as what it is made from: Beam copies a transform many times, and each process
        # should have one tokenizer with one warm cache.
        made_from = (self.language, self.max_sentence_tokens, self.line_breaks, self.rules)
        return shared_tokenizer, made_from

    @property
    def identity(self) -> dict[str, Any]:
        """What decides the tokens; part of a corpus's fingerprint."""
        from importlib.metadata import version

        package = "jieba" if self.language == "zh" else "spacy"
        identity = {
            "name": package,
            "language": self.language,
            # A patch release is taken to tokenize alike.
            "version": ".".join(version(package).split(".")[:2]),
            "rules": self.rules,
            "max_sentence_tokens": self.max_sentence_tokens,
        }
        return identity if self.rules == 1 else {**identity, "line_breaks": self.line_breaks}

    def of_rules(self, rules: int) -> "Tokenizer":
        """Return the tokenizer of the same settings by another version of the rules."""
        return shared_tokenizer(self.language, self.max_sentence_tokens, self.line_breaks, rules)

    def tokenize(self, text: str) -> list[TokenizedSentence]:
        """Return all sentences of a text, in order."""
        return list(self.sentences(text))

    def sentences(self, text: str) -> Iterator[TokenizedSentence]:
        """Yield the sentences of a text, in order, holding no more than one of them."""
        return self._splitter.sentences(text)

    def form(self, token: str) -> str:
        """Return the form of a token that the model reads and the index counts."""
        return self._form(token)

    def is_content(self, token: str) -> bool:
        """Say whether a token carries meaning: no stop word, and not only punctuation."""
        known = self._content.get(token)
        if known is None:
            if len(self._content) >= _CACHE_ENTRIES:
                self._content.clear()
            form = self._form(token)
            known = not self.is_stop_word(form) and any(map(str.isalnum, form))
            self._content[token] = known
        return known

    def is_stop_word(self, form: str) -> bool:
        """Say whether a form is a function word of the language."""
        return form.lower() in self._stop_words


@lru_cache(maxsize=4)
def shared_tokenizer(
    language: str,
    max_sentence_tokens: int,
    line_breaks: str = AUTO,
    rules: int = RULES_VERSION,
) -> Tokenizer:
    """Return this process's tokenizer of these settings; its cache lives as long as it does."""
    return Tokenizer(language, max_sentence_tokens, line_breaks, rules)


class PretokenizedText:
    """Reads a text that is in tokens already: a line is a sentence, spaces separate the tokens.

    Args:
      language: whose stop words tell content words from others.
      max_sentence_tokens: longer sentences are cut there.
      rules: version of the rules.
    """

    def __init__(
        self,
        language: str = "en",
        max_sentence_tokens: int = DEFAULT_MAX_SENTENCE_TOKENS,
        rules: int = RULES_VERSION,
    ) -> None:
        self._words = shared_tokenizer(language, max_sentence_tokens, rules=rules)
        self.language = language
        self.max_sentence_tokens = max_sentence_tokens
        self.rules = rules

    @property
    def identity(self) -> dict[str, Any]:
        """What decides the tokens; part of a corpus's fingerprint."""
        return {
            "name": "pretokenized",
            "language": self.language,
            "rules": self.rules,
            "max_sentence_tokens": self.max_sentence_tokens,
        }

    def of_rules(self, rules: int) -> "PretokenizedText":
        """Return the same by another version of the rules."""
        return PretokenizedText(self.language, self.max_sentence_tokens, rules)

    def tokenize(self, text: str) -> list[TokenizedSentence]:
        """Return all sentences of a text, in order."""
        return list(self.sentences(text))

    def sentences(self, text: str) -> Iterator[TokenizedSentence]:
        """Yield the sentences of a text, in order."""
        limit = self.max_sentence_tokens
        for start, end in lines_of(text):
            tokens: list[str] = []
            starts: list[int] = []
            for match in STRETCH.finditer(text, start, end):
                if len(tokens) == limit:
                    yield sentence_of(tokens, starts, cut=True)
                    tokens, starts = [], []
                tokens.append(match.group())
                starts.append(match.start())
            if tokens:
                yield sentence_of(tokens, starts)

    def form(self, token: str) -> str:
        """Return the form of a token that the model reads and the index counts."""
        return self._words.form(token)

    def is_content(self, token: str) -> bool:
        """Say whether a token carries meaning: no stop word, and not only punctuation."""
        return self._words.is_content(token)

    def is_stop_word(self, form: str) -> bool:
        """Say whether a form is a function word of the language."""
        return self._words.is_stop_word(form)


def make_tokenizer(identity: dict[str, Any]) -> Tokenizer | PretokenizedText:
    """Return the tokenizer that a corpus was made with, from what its segments say of it.

    Raises:
      UsageError: if it cannot be had here in the same version.
    """
    rules = identity["rules"]
    if not 1 <= rules <= RULES_VERSION:
        raise UsageError(
            f"the corpus was tokenized with version {rules} of the token rules, but this"
            f" sensegrep has versions 1 to {RULES_VERSION}; install the newer sensegrep that"
            " made the corpus"
        )
    language, limit = identity["language"], identity["max_sentence_tokens"]
    tokenizer: Tokenizer | PretokenizedText
    if identity["name"] == "pretokenized":
        tokenizer = PretokenizedText(language, limit, rules)
    else:
        tokenizer = shared_tokenizer(language, limit, identity.get("line_breaks", AUTO), rules)
    if tokenizer.identity != identity:
        raise UsageError(
            f"the corpus was tokenized with {identity}, but {tokenizer.identity} is installed;"
            " install that version, or embed the documents into a new corpus"
        )
    return tokenizer
