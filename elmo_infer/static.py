"""Static encoders: one vector per word form, the same in every context. The baselines.

Read from the word2vec formats (elmo_infer/word2vec_format.py), or from an NNLM directory as
elmo_infer.training.nnlm writes it:

  nnlm.json             {"format": "nnlm", "version": 1, "context", "hidden", "direct", "unknown",
                         "vocabulary": [word, ...], ...}
  weights.safetensors   "embedding" [V, D] float32, and the layers that predict the next word

A word that is not in the vocabulary gets the vector of the model's own unknown word if it has one
(the NNLM has learned it), else the zero vector. unknown_tokens counts them.
"""

import hashlib
import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import numpy.typing as npt
import torch

from elmo_infer.arguments import check_layer_weights, check_pooling, check_sentences
from elmo_infer.formats.safetensors_file import read_safetensors
from elmo_infer.formats.word2vec import read_word2vec, starts_like_word2vec
from elmo_infer.pooling import attention_pool, max_pool, mean_pool
from elmo_infer.reading import Pooling
from elmo_infer.results import EmbedResult

logger = logging.getLogger(__name__)

Floats = npt.NDArray[np.float32]
Sentences = Sequence[Sequence[str]]

NNLM_FILE = "nnlm.json"
NNLM_WEIGHTS = "weights.safetensors"


@dataclass(kw_only=True, eq=False)
class StaticEncoder:
    """A table of word vectors with the interface of elmo_infer.embedder.Elmo.

    Attributes:
      name: as it was asked for.
      words: the vocabulary, V words.
      vectors: [V, D] float32.
      unknown: [D] float32, the vector of words outside the vocabulary; zeros if the model has none.
      lowercase_fallback: try a word's lower-cased form before calling it unknown.
      dim: D.
      n_layers: 1.
      fingerprint: hex digest of all of the above but the name.
    """

    name: str
    words: Sequence[str]
    vectors: Floats
    unknown: Floats | None = None
    lowercase_fallback: bool = False
    dtype: str = "float32"
    n_layers: int = field(default=1, init=False)
    default_layer_weights: tuple[float, ...] = field(default=(1.0,), init=False)
    pooling: Pooling = field(default_factory=Pooling, init=False)
    device: torch.device = field(default_factory=lambda: torch.device("cpu"), init=False)

    def __post_init__(self) -> None:
        self.dim = self.vectors.shape[1]
        extra = np.zeros(self.dim, np.float32) if self.unknown is None else self.unknown
        # The row after the last word is that of the unknown.
        self._table = np.concatenate([self.vectors, extra[None]]).astype(np.float32, copy=False)
        self.vectors, self.unknown = self._table[:-1], self._table[-1]
        self._rows = {word: row for row, word in enumerate(self.words)}
        self.fingerprint = self._digest()

    def layers(self, sentences: Sentences) -> list[npt.NDArray[np.floating]]:
        """Return the vectors of every token: per sentence [1, T, D], float32 or self.dtype.

        Raises:
          TypeError: if a token is not a string.
        """
        check_sentences(sentences)
        return [self._table[self._ids(each)][None].astype(self.dtype) for each in sentences]

    def embed(
        self,
        sentences: Sentences,
        layer_weights: Sequence[float] | None = None,
        pooling: str = "attention",
        focus: Sequence[int | None] | None = None,
    ) -> EmbedResult:
        """Return token vectors and one pooled vector per sentence, as Elmo.embed does.

        The one layer's coefficient scales the vectors. There is no learned query: without a focus,
        attention asks with the sentence's mean token vector.

        Raises:
          TypeError: if a token is not a string.
          ValueError: if layer_weights, pooling or focus cannot be meant; says what could.
        """
        lengths = check_sentences(sentences)
        weights = self.default_layer_weights if layer_weights is None else layer_weights
        (coefficient,) = check_layer_weights(weights, 1)
        check_pooling(pooling, focus, lengths)
        offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        ids = [row for sentence in sentences for row in self._ids(sentence)]
        vectors = self._table[np.array(ids, dtype=np.int64)] * np.float32(coefficient)
        pooled, attention = self._pool(vectors, lengths, pooling, focus, offsets)
        return EmbedResult(
            token_vectors=vectors,
            offsets=offsets,
            sentence_vectors=pooled.numpy(),
            attention=attention.numpy(),
        )

    def unknown_tokens(self, sentences: Sentences) -> int:
        """Count the tokens that are not in the vocabulary."""
        return sum(row == len(self.words) for each in sentences for row in self._ids(each))

    def _ids(self, sentence: Sequence[str]) -> list[int]:
        outside = len(self.words)
        if not self.lowercase_fallback:
            return [self._rows.get(token, outside) for token in sentence]
        return [self._rows.get(token, self._rows.get(token.lower(), outside)) for token in sentence]

    def _pool(
        self,
        vectors: Floats,
        lengths: npt.NDArray[np.int64],
        pooling: str,
        focus: Sequence[int | None] | None,
        offsets: npt.NDArray[np.int64],
    ) -> tuple[torch.Tensor, torch.Tensor]:
        tokens = torch.from_numpy(vectors)
        if pooling == "mean":
            return mean_pool(tokens, lengths)
        if pooling == "max":
            return max_pool(tokens, lengths)
        queries = mean_pool(tokens, lengths)[0]
        for index, position in enumerate(focus or ()):
            if position is not None:
                queries[index] = tokens[offsets[index] + position]
        return attention_pool(tokens, lengths, queries)

    def _digest(self) -> str:
        digest = hashlib.sha256()
        digest.update(json.dumps([list(self.words), self.lowercase_fallback]).encode())
        digest.update(np.ascontiguousarray(self._table, dtype="<f4").tobytes())
        return digest.hexdigest()


