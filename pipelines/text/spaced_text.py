"""Text with spaces between words -> sentences: runs of text, stretches, their pieces, the rules.

A stretch between spaces is taken apart once (pieces.py) and kept, so a text costs one dictionary
look-up per stretch. Tags count as spaces (markup.py), line breaks as the document's layout says
(line_layout.py), and small letters after a full stop as its use of capitals says (letter_case.py).
"""

from collections.abc import Iterable, Iterator
from typing import Any

from pipelines.text.letter_case import is_uncased
from pipelines.text.line_layout import AUTO, WRAPPED, Run, runs_of
from pipelines.text.markup import is_page, without_tags
from pipelines.text.pieces import StretchReader
from pipelines.text.quoted_lines import without_line_marks
from pipelines.text.segmenters import blank_pipeline
from pipelines.text.sentence_splitter import (
    ALONE,
    ENUMERATOR,
    INITIAL,
    LIST_END,
    NEVER,
    NO,
    NOTE,
    RARELY,
    STOP,
    Piece,
    SentenceRules,
)
from pipelines.text.sentences import TokenizedSentence, sentence_of, stretches_of

_CACHE_ENTRIES = 1 << 17


class SpacedText:
    """Splits text whose words have spaces between them.

    Args:
      language: a spaCy language code.
      max_sentence_tokens: longer sentences are cut there.
      line_breaks: auto, wrapped or lines.
      nlp: a fresh pipeline of the language; its caches are its own from here on.
    """

    def __init__(self, language: str, max_sentence_tokens: int, line_breaks: str, nlp: Any) -> None:
        self._language = language
        self._limit = max_sentence_tokens
        self._line_breaks = line_breaks
        self._stretches: dict[str, tuple[Piece, ...]] = {}
        self._load(nlp)

    def _load(self, nlp: Any) -> None:
        self._rules = SentenceRules(
            self._language, frozenset(nlp.Defaults.stop_words), nlp.tokenizer.rules
        )
        self._reader = StretchReader(nlp, self._rules)

    def sentences(self, text: str) -> Iterator[TokenizedSentence]:
        """Yield the sentences of a text, in order."""
        bare = without_line_marks(without_tags(text))
        line_breaks = self._line_breaks
        if line_breaks == AUTO and is_page(text):
            line_breaks = WRAPPED
        uncased = is_uncased(bare, self._rules.is_abbreviation)
        limit, known = self._limit, self._stretches
        tokens: list[str] = []
        starts: list[int] = []
        ending, before = NO, ""
        end = -1  # of the sentence, where marks such as a dash were read behind it
        for run in runs_of(bare, line_breaks):
            if tokens and not run.joined:
                yield sentence_of(tokens, starts)
                tokens, starts, ending, end = [], [], NO, -1
            # A loop without calls: each stretch of a text passes here.
            for stretch, position in _stretches(text, bare, run):
                for piece in known.get(stretch) or self._learn(stretch):
                    words, offsets, own = piece[0], piece[1], piece[2]
                    if own or ending:
                        if ending and tokens:
                            if piece.closing or own == NOTE:
                                tokens += words
                                starts += [position + offset for offset in offsets]
                                continue
                            if piece.mark and not own:
                                end = len(tokens) if end < 0 else end
                                tokens += words
                                starts += [position + offset for offset in offsets]
                                continue
                            if self._rules.breaks(ending, before, piece, uncased=uncased):
                                end = len(tokens) if end < 0 else end
                                yield sentence_of(tokens[:end], starts[:end])
                                tokens, starts = tokens[end:], starts[end:]
                            end = -1
                        if own != NOTE:
                            if own == INITIAL:
                                before = tokens[-1] if tokens else ""
                            ending = (
                                own
                                if own <= STOP
                                else self._in_place(piece, tokens, text, position)
                            )
                    if len(words) == 1:
                        tokens.append(words[0])
                        starts.append(position + offsets[0])
                    else:
                        tokens += words
                        starts += [position + offset for offset in offsets]
                    while len(tokens) > limit:
                        yield sentence_of(tokens[:limit], starts[:limit], cut=True)
                        tokens, starts, end = tokens[limit:], starts[limit:], -1
        if tokens:
            yield sentence_of(tokens, starts)

    def _in_place(self, piece: Piece, tokens: list[str], text: str, position: int) -> int:
        """Return how a piece ends a sentence, given what is before it."""
        if piece.ending == ENUMERATOR:
            return self._rules.after_number(_last_word(tokens)) if tokens else NO
        if piece.ending == ALONE:
            if not tokens or self._rules.is_short_form(tokens[-1]):
                return NO
            # After a note mark or a tag the mark belongs to the word all the same.
            if piece.glued or text[position - 1 : position] == ">":
                return STOP
        spaced = tokens and piece.ending in (RARELY, NEVER)
        if spaced and self._rules.is_list_end(_last_word(tokens), piece.tokens[0]):
            return LIST_END
        return piece.ending

    def _learn(self, stretch: str) -> tuple[Piece, ...]:
        if len(self._stretches) >= _CACHE_ENTRIES:
            # spaCy keeps every string it has ever seen; starting afresh bounds that too.
            self._stretches.clear()
            self._load(blank_pipeline(self._language))
        pieces = self._stretches[stretch] = self._reader.read(stretch)
        return pieces


def _last_word(tokens: list[str]) -> str:
    """Return the last token, with its full stop where that is a token of its own."""
    return "".join(tokens[-2:]) if tokens[-1] == "." else tokens[-1]


def _stretches(text: str, bare: str, run: Run) -> Iterable[tuple[str, int]]:
    """Return the stretches of a run of text with their positions.

    Args:
      text: of the document.
      bare: the same with spaces for tags and marks of lines.
      run: of it.
    """
    if run.word:
        return ((text[run.start : run.end], run.start),)
    return stretches_of(bare, run.start, run.end)
