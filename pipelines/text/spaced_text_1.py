"""Version 1 of the rules for text with spaces between words, for older corpora.

A line break ends a sentence, stretches between spaces are spaCy's to take apart, and the sentence
rules are those of English (sentence_splitter_1).
"""

from collections.abc import Iterator

from pipelines.text.segmenters import blank_pipeline
from pipelines.text.sentence_splitter_1 import (
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
from pipelines.text.sentences import TokenizedSentence, lines_of, sentence_of, stretches_of

_CACHE_ENTRIES = 1 << 17


class SpacedTextVersion1:
    """Splits text by version 1 of the rules.

    Args:
      language: a spaCy language code.
      max_sentence_tokens: longer sentences are cut there.
    """

    def __init__(self, language: str, max_sentence_tokens: int) -> None:
        self._language = language
        self._limit = max_sentence_tokens
        self._stretches: dict[str, Stretch] = {}
        self._nlp = blank_pipeline(language)

    def sentences(self, text: str) -> Iterator[TokenizedSentence]:
        """Yield the sentences of a text, in order."""
        for start, end in lines_of(text):
            yield from self._split_line(text, start, end)

    def _split_line(self, text: str, start: int, end: int) -> Iterator[TokenizedSentence]:
        tokens: list[str] = []
        starts: list[int] = []
        ending = NO
        for stretch, position in stretches_of(text, start, end):
            known = self._stretches.get(stretch) or self._learn(stretch)
            if ending and tokens:
                if stretch in CLOSING_STRETCHES:
                    tokens.extend(known[0])
                    starts.extend([position + offset for offset in known[1]])
                    continue
                if breaks(ending, known):
                    yield sentence_of(tokens, starts)
                    tokens, starts = [], []
            ending = known[2]
            if ending == ENUMERATOR:
                ending = STOP if tokens else NO
            elif ending == ALONE and (not tokens or is_short_form(tokens[-1])):
                ending = NO
            tokens.extend(known[0])
            starts.extend([position + offset for offset in known[1]])
            while len(tokens) > self._limit:
                yield sentence_of(tokens[: self._limit], starts[: self._limit], cut=True)
                tokens, starts = tokens[self._limit :], starts[self._limit :]
        if tokens:
            yield sentence_of(tokens, starts)

    def _learn(self, stretch: str) -> Stretch:
        if len(self._stretches) >= _CACHE_ENTRIES:
            # spaCy keeps every string it has ever seen; starting afresh bounds that too.
            self._stretches.clear()
            self._nlp = blank_pipeline(self._language)
        found = [(token.text, token.idx) for token in self._nlp.tokenizer(stretch)]
        known = describe_stretch(stretch, [text for text, _ in found], [at for _, at in found])
        self._stretches[stretch] = known
        return known
