"""A sentence transformer as a teacher: BERT states for words, read from a local directory.

The directory is in the layout of sentence-transformers (config.json, model.safetensors,
vocab.txt); all-MiniLM-L6-v2 is the intended one. It is read at training time only: the biLM
that comes out is a biLM.
"""

import json
import unicodedata
from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor

from elmo_infer.transfers import to_device

MAX_PIECES = 128
_NEEDED = ("config.json", "model.safetensors", "vocab.txt")


class WordPieces:
    """Uncased WordPiece (Devlin et al. 2018): a word's pieces, longest match first."""

    def __init__(self, vocabulary: Path) -> None:
        lines = vocabulary.read_text(encoding="utf-8").split("\n")
        self._ids = {piece: index for index, piece in enumerate(lines) if piece}
        self.start, self.end = self._ids["[CLS]"], self._ids["[SEP]"]
        self.unknown, self.padding = self._ids["[UNK]"], self._ids["[PAD]"]
        self._cache: dict[str, list[int]] = {}

    def __call__(self, word: str) -> list[int]:
        """Return the ids of a word's pieces; at least one."""
        found = self._cache.get(word)
        if found is None:
            if len(self._cache) > 500_000:
                self._cache.clear()
            found = [piece for part in _plain_parts(word) for piece in self._split(part)]
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


def _plain_parts(word: str) -> list[str]:
    """Lower-case, drop accents, and set punctuation apart."""
    plain = unicodedata.normalize("NFD", word[:100].lower())
    parts = [""]
    for char in plain:
        category = unicodedata.category(char)
        if category == "Mn" or char == "\ufffd" or category.startswith("C"):
            continue
        if category[0] in "PS" or "\u4e00" <= char <= "\u9fff":
            parts += [char, ""]
        else:
            parts[-1] += char
    return [part for part in parts if part]


def read_teacher_config(directory: Path) -> dict[str, Any]:
    """Read what kind of model a teacher is, and make sure that its files are there.

    Raises:
      FileNotFoundError: if one of its files is missing; the message names it.
      ValueError: if it is not a BERT encoder.
    """
    for name in _NEEDED:
        if not (directory / name).is_file():
            raise FileNotFoundError(
                f"{directory} is no teacher: {name} is missing; expected a sentence-transformers "
                f"directory with {', '.join(_NEEDED)}"
            )
    config: dict[str, Any] = json.loads((directory / "config.json").read_text(encoding="utf-8"))
    if config.get("model_type") != "bert":
        raise ValueError(
            f"{directory}: model_type is {config.get('model_type')!r}; expected 'bert'"
        )
    return config


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

    def arrange(self, words: np.ndarray, tokenizer: WordPieces) -> tuple[np.ndarray, np.ndarray]:
        """Lay out sentences of words as the encoder reads them.

        Args:
          words: [B, T] int64 places in the table.
          tokenizer: which pieces begin, end and fill up a sentence.

        Returns:
          [B, S] int64 pieces, the first MAX_PIECES of a sentence, and [B, S] int64 the word among
          its T that each is of, T where it is of none.
        """
        rows, length = words.shape
        first = self.starts[words].ravel()
        counts = self.starts[words + 1].ravel() - first  # [B * T]
        row_sizes = counts.reshape(rows, length).sum(1)
        row = np.repeat(np.arange(rows), row_sizes)
        place = np.arange(len(row))
        piece = np.repeat(first - (np.cumsum(counts) - counts), counts) + place
        column = place - np.repeat(np.cumsum(row_sizes) - row_sizes, row_sizes)
        word = np.repeat(np.tile(np.arange(length), rows), counts)
        kept = column < MAX_PIECES - 2
        sizes = np.minimum(row_sizes, MAX_PIECES - 2)
        ids = np.full((rows, int(sizes.max()) + 2), tokenizer.padding, dtype=np.int64)
        owners = np.full(ids.shape, length, dtype=np.int64)
        ids[:, 0] = tokenizer.start
        ids[np.arange(rows), sizes + 1] = tokenizer.end
        ids[row[kept], column[kept] + 1] = self.pieces[piece[kept]]
        owners[row[kept], column[kept] + 1] = word[kept]
        return ids, owners


