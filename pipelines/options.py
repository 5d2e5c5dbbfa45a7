"""The settings of `embed`, checked before any worker starts. No Beam."""

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pipelines.errors import UsageError
from pipelines.tokenization import (
    DEFAULT_MAX_SENTENCE_TOKENS,
    PretokenizedText,
    Tokenizer,
    shared_tokenizer,
)

TOKEN_CHOICES = ("all", "content", "none")
VECTOR_DTYPES = ("float16", "float32")
POOLINGS = ("attention", "mean", "max")


@dataclass(frozen=True, kw_only=True)
class InputOptions:
    """How records of the input become documents.

    Attributes:
      id_field: the field with the id; None takes `id` where there is one, and otherwise
        the record's place. A field that is named must be there.
      text_field: the field with the text.
      lines: in .txt files each line is a document, instead of each file.
    """

    id_field: str | None = None
    text_field: str = "text"
    lines: bool = False

    def __post_init__(self) -> None:
        if not self.text_field or self.id_field == "":
            raise UsageError("--id-field and --text-field need the name of a field; one is empty")
        if self.id_field == self.text_field:
            raise UsageError(f"--id-field and --text-field are both {self.text_field!r}")


@dataclass(frozen=True, kw_only=True)
class ModelOptions:
    """Which model, and where it runs.

    Attributes:
      model: a bundled name, a path or an fsspec URL.
      device: auto, cpu, cuda or cuda:N.
      dtype: what it computes in.
      initial_state: zero or warm.
      max_tokens_per_batch: tokens embedded together; bounds memory, changes no vector.
    """

    model: str = "en-small"
    device: str = "auto"
    dtype: str = "float32"
    initial_state: str = "zero"
    max_tokens_per_batch: int = 8192

    def __post_init__(self) -> None:
        if self.max_tokens_per_batch < 1:
            raise UsageError(
                f"--max-tokens-per-batch is {self.max_tokens_per_batch}, expected at least 1"
            )
        if self.initial_state not in ("zero", "warm"):
            raise UsageError(f"--initial-state is {self.initial_state!r}, expected zero or warm")


@dataclass(frozen=True, kw_only=True)
class EmbedOptions:
    """What a document's rows in a corpus are made from.

    Attributes:
      layer_weights: [L] coefficients of the layers, used as given; a single integer picks that
        layer; None for the model's own.
      pooling: attention, mean or max.
      language: of the tokeniser.
      pretokenized: the texts are tokens already, parted by blanks, a sentence a line.
      max_sentence_tokens: longer sentences are cut there.
      tokens: whose vectors are stored: all, content (no stop words, no punctuation) or none.
      vector_dtype: precision in which vectors are stored.
    """

    layer_weights: tuple[float, ...] | int | None = None
    pooling: str = "attention"
    language: str = "en"
    pretokenized: bool = False
    max_sentence_tokens: int = DEFAULT_MAX_SENTENCE_TOKENS
    tokens: str = "content"
    vector_dtype: str = "float16"

    def __post_init__(self) -> None:
        _check_choice("--pooling", self.pooling, POOLINGS)
        _check_choice("--tokens", self.tokens, TOKEN_CHOICES)
        _check_choice("--vector-dtype", self.vector_dtype, VECTOR_DTYPES)
        if self.max_sentence_tokens < 1:
            raise UsageError(
                f"--max-sentence-tokens is {self.max_sentence_tokens}, expected at least 1"
            )

    def make_tokenizer(self) -> Tokenizer | PretokenizedText:
        """Return the tokeniser these options ask for.

        Raises:
          UsageError: if there is none for the language.
        """
        maker = PretokenizedText if self.pretokenized else shared_tokenizer
        return maker(self.language, self.max_sentence_tokens)


