"""Text with blanks between words -> sentences: runs of text, stretches, their pieces, the rules.

A stretch between blanks is taken apart once (pieces.py) and kept, so a text costs one dictionary
look-up per stretch. Tags count as blanks (markup.py), line breaks as the document's layout says
(line_layout.py), and small letters after a full stop as its use of capitals says (letter_case.py).
"""

from collections.abc import Iterator

from pipelines.text.letter_case import is_uncased
from pipelines.text.line_layout import AUTO, WRAPPED, Run, runs_of
from pipelines.text.markup import is_page, without_tags
from pipelines.text.pieces import StretchReader
from pipelines.text.segmenters import blank_pipeline
from pipelines.text.sentence_splitter import (
    ALONE,
    ENUMERATOR,
    INITIAL,
    NO,
    NOTE,
    STOP,
    Piece,
    SentenceRules,
)
from pipelines.text.sentences import TokenizedSentence, sentence_of, stretches_of

_CACHE_ENTRIES = 1 << 17


class SpacedText:
    """Splits text whose words have blanks between them.

    Args:
      language: a spaCy language code.
      max_sentence_tokens: longer sentences are cut there.
      line_breaks: auto, wrapped or lines.
    """

    def __init__(self, language: str, max_sentence_tokens: int, line_breaks: str) -> None:
        self._language = language
        self._limit = max_sentence_tokens
        self._line_breaks = line_breaks
        self._stretches: dict[str, tuple[Piece, ...]] = {}
        self._load()

    def _load(self) -> None:
        nlp = blank_pipeline(self._language)
        self._rules = SentenceRules(self._language, frozenset(nlp.Defaults.stop_words))
        self._reader = StretchReader(nlp, self._rules)

    def sentences(self, text: str) -> Iterator[TokenizedSentence]:
        """Yield the sentences of a text, in order."""
        bare = without_tags(text)
        line_breaks = self._line_breaks
        if line_breaks == AUTO and bare is not text and is_page(text):
            line_breaks = WRAPPED
        uncased = is_uncased(bare)
        tokens: list[str] = []
        starts: list[int] = []
        ending, before = NO, ""
        for run in runs_of(bare, line_breaks):
            if tokens and not run.joined:
                yield sentence_of(tokens, starts)
                tokens, starts, ending = [], [], NO
            for piece, position in self._pieces(bare, run):
                if tokens and ending:
                    if piece.closing or piece.ending == NOTE:
                        tokens.extend(piece.tokens)
                        starts.extend([position + offset for offset in piece.offsets])
                        continue
                    if self._rules.breaks(ending, before, piece, uncased=uncased):
                        yield sentence_of(tokens, starts)
                        tokens, starts = [], []
                if piece.ending != NOTE:
                    ending = piece.ending
                    if ending > STOP:
                        if ending == INITIAL:
                            before = tokens[-1] if tokens else ""
                        ending = self._in_place(piece, tokens, text, position)
                if len(piece.tokens) == 1:
                    tokens.append(piece.tokens[0])
                    starts.append(position + piece.offsets[0])
                else:
                    tokens.extend(piece.tokens)
                    starts.extend([position + offset for offset in piece.offsets])
                while len(tokens) > self._limit:
                    yield sentence_of(tokens[: self._limit], starts[: self._limit], cut=True)
                    tokens, starts = tokens[self._limit :], starts[self._limit :]
        if tokens:
            yield sentence_of(tokens, starts)

    def _pieces(self, text: str, run: Run) -> Iterator[tuple[Piece, int]]:
        """Yield the pieces of a run of text, with the position of their stretch."""
        stretches = self._stretches
        if run.word:
            for piece in self._learn(text[run.start : run.end]):
                yield piece, run.start
            return
        for stretch, position in stretches_of(text, run.start, run.end):
            for piece in stretches.get(stretch) or self._learn(stretch):
                yield piece, position

    def _in_place(self, piece: Piece, tokens: list[str], text: str, position: int) -> int:
        """Return how a piece ends a sentence, given what is before it."""
        if piece.ending == ENUMERATOR:
            return self._rules.after_number() if tokens else NO
        if piece.ending == ALONE:
            if not tokens or self._rules.is_short_form(tokens[-1]):
                return NO
            # After a note mark or a tag the mark belongs to the word all the same.
            if piece.glued or text[position - 1 : position] == ">":
                return STOP
        return piece.ending

    def _learn(self, stretch: str) -> tuple[Piece, ...]:
        if len(self._stretches) >= _CACHE_ENTRIES:
            # spaCy keeps every string it has ever seen; starting afresh bounds that too.
            self._stretches.clear()
            self._load()
        pieces = self._stretches[stretch] = self._reader.read(stretch)
        return pieces
