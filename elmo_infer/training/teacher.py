"""A sentence transformer as a teacher: states for words, read from a local directory.

The directory is in the layout of sentence-transformers (config.json, model.safetensors, vocab.txt
or tokenizer.json) and holds a BERT or an MPNet encoder; all-mpnet-base-v2 is the intended one. It
is read at training time only: the biLM that comes out is a biLM.
"""

import hashlib
import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor

from elmo_infer.training.word_pieces import PieceTable, WordPieces
from elmo_infer.transfers import to_device

_NEEDED = ("config.json", "model.safetensors")
_VOCABULARIES = ("vocab.txt", "tokenizer.json")
_KINDS = ("bert", "mpnet")
# MPNet's names for what BERT has too.
_MPNET_NAMES = {
    ".attention.attn.q.": ".attention.self.query.",
    ".attention.attn.k.": ".attention.self.key.",
    ".attention.attn.v.": ".attention.self.value.",
    ".attention.attn.o.": ".attention.output.dense.",
    ".attention.LayerNorm.": ".attention.output.LayerNorm.",
}
_FIRST_POSITION = {"bert": 0, "mpnet": 2}  # MPNet's first two rows are of padding
_FURTHEST = 128  # words apart; further ones share MPNet's last bucket


def read_teacher_config(directory: Path) -> dict[str, Any]:
    """Read what kind of model a teacher is, and make sure that its files are there.

    Raises:
      FileNotFoundError: if one of its files is missing; the message names it.
      ValueError: if it is neither a BERT nor an MPNet encoder.
    """
    for name in _NEEDED:
        if not (directory / name).is_file():
            raise FileNotFoundError(
                f"{directory} is not a teacher: {name} is missing; expected a"
                " sentence-transformers "
                f"directory with {', '.join(_NEEDED)} and {' or '.join(_VOCABULARIES)}"
            )
    vocabulary_of(directory)
    config: dict[str, Any] = json.loads((directory / "config.json").read_text(encoding="utf-8"))
    if config.get("model_type") not in _KINDS:
        raise ValueError(
            f"{directory}: model_type is {config.get('model_type')!r}; expected one of "
            f"{', '.join(map(repr, _KINDS))}"
        )
    return config


def vocabulary_of(directory: Path) -> Path:
    """Return the file of a teacher's pieces.

    Raises:
      FileNotFoundError: if there is none.
    """
    for name in _VOCABULARIES:
        if (directory / name).is_file():
            return directory / name
    raise FileNotFoundError(
        f"{directory} is not a teacher: it has neither {' nor '.join(_VOCABULARIES)}; expected"
        " one of "
        "them beside config.json"
    )


def is_uncased(directory: Path) -> bool:
    """Say whether a teacher lower-cases what it reads, by tokenizer_config.json; most do."""
    path = directory / "tokenizer_config.json"
    if not path.is_file():
        return True
    return bool(json.loads(path.read_text(encoding="utf-8")).get("do_lower_case", True))