@dataclass(frozen=True, kw_only=True)
class JobOptions:
    """How an embedding job runs; none of it changes what a document's rows are.

    Attributes:
      commit_every: documents to a segment, after which the work is safe.
      workers: processes; 1 embeds in this one, with all cores.
      prune: documents of the corpus that are not in the input are tombstoned at the end.
      max_reject_fraction: the job fails when more of what it read than this was rejected.
      row_group_bytes: vectors to a Parquet row group.
    """

    commit_every: int = 2000
    workers: int = 1
    prune: bool = False
    max_reject_fraction: float = 0.5
    row_group_bytes: int = 8 << 20

    def __post_init__(self) -> None:
        for name in ("commit_every", "workers", "row_group_bytes"):
            if getattr(self, name) < 1:
                flag = "--" + name.replace("_", "-")
                raise UsageError(f"{flag} is {getattr(self, name)}, expected at least 1")
        if not 0 <= self.max_reject_fraction <= 1:
            raise UsageError(
                f"--max-reject-fraction is {self.max_reject_fraction}, expected 0 to 1"
            )


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """All that decides the rows of a document, as segment.json records it.

    Attributes:
      model: {"name", "fingerprint", "layers"}.
      options: {"layer_weights", "pooling", "initial_state", "tokenizer", "vector_dtype", "tokens"}.
      dim: width D of the vectors.
    """

    model: Mapping[str, Any]
    options: Mapping[str, Any]
    dim: int

    @property
    def fingerprint(self) -> str:
        """Of what decides a vector, its stored precision apart; queries are compared by it."""
        decisive = ("layer_weights", "pooling", "initial_state", "tokenizer")
        return _digest(
            {
                "model": self.model["fingerprint"],
                "dim": self.dim,
                **{name: self.options[name] for name in decisive},
            }
        )

    @property
    def digest(self) -> str:
        """Of everything; a document made by another recipe is embedded anew."""
        stored = {name: self.options[name] for name in ("vector_dtype", "tokens")}
        return _digest({"fingerprint": self.fingerprint, **stored})


def make_recipe(
    elmo: Any, model: ModelOptions, options: EmbedOptions, tokenizer: Tokenizer | PretokenizedText
) -> Recipe:
    """State what rows will be made from.

    Args:
      elmo: the loaded model (name, fingerprint, n_layers, dim, default_layer_weights).
      model: how it was asked for.
      options: of the job.
      tokenizer: of the job.

    Raises:
      UsageError: if the layer weights do not fit the model.
    """
    weights = _layer_weights(options.layer_weights, elmo, model.model)
    return Recipe(
        model={"name": model.model, "fingerprint": elmo.fingerprint, "layers": elmo.n_layers},
        options={
            "layer_weights": [float(weight) for weight in weights],
            "pooling": options.pooling,
            "initial_state": model.initial_state,
            "tokenizer": tokenizer.identity,
            "vector_dtype": options.vector_dtype,
            "tokens": options.tokens,
        },
        dim=elmo.dim,
    )


def _layer_weights(
    asked: tuple[float, ...] | int | None, elmo: Any, model: str
) -> tuple[float, ...]:
    if asked is None:
        return tuple(elmo.default_layer_weights)
    if isinstance(asked, int):
        if not 0 <= asked < elmo.n_layers:
            raise UsageError(
                f"--layer-weights picks layer {asked}, but the model {model} has layers 0 to"
                f" {elmo.n_layers - 1}"
            )
        return tuple(float(layer == asked) for layer in range(elmo.n_layers))
    if len(asked) != elmo.n_layers:
        raise UsageError(
            f"--layer-weights has {len(asked)} numbers, but the model {model} has"
            f" {elmo.n_layers} layers; give one number a layer"
        )
    if not all(map(math.isfinite, asked)) or not any(asked):
        raise UsageError(f"--layer-weights is {asked}; expected finite numbers, not all zero")
    return asked


def _check_choice(flag: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise UsageError(f"{flag} is {value!r}, expected one of {', '.join(choices)}")


def _digest(fields: Mapping[str, Any]) -> str:
    text = json.dumps(fields, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()
