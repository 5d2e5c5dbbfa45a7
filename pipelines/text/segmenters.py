"""Where words begin and end in a language: spaCy's tokenizers, jieba, or characters."""

import re
from collections.abc import Callable, Iterator
from typing import Any

from pipelines.errors import UsageError

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
        message = " ".join(str(error).split())
        raise UsageError(
            f"there is no tokenizer for language {language!r}: {message}"
            " (a spaCy language code is expected, such as en, de or zh)"
        ) from error


def choose_segmenter(language: str, nlp: Any) -> Callable[[str], Iterator[tuple[str, int]]] | None:
    """Return what finds (word, offset) where blanks do not part words; None where blanks do.

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
            " or take --language zh-char"
        ) from error
    import logging

    jieba.setLogLevel(logging.WARNING)

    def words(text: str) -> Iterator[tuple[str, int]]:
        for word, start, _ in jieba.tokenize(text):
            if not word.isspace():
                yield word, start

    return words
