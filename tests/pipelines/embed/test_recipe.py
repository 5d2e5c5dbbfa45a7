"""The recipe of rows: what decides its fingerprint and its digest, against hashing by hand."""

import hashlib
import json
from dataclasses import dataclass
from typing import Any

import pytest

from pipelines.embed.options import EmbedOptions, ModelOptions
from pipelines.embed.recipe import Recipe, make_recipe
from pipelines.errors import UsageError
from pipelines.text.tokenizer import Tokenizer

OPTIONS = {
    "layer_weights": [1.0],
    "pooling": "mean",
    "initial_state": "zero",
    "tokenizer": {"name": "spacy"},
    "vector_dtype": "float16",
    "tokens": "all",
}
DECISIVE = ("layer_weights", "pooling", "initial_state", "tokenizer")


def recipe(dim: int = 4, name: str = "m", fingerprint: str = "f", **options: Any) -> Recipe:
    model = {"name": name, "fingerprint": fingerprint}
    return Recipe(model=model, options={**OPTIONS, **options}, dim=dim)


def digest(fields: dict[str, Any]) -> str:
    return hashlib.sha256(
        json.dumps(fields, sort_keys=True, separators=(",", ":")).encode()
    ).hexdigest()


def test_digests_are_hashes_of_what_decides() -> None:
    fingerprint = digest({"model": "f", "dim": 4, **{name: OPTIONS[name] for name in DECISIVE}})
    assert recipe().fingerprint == fingerprint
    stored = {"fingerprint": fingerprint, "vector_dtype": "float16", "tokens": "all"}
    assert recipe().digest == digest(stored)


@pytest.mark.parametrize(
    "changed",
    [
        {"pooling": "max"},
        {"layer_weights": [0.5]},
        {"initial_state": "warm"},
        {"tokenizer": {"name": "lines"}},
        {"dim": 8},
        {"fingerprint": "g"},
    ],
)
def test_what_decides_a_vector_changes_both(changed: dict[str, Any]) -> None:
    assert recipe(**changed).fingerprint != recipe().fingerprint
    assert recipe(**changed).digest != recipe().digest


@pytest.mark.parametrize("changed", [{"vector_dtype": "float32"}, {"tokens": "none"}])
def test_what_is_stored_changes_the_digest_alone(changed: dict[str, Any]) -> None:
    assert recipe(**changed).fingerprint == recipe().fingerprint
    assert recipe(**changed).digest != recipe().digest


def test_path_of_the_model_decides_nothing() -> None:
    assert recipe(name="/elsewhere/m").digest == recipe().digest


@dataclass
class Model:
    """What of a loaded model a recipe looks at."""

    fingerprint: str = "abc"
    n_layers: int = 3
    dim: int = 8
    default_layer_weights: tuple[float, ...] = (0.2, 0.3, 0.5)


def made(layer_weights: Any = None, **options: Any) -> Recipe:
    embedding = EmbedOptions(layer_weights=layer_weights, **options)
    return make_recipe(Model(), ModelOptions(model="m"), embedding, Tokenizer("en"))


@pytest.mark.parametrize(
    ("asked", "weights"),
    [(None, [0.2, 0.3, 0.5]), (1, [0.0, 1.0, 0.0]), ((1.0, -2.0, 0.5), [1.0, -2.0, 0.5])],
)
def test_layer_weights_are_the_models_a_layers_or_those_given(
    asked: Any, weights: list[float]
) -> None:
    assert made(asked).options["layer_weights"] == weights
    assert made(asked).model == {"name": "m", "fingerprint": "abc", "layers": 3}


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        (3, "picks layer 3, but the model m has layers 0 to 2"),
        (-1, "picks layer -1"),
        ((1.0, 2.0), "has 2 numbers, but the model m has 3 layers; give one number per layer"),
        ((0.0, 0.0, 0.0), "expected finite numbers, not all zero"),
        ((float("nan"), 1.0, 1.0), "expected finite numbers"),
    ],
)
def test_layer_weights_that_do_not_fit_are_refused(asked: Any, words: str) -> None:
    with pytest.raises(UsageError) as caught:
        made(asked)
    assert words in str(caught.value)


def test_what_the_model_computes_in_is_told_and_decides_nothing() -> None:
    def computed_in(dtype: str) -> Recipe:
        model = ModelOptions(model="m", dtype=dtype)
        return make_recipe(Model(), model, EmbedOptions(), Tokenizer("en"))

    assert computed_in("int8").options["dtype"] == "int8"
    assert computed_in("int8").digest == computed_in("float32").digest