def is_static_model(location: str) -> bool:
    """Tell whether a path or URL is an NNLM directory or begins like a word2vec file."""
    fs, path = fsspec.url_to_fs(str(location))
    if fs.isdir(path):
        return bool(fs.exists(f"{path.rstrip('/')}/{NNLM_FILE}"))
    if not fs.exists(path):
        return False
    with fs.open(path, "rb") as file:
        return starts_like_word2vec(file.read(4096))


def load_static(
    location: str | Path,
    *,
    device: str = "auto",
    dtype: str = "float32",
    lowercase_fallback: bool = False,
) -> StaticEncoder:
    """Load a baseline.

    Args:
      location: a word2vec file (text or binary, plain or .gz) or an NNLM directory; path or URL.
      device: "auto" or "cpu": a static encoder only looks vectors up.
      dtype: of what layers() returns, "float32" or "float64".
      lowercase_fallback: try a word's lower-cased form before calling it unknown.

    Raises:
      ValueError: if a file cannot be read, is a pickle, or an option cannot be meant.
    """
    if device not in ("auto", "cpu"):
        raise ValueError(
            f"device is {device!r}, but {location} is a static encoder, which runs on the CPU"
            " only; use 'cpu' or 'auto'"
        )
    if dtype not in ("float32", "float64"):
        raise ValueError(f"unknown dtype {dtype!r}; expected float32 or float64")
    name = str(location)
    fs, path = fsspec.url_to_fs(name)
    unknown = None
    if fs.isdir(path):
        words, vectors, unknown = _read_nnlm(name, fs, path.rstrip("/"))
    else:
        words, vectors = read_word2vec(name)
    logger.info("loaded %s: %d words of %d dimensions", name, *vectors.shape)
    return StaticEncoder(
        name=name,
        words=words,
        vectors=vectors,
        unknown=unknown,
        lowercase_fallback=lowercase_fallback,
        dtype=dtype,
    )


def _read_nnlm(name: str, fs: Any, path: str) -> tuple[list[str], Floats, Floats]:
    """Read vocabulary and embedding; the unknown word is a row of its own and no word."""
    where = f"{name}/{NNLM_FILE}"
    try:
        settings = json.loads(fs.cat_file(f"{path}/{NNLM_FILE}"))
        words, unknown = settings["vocabulary"], settings["unknown"]
        found = (settings["format"], settings["version"])
    except (json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError) as error:
        raise ValueError(f"{where}: not the settings of an NNLM: {error!r}") from error
    if found != ("nnlm", 1):
        raise ValueError(f"{where}: format and version are {found}; expected ('nnlm', 1)")
    if unknown not in words or len(set(words)) != len(words):
        raise ValueError(
            f"{where}: the vocabulary must hold each word once, and the unknown word {unknown!r};"
            " use the files as `sensegrep train nnlm` wrote them"
        )
    where = f"{name}/{NNLM_WEIGHTS}"
    tensors = read_safetensors(fs.cat_file(f"{path}/{NNLM_WEIGHTS}"), where)
    table = tensors.get("embedding")
    if table is None or table.ndim != 2 or len(table) != len(words):
        found_shape = "no such tensor" if table is None else f"shape {table.shape}"
        raise ValueError(
            f"{where}: tensor 'embedding': found {found_shape}, expected [{len(words)}, D], one "
            "row per word of the vocabulary"
        )
    table = table.astype(np.float32)
    row = words.index(unknown)
    kept = [word for word in words if word != unknown]
    return kept, np.delete(table, row, axis=0), table[row]