@dataclass(kw_only=True)
class Teacher:
    """A BERT encoder with its weights, in bfloat16 or float32.

    Attributes:
      pieces: the tokenizer.
      weights: under their names in the file.
      heads: attention heads.
      n_layers: transformer layers.
      dim: width of a state.
      dtype: of the matrix products.
    """

    pieces: WordPieces
    weights: dict[str, Tensor]
    heads: int
    n_layers: int
    dim: int
    dtype: torch.dtype

    @classmethod
    def open(
        cls,
        directory: str | Path,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ) -> "Teacher":
        """Read a teacher.

        Args:
          directory: of sentence-transformers.
          dtype: of the matrix products.
          device: where it computes, and where the states are.

        Raises:
          FileNotFoundError: if one of its files is missing; the message names it.
          ValueError: if it is not a BERT encoder.
        """
        path = Path(directory)
        config = read_teacher_config(path)
        weights = load_file(path / "model.safetensors")
        return cls(
            pieces=WordPieces(path / "vocab.txt"),
            weights={
                name: value.to(device, dtype) if value.is_floating_point() else value.to(device)
                for name, value in weights.items()
            },
            heads=int(config["num_attention_heads"]),
            n_layers=int(config["num_hidden_layers"]),
            dim=int(config["hidden_size"]),
            dtype=dtype,
        )

    @property
    def device(self) -> torch.device:
        """Where it computes: where its weights are."""
        return self.weights["embeddings.word_embeddings.weight"].device

    @property
    def middle_layers(self) -> tuple[int, ...]:
        """The two layers in the middle, counted from 1; the only one of a teacher that has one."""
        half = self.n_layers // 2
        return (half, half + 1) if half else (1,)

    def states(
        self, sentences: list[list[str]], layers: Sequence[int] | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return the states of equally long sentences.

        Args:
          sentences: B lists of T words.
          layers: those whose mean is a word's state, counted from 1; by default the last alone.

        Returns:
          Word states [B, T, dim] float32, the mean over each word's pieces (zero for words
          beyond MAX_PIECES), and sentence vectors [B, dim] float32 of length 1, the mean over
          all pieces as the model was trained.
        """
        table = self.table_of(word for words in sentences for word in words)
        return self.states_of(
            table, np.arange(len(table.starts) - 1).reshape(len(sentences), -1), layers
        )

    def table_of(self, words: Iterable[str]) -> PieceTable:
        """Tokenize words that sentences will be made of."""
        return PieceTable.of(self.pieces, words)

    @torch.inference_mode()
    def states_of(
        self, table: PieceTable, words: np.ndarray, layers: Sequence[int] | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return the states of equally long sentences of words from a table; see `states`.

        Args:
          table: of this teacher's pieces.
          words: [B, T] int64 places in the table.
          layers: those whose mean is a word's state.
        """
        rows, length = words.shape
        ids, places = table.arrange(words, self.pieces)
        real = to_device(ids != self.pieces.padding, self.device)
        encoded = self._encode(to_device(ids, self.device), real)
        mean = (encoded[-1].float() * real[:, :, None]).sum(1) / real.sum(1, keepdim=True)
        wanted = layers or (self.n_layers,)
        states = torch.stack([encoded[layer - 1].float() for layer in wanted]).mean(0)
        index = to_device(places, self.device)[:, :, None]
        sums = states.new_zeros(rows, length + 1, self.dim)
        counts = states.new_zeros(rows, length + 1, 1)
        sums.scatter_add_(1, index.expand(-1, -1, self.dim), states)
        counts.scatter_add_(1, index, states.new_ones(*places.shape, 1))
        return (sums / counts.clamp_min(1))[:, :-1], F.normalize(mean, dim=1)

    def _encode(self, ids: Tensor, real: Tensor) -> list[Tensor]:
        """Run the encoder: [B, S] ids and their mask to each layer's [B, S, dim] states."""
        rows, width = ids.shape
        w = self.weights
        x = F.embedding(ids, w["embeddings.word_embeddings.weight"])
        x = x + w["embeddings.position_embeddings.weight"][:width]
        x = x + w["embeddings.token_type_embeddings.weight"][0]
        x = self._norm(x, "embeddings.LayerNorm")
        # Additive, in the type of the products: a boolean mask would take a slower path.
        mask = torch.zeros(rows, 1, 1, width, dtype=self.dtype, device=real.device)
        mask.masked_fill_(~real[:, None, None, :], -1e4)
        encoded = []
        for layer in range(self.n_layers):
            name = f"encoder.layer.{layer}"
            q, k, v = (
                self._linear(x, f"{name}.attention.self.{part}")
                .view(rows, width, self.heads, -1)
                .transpose(1, 2)
                for part in ("query", "key", "value")
            )
            mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
            mixed = mixed.transpose(1, 2).reshape(rows, width, self.dim)
            attended = self._linear(mixed, f"{name}.attention.output.dense")
            x = self._norm(x + attended, f"{name}.attention.output.LayerNorm")
            inner = F.gelu(self._linear(x, f"{name}.intermediate.dense"))
            outer = self._linear(inner, f"{name}.output.dense")
            x = self._norm(x + outer, f"{name}.output.LayerNorm")
            encoded.append(x)
        return encoded

    def _linear(self, x: Tensor, name: str) -> Tensor:
        return F.linear(x, self.weights[f"{name}.weight"], self.weights[f"{name}.bias"])

    def _norm(self, x: Tensor, name: str) -> Tensor:
        weight, bias = self.weights[f"{name}.weight"], self.weights[f"{name}.bias"]
        return F.layer_norm(x, (self.dim,), weight, bias, 1e-12)
