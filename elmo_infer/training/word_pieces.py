"""A teacher's tokenizer: WordPiece, and the pieces of many words laid out as sentences."""

import json
import unicodedata
from array import array
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

MAX_PIECES = 128
# The names of special pieces. MPNet's come first: its vocabulary has BERT's too, but only reads
# "[UNK]" of these.
_SPECIAL = {
    "start": ("<s>", "[CLS]"),
    "end": ("</s>", "[SEP]"),
    "unknown": ("[UNK]", "<unk>"),
    "padding": ("<pad>", "[PAD]"),
}


class WordPieces:
    """WordPiece (Devlin et al. 2018): a word's pieces, longest match first."""

    def __init__(self, vocabulary: Path, lowercase: bool = True) -> None:
        """Read a vocabulary.

        Args:
          vocabulary: vocab.txt, a piece a line, or tokenizer.json.
          lowercase: the teacher is uncased: lower-case words and drop their accents.

        Raises:
          ValueError: if it is not of WordPiece, or a special piece is missing.
        """
        self._ids = _read_vocabulary(vocabulary)
        self._lowercase = lowercase
        self.start, self.end, self.unknown, self.padding = (
            self._special(vocabulary, names) for names in _SPECIAL.values()
        )
        self._cache: dict[str, list[int]] = {}

    def _special(self, vocabulary: Path, names: tuple[str, ...]) -> int:
        for name in names:
            if name in self._ids:
                return self._ids[name]
        raise ValueError(
            f"{vocabulary} is not a WordPiece vocabulary: found none of {', '.join(names)} among "
            f"its {len(self._ids)} pieces"
        )

    def __call__(self, word: str) -> list[int]:
        """Return the ids of a word's pieces; at least one."""
        found = self._cache.get(word)
        if found is None:
            if len(self._cache) > 500_000:
                self._cache.clear()
            parts = _plain_parts(word, self._lowercase)
            found = [piece for part in parts for piece in self._split(part)]
            self._cache[word] = found = found or [self.unknown]
        return found

    def _split(self, part: str) -> list[int]:
        pieces: list[int] = []
        start = 0
        while start < len(part):
            for end in range(len(part), start, -1):
                piece = part[start:end] if start == 0 else "##" + part[start:end]
                if piece in self._ids:
                    pieces.append(self._ids[piece])
                    start = end
                    break
            else:
                return [self.unknown]
        return pieces


def _read_vocabulary(path: Path) -> dict[str, int]:
    text = path.read_text(encoding="utf-8")
    if path.suffix != ".json":
        return {piece: index for index, piece in enumerate(text.split("\n")) if piece}
    model = json.loads(text).get("model", {})
    if model.get("type", "WordPiece") != "WordPiece" or "vocab" not in model:
        raise ValueError(
            f"{path} describes a tokenizer of kind {model.get('type')!r}; expected WordPiece,"
            " the kind of BERT and MPNet"
        )
    found: dict[str, int] = model["vocab"]
    return found


def _plain_parts(word: str, lowercase: bool) -> list[str]:
    """Lower-case and drop accents, where asked for, and set punctuation apart."""
    plain = word[:100]
    if lowercase:
        plain = unicodedata.normalize("NFD", plain.lower())
    parts = [""]
    for char in plain:
        category = unicodedata.category(char)
        if (lowercase and category == "Mn") or char == "\ufffd" or category.startswith("C"):
            continue
        if category[0] in "PS" or "\u4e00" <= char <= "\u9fff":
            parts += [char, ""]
        else:
            parts[-1] += char
    return [part for part in parts if part]


@dataclass(frozen=True, kw_only=True, eq=False)
class PieceTable:
    """The pieces of many words, one word after the other.

    Attributes:
      pieces: [n] int32 ids.
      starts: [N + 1] int64, where each word's pieces start.
    """

    pieces: np.ndarray
    starts: np.ndarray

    @classmethod
    def of(cls, tokenizer: WordPieces, words: Iterable[str]) -> "PieceTable":
        """Tokenize words."""
        pieces, starts = array("i"), array("q", [0])
        for word in words:
            pieces.extend(tokenizer(word))
            starts.append(len(pieces))
        return cls(pieces=np.array(pieces), starts=np.array(starts))

    @property
    def sizes(self) -> np.ndarray:
        """Return [N] int64: how many pieces each word has."""
        return np.diff(self.starts)

    def arrange(
        self, words: np.ndarray, lengths: np.ndarray, tokenizer: WordPieces
    ) -> tuple[np.ndarray, np.ndarray]:
        """Lay out sentences of words as the encoder reads them.

        Args:
          words: [n] int64 places in the table, sentence after sentence.
          lengths: [B] int64 words in each sentence.
          tokenizer: which pieces begin, end and fill up a sentence.

        Returns:
          [B, S] int64 pieces, the first MAX_PIECES of a sentence, and [B, S] int64 the word among
          the n that each is of, n where it is of none.
        """
        rows = len(lengths)
        first = self.starts[words]
        counts = self.starts[words + 1] - first  # [n]
        row_of_word = np.repeat(np.arange(rows), lengths)
        row_sizes = np.bincount(row_of_word, weights=counts, minlength=rows).astype(np.int64)
        row = np.repeat(np.arange(rows), row_sizes)
        place = np.arange(len(row))
        piece = np.repeat(first - (np.cumsum(counts) - counts), counts) + place
        column = place - np.repeat(np.cumsum(row_sizes) - row_sizes, row_sizes)
        word = np.repeat(np.arange(len(words)), counts)
        kept = column < MAX_PIECES - 2
        sizes = np.minimum(row_sizes, MAX_PIECES - 2)
        ids = np.full((rows, int(sizes.max()) + 2), tokenizer.padding, dtype=np.int64)
        owners = np.full(ids.shape, len(words), dtype=np.int64)
        ids[:, 0] = tokenizer.start
        ids[np.arange(rows), sizes + 1] = tokenizer.end
        ids[row[kept], column[kept] + 1] = self.pieces[piece[kept]]
        owners[row[kept], column[kept] + 1] = word[kept]
        return ids, owners
