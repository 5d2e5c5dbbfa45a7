"""The recipe of a document's rows: model, layer mix, pooling, tokenizer; its fingerprint."""

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pipelines.embed.options import EmbedOptions, ModelOptions
from pipelines.errors import UsageError
from pipelines.text.tokenizer import PretokenizedText, Tokenizer


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """All that decides the rows of a document, as segment.json records it.

    Attributes:
      model: {"name", "fingerprint", "layers"}.
      options: {"layer_weights", "pooling", "initial_state", "tokenizer", "vector_dtype", "tokens",
        "dtype"}; dtype, what the model computes in, is told and decides nothing. It is auto where
        each worker of an engine takes what its own device is fastest in.
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
      model: how it was asked for, with the dtype that it has where that is known.
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
            "dtype": model.dtype,
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
            f" {elmo.n_layers} layers; give one number per layer"
        )
    if not all(map(math.isfinite, asked)) or not any(asked):
        raise UsageError(f"--layer-weights is {asked}; expected finite numbers, not all zero")
    return asked


def _digest(fields: Mapping[str, Any]) -> str:
    text = json.dumps(fields, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()