@dataclass(kw_only=True)
class Teacher:
    """A BERT or MPNet encoder with its weights, in bfloat16 or float32.

    Attributes:
      pieces: the tokenizer.
      weights: under BERT's names.
      heads: attention heads.
      n_layers: transformer layers.
      dim: width of a state.
      dtype: of the matrix products.
      epsilon: of the layer norms.
      first_position: row of the position embeddings where a sentence starts.
      digest: SHA-256 of its files, in hex.
    """

    pieces: WordPieces
    weights: dict[str, Tensor]
    heads: int
    n_layers: int
    dim: int
    dtype: torch.dtype
    epsilon: float = 1e-12
    first_position: int = 0
    digest: str = ""

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
          ValueError: if it is neither a BERT nor an MPNet encoder.
        """
        path = Path(directory)
        config = read_teacher_config(path)
        digest = hashlib.sha256()
        vocabulary = vocabulary_of(path)
        for name in (path / "config.json", path / "model.safetensors", vocabulary):
            with open(name, "rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
        weights = {
            _bert_name(name): one for name, one in load_file(path / "model.safetensors").items()
        }
        return cls(
            pieces=WordPieces(vocabulary, is_uncased(path)),
            weights={
                name: value.to(device, dtype) if value.is_floating_point() else value.to(device)
                for name, value in weights.items()
            },
            heads=int(config["num_attention_heads"]),
            n_layers=int(config["num_hidden_layers"]),
            dim=int(config["hidden_size"]),
            dtype=dtype,
            epsilon=float(config.get("layer_norm_eps", 1e-12)),
            first_position=_FIRST_POSITION[config["model_type"]],
            digest=digest.hexdigest(),
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
        lengths = np.array([len(words) for words in sentences])
        words, whole = self.states_of(table, np.arange(len(table.starts) - 1), lengths, layers)
        return words.view(len(sentences), -1, self.dim), whole

    def table_of(self, words: Iterable[str]) -> PieceTable:
        """Tokenize words that sentences will be made of."""
        return PieceTable.of(self.pieces, words)

    @torch.inference_mode()
    def states_of(
        self,
        table: PieceTable,
        words: np.ndarray,
        lengths: np.ndarray,
        layers: Sequence[int] | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Return the states of sentences of words from a table; see `states`.

        Args:
          table: of this teacher's pieces.
          words: [n] int64 places in the table, sentence after sentence.
          lengths: [B] int64 words in each sentence.
          layers: those whose mean is a word's state.

        Returns:
          [n, dim] word states and [B, dim] sentence vectors.
        """
        ids, places = table.arrange(words, lengths, self.pieces)
        real = to_device(ids != self.pieces.padding, self.device)
        wanted = layers or (self.n_layers,)
        last, states = self._encode(to_device(ids, self.device), real, wanted)
        mean = (last.float() * real[:, :, None]).sum(1) / real.sum(1, keepdim=True)
        index = to_device(places.ravel(), self.device)
        sums = states.new_zeros(len(words) + 1, self.dim)
        counts = states.new_zeros(len(words) + 1, 1)
        sums.index_add_(0, index, states.view(-1, self.dim))
        counts.index_add_(0, index, states.new_ones(len(index), 1))
        return (sums / counts.clamp_min(1))[:-1], F.normalize(mean, dim=1)

    def _encode(self, ids: Tensor, real: Tensor, wanted: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Run the encoder.

        Args:
          ids: [B, S] pieces.
          real: [B, S], which of them are no padding.
          wanted: layers, counted from 1.

        Returns:
          [B, S, dim] the last layer's states, and the mean of those wanted in float32.
        """
        rows, width = ids.shape
        w = self.weights
        x = F.embedding(ids, w["embeddings.word_embeddings.weight"])
        x = x + w["embeddings.position_embeddings.weight"][self.first_position :][:width]
        if "embeddings.token_type_embeddings.weight" in w:
            x = x + w["embeddings.token_type_embeddings.weight"][0]
        x = self._norm(x, "embeddings.LayerNorm")
        mask = self._mask(real)
        total: Tensor | None = None
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
            if layer + 1 in wanted:
                total = x.float() if total is None else total + x.float()
        assert total is not None, "no layer of this teacher was asked for"
        return x, total / len(wanted)

    def _mask(self, real: Tensor) -> Tensor:
        """Return what is added to attention's scores: padding's, and MPNet's distances.

        Additive, in the type of the products: a boolean mask would take a slower path.
        """
        rows, width = real.shape
        mask = torch.zeros(rows, 1, 1, width, dtype=self.dtype, device=real.device)
        mask.masked_fill_(~real[:, None, None, :], -1e4)
        table = self.weights.get("encoder.relative_attention_bias.weight")
        if table is None:
            return mask
        buckets = distance_buckets(width, len(table)).to(real.device)
        return mask + table[buckets].permute(2, 0, 1)

    def _linear(self, x: Tensor, name: str) -> Tensor:
        return F.linear(x, self.weights[f"{name}.weight"], self.weights[f"{name}.bias"])

    def _norm(self, x: Tensor, name: str) -> Tensor:
        weight, bias = self.weights[f"{name}.weight"], self.weights[f"{name}.bias"]
        return F.layer_norm(x, (self.dim,), weight, bias, self.epsilon)


def distance_buckets(width: int, count: int) -> Tensor:
    """Return [width, width] int64: the bucket of each place's distance to each other.

    As MPNet and T5 have it (Raffel et al. 2020, section 2.1): half the buckets for places behind,
    half for those before; the nearest have one each, further ones share theirs logarithmically.

    Args:
      width: places.
      count: buckets.
    """
    place = torch.arange(width)
    ahead = place[None, :] - place[:, None]
    half = count // 2
    near = half // 2
    far = ahead.abs()
    scale = (half - near) / math.log(_FURTHEST / near)
    shared = near + (torch.log(far.clamp_min(1).float() / near) * scale).long()
    bucket = torch.where(far < near, far, shared.clamp_max(half - 1))
    return bucket + half * (ahead > 0)


def _bert_name(name: str) -> str:
    for theirs, ours in _MPNET_NAMES.items():
        name = name.replace(theirs, ours)
    return name
