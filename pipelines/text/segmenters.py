"""Find words: spaCy's tokenizers, jieba, or characters."""

import re
from collections.abc import Callable, Iterator
from typing import Any

from pipelines.errors import UsageError
from pipelines.text.markup import without_tags
from pipelines.text.sentences import (
    MAX_STRETCH_CHARACTERS,
    TokenizedSentence,
    lines_of,
    sentence_of,
)

_CJK_SENTENCE = re.compile(r"[^。！？!?…；]*(?:[。！？!?…；]+[”’」』）)\"']*|$)")
_CJK_CHARACTER = re.compile(r"[A-Za-z0-9\u00c0-\u024f]+|\S")


def blank_pipeline(language: str) -> Any:
    """Return the spaCy pipeline of a language that has a tokenizer and nothing else.

    Raises:
      UsageError: if there is none.
    """
    import spacy

    try:
        return spacy.blank("zh" if language == "zh-char" else language)
    except ImportError as error:
        raise UsageError(
            f"there is no tokenizer for --language {language}; expected an ISO 639-1 code that"
            f" spaCy has, such as en, de or zh ({' '.join(str(error).split())})"
        ) from error


def choose_segmenter(language: str, nlp: Any) -> Callable[[str], Iterator[tuple[str, int]]] | None:
    """Return what finds (word, offset) in text without spaces between words, else None.

    Raises:
      UsageError: if it needs a package that is not installed.
    """
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
            " or use --language zh-char"
        ) from error
    import logging

    jieba.setLogLevel(logging.WARNING)

    def words(text: str) -> Iterator[tuple[str, int]]:
        for word, start, _ in jieba.tokenize(text):
            if not word.isspace():
                yield word, start

    return words


class UnspacedText:
    """Splits text of a language without spaces between words; a line break ends a sentence.

    Args:
      segment: finds (word, offset) in a text.
      max_sentence_tokens: longer sentences are cut there.
      tags: tags of HTML and XML are no words (version 2 of the rules).
    """

    def __init__(
        self,
        segment: Callable[[str], Iterator[tuple[str, int]]],
        max_sentence_tokens: int,
        *,
        tags: bool,
    ) -> None:
        self._segment = segment
        self._limit = max_sentence_tokens
        self._tags = tags

    def sentences(self, text: str) -> Iterator[TokenizedSentence]:
        """Yield the sentences of a text, in order."""
        bare = without_tags(text) if self._tags else text
        for start, end in lines_of(bare):
            yield from self._split_line(bare, start, end)

    def _split_line(self, text: str, start: int, end: int) -> Iterator[TokenizedSentence]:
        for match in _CJK_SENTENCE.finditer(text, start, end):
            tokens: list[str] = []
            starts: list[int] = []
            # Segmenters look at a whole stretch at once; a very long one is cut before.
            for first in range(match.start(), match.end(), 4 * MAX_STRETCH_CHARACTERS):
                last = min(first + 4 * MAX_STRETCH_CHARACTERS, match.end())
                for word, offset in self._segment(text[first:last]):
                    tokens.append(word)
                    starts.append(first + offset)
                while len(tokens) > self._limit:
                    yield sentence_of(tokens[: self._limit], starts[: self._limit], cut=True)
                    tokens, starts = tokens[self._limit :], starts[self._limit :]
            if tokens:
                yield sentence_of(tokens, starts)
