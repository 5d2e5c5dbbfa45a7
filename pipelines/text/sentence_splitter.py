"""Rules that decide where a sentence ends.

* `?` `!` `...` and their kin end one, unless the next word begins in lower case;
* so does a full stop, except after an abbreviation or an initial. After those that often end a
  sentence ("Inc.", "usw.", "a.m.") only a capitalised function word begins a new one ("The");
* a mark that stands by itself ends one whatever follows: such text is in tokens, often lower case;
* "No. 5", "Jan. 5", the "1." of an enumeration and, in some languages, "3. Oktober" go on;
* in a document without capitals a full stop ends one before a small letter too.

Version 1 of these rules, which older corpora keep, is in sentence_splitter_1.
"""

import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from pipelines.text.abbreviations import (
    ENGLISH_NAME_INTRODUCERS,
    ENGLISH_OPENERS,
    abbreviations_of,
    words_of,
)

# How a piece may end a sentence, from its last characters.
(NO, STRONG, STOP, NEVER, RARELY, BEFORE_NUMBER, ENUMERATOR, ALONE, INITIAL, ELLIPSIS, ORDINAL,
 LIST_END, NOTE) = range(13)  # fmt: skip
_QUOTES = "\"'“”„‟‘’‚‛«»‹›"
_CLOSERS = _QUOTES + ")]}」』）*_~`"
_OPENERS = _QUOTES + "([{「『（¿¡—–-*_~`#"
CLOSING_PIECES = frozenset({"''", '"', "”", "’", "»", ")", "]", "}", "›"})
_ALONE_MARKS = frozenset(".?!")
# The marks that end a sentence in any script, the full stop and its kin apart.
FINAL_MARKS = "!?。！？؟۔।॥։።‼⁇⁈⁉။។៕།"
_NAMES_OF_DOMAINS = frozenset({"com", "name", "net", "call", "show", "top", "one", "now", "here"})
_DUTCH_CLITICS = frozenset({"'t", "'s", "'n", "'k", "'r", "'m"})
_LETTERS = re.compile(r"(?:[^\W\d_]\.)+[^\W\d_]")  # u.s
_LOWER_OPENERS = words_of(
    """
    i he she it we they you this that these those there then the
    """
)


class Piece(NamedTuple):
    """A stretch between spaces, or a part of one, as the rules need it.

    Attributes:
      tokens: [n] as they stand in the text.
      offsets: [n] code points from the beginning of the stretch.
      ending: how it may end a sentence; NOTE for a note mark, which neither makes nor hides one.
      lower: it begins with a small letter, or with no word at all.
      opener: its first word is a capitalised function word.
      small_opener: its first word is a pronoun or the like, in small letters.
      digit: it begins with a digit.
      closing: it is nothing but a closing quote or bracket.
      mark: it is nothing but a dash, a bullet or the like, which goes with what follows.
      glued: there is no space before it.
    """

    tokens: tuple[str, ...]
    offsets: tuple[int, ...]
    ending: int
    lower: bool
    opener: bool
    small_opener: bool
    digit: bool
    closing: bool
    mark: bool
    glued: bool


class SentenceRules:
    """The rules of one language.

    Args:
      language: code, such as "en".
      stop_words: its function words, in lower case.
      exceptions: tokens that spaCy's tokenizer keeps, abbreviations with their full stop among
        them.
    """

    def __init__(
        self, language: str, stop_words: frozenset[str], exceptions: Iterable[str] = ()
    ) -> None:
        self._known = known = abbreviations_of(language)
        self._abbreviations = frozenset(
            word[:-1].lower() for word in exceptions if word[-1:] == "." and len(word) > 2
        ).union(known.never_final, known.before_number, known.rarely_final, known.list_ends)
        self._language = language
        self._stop_words = stop_words
        self._strong = FINAL_MARKS + (";\u037e" if language == "el" else "")

    def describe(
        self,
        text: str,
        tokens: Sequence[str],
        offsets: Sequence[int],
        *,
        note: bool = False,
        glued: bool = False,
    ) -> Piece:
        """Return what the rules need to know of a piece.

        Args:
          text: of the piece, in normal form.
          tokens: as they stand.
          offsets: of the tokens.
          note: it is a note mark.
          glued: there is no space before it.
        """
        first = text.lstrip(_OPENERS)
        word = first.rstrip(_CLOSERS + ",;:.!?")
        return Piece(
            tuple(tokens),
            tuple(offsets),
            NOTE if note else self._ending(text, tokens),
            (first[:1].islower() and not self._is_clitic(text)) or not first,
            # "А. С. Пушкин": a letter with a full stop is an initial, whatever it means as a word.
            self._opens(word) and not (len(word) == 1 and first[1:2] == "."),
            word in _LOWER_OPENERS,
            first[:1].isdigit(),
            text in CLOSING_PIECES,
            not first and text not in CLOSING_PIECES,
            glued,
        )

    def _opens(self, word: str) -> bool:
        """Say whether a word in capitals can only be the first of a sentence."""
        if self._language == "en":
            return word in ENGLISH_OPENERS
        return word[:1].isupper() and word.lower() in self._stop_words

    def _is_clitic(self, text: str) -> bool:
        """Say whether a word keeps its small letter where a sentence begins: Dutch 't, 's, 'n."""
        return self._language == "nl" and text.lower() in _DUTCH_CLITICS

    def breaks(self, ending: int, before: str, following: Piece, *, uncased: bool) -> bool:
        """Say whether a sentence ends between a piece and the following one.

        Args:
          ending: of the piece.
          before: the last word before an initial, else empty.
          following: the next piece.
          uncased: the document has no capitals.
        """
        if ending == ALONE:
            return True
        if ending in (STRONG, STOP):
            # Without a space only words that can do nothing else begin a piece (begins_glued).
            return uncased or not following.lower or (ending == STOP and following.glued)
        if ending in (ELLIPSIS, LIST_END):
            return not following.lower
        if ending in (RARELY, ORDINAL):
            return following.opener or (uncased and following.small_opener)
        if ending == INITIAL:
            if following.opener or (uncased and following.small_opener):
                return True
            return self._ends_after_letter(before, following)
        if ending == BEFORE_NUMBER:
            return (uncased or not following.lower) and not following.digit
        return False

    def _ends_after_letter(self, before: str, following: Piece) -> bool:
        """Tell the C of "after B comes C. Say it" from that of "by C. Darwin": a small word before
        that introduces no name, and after it a word that is common in small letters."""
        if not before.islower() or before in ENGLISH_NAME_INTRODUCERS or not following.tokens:
            return False
        if before.endswith(".") or following.lower:  # "z. B. die Bank"
            return False
        return following.tokens[0].lower() in self._stop_words

    def is_abbreviation(self, word: str) -> bool:
        """Say whether a word, in small letters, is known to have a full stop of its own."""
        return word in self._abbreviations

    def begins_glued(self, before: str, word: str) -> bool:
        """Say whether a word begins a sentence though a full stop alone parts it from another.

        So does a function word, as in `the bank.then we left`; `bank.com` and `notes.txt` are one.
        """
        if len(before) < 3 or len(word) < 3 or word in _NAMES_OF_DOMAINS:
            return False
        return word in self._stop_words and not self.is_abbreviation(before)

    def is_short_form(self, word: str) -> bool:
        """Say whether a full stop that stands after a word may belong to it, as in `fig . 2`."""
        lower = word.lower()
        if len(word) == 1 and word.isalpha():
            return True
        return lower in self._known.never_final or lower in self._known.before_number

    def _ending(self, text: str, tokens: Sequence[str]) -> int:
        """Say how a piece may end a sentence, were it followed by a fitting next one."""
        if text in _ALONE_MARKS:
            # French has a space before "?" and "!".
            return STRONG if self._language == "fr" and text != "." else ALONE
        bare = text.rstrip(_CLOSERS)
        if not bare:
            return NO
        if bare.endswith("...") or bare[-1] == "…":
            return ELLIPSIS
        if bare[-1] in self._strong:
            return STRONG
        if bare[-1] != ".":
            return NO
        return self._stop(text, bare[:-1].lstrip(_OPENERS), tokens)

    def _stop(self, text: str, word: str, tokens: Sequence[str]) -> int:
        lower = word.lower()
        known = self._known
        bare = lower.rpartition("'")[2]
        if bare in known.never_final or bare in known.before_number:  # l'av. Foch
            lower = bare
        if lower in known.never_final:
            return NEVER
        if len(word) == 1 and word.isupper() and lower not in known.rarely_final:
            return INITIAL  # "P. Smith", though "p. 5"
        if lower in known.list_ends:
            return LIST_END
        if lower in known.before_number or lower.endswith(known.number_suffixes):
            return BEFORE_NUMBER
        if text == f"{word}." and word.isdigit() and len(word) < 4:
            return ENUMERATOR
        if known.ordinals and _is_ordinal(word):
            return ORDINAL
        # Initials ("J.") and whatever spaCy keeps in one token with its full stop ("U.S.").
        if len(word) == 1 and word.isalpha() and lower not in known.rarely_final:
            return INITIAL
        is_abbreviation = len(word) > 1 and (word + "." in tokens or _LETTERS.fullmatch(word))
        if is_abbreviation or lower in known.rarely_final:
            return RARELY
        return STOP

    def after_number(self, before: str) -> int:
        """Return the ending of "12." inside a sentence: in some languages it is "12th".

        Args:
          before: the word before it; after "fig." it is a number like any other.
        """
        numbered = before.rstrip(".").lower() in self._known.before_number
        return ORDINAL if self._known.ordinals and not numbered else STOP

    def is_list_end(self, before: str, word: str) -> bool:
        """Say whether two words are an "etc." written with a space, as `т. д.` and `и пр.` are."""
        return f"{before}{word}".rstrip(".").lower() in self._known.list_ends


def _is_ordinal(word: str) -> bool:
    return len(word) > 1 and all(letter in "IVX" for letter in word)
