"""ELMoForManyLangs: random models against a slow one written from the format's description."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from elmo_infer import load

CHARACTERS = ["<oov>", "<bos>", "<eos>", "<pad>", "<bow>", "<eow>", *"bankrive", "天", "é"]
WORDS = ["<oov>", "<bos>", "<eos>", "<pad>", "bank", "天氣", "x" * 48]
FILTERS = [[1, 3], [2, 4], [5, 2]]
E, WORD, CELL, P = 4, 3, 6, 5
F = sum(count for _, count in FILTERS)
SENTENCES = [
    ["bank", "river", "天氣", "é天"],
    ["<bos>", "bank", "<eos>"],
    ["x" * 60, "", "bank"],
    ["k"],
]


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def write_model(directory: Path, word_dim: int = WORD, activation: str = "relu") -> dict[str, Any]:
    """Write a random model; returns its tensors."""
    rng = np.random.default_rng(8)

    def draw(*shape: int) -> np.ndarray:
        return (0.6 * rng.standard_normal(shape)).astype(np.float32)

    embedder = {"char_emb_layer.embedding.weight": draw(len(CHARACTERS), E)}
    if word_dim:
        embedder["word_emb_layer.embedding.weight"] = draw(len(WORDS), word_dim)
    for index, (width, count) in enumerate(FILTERS):
        embedder |= {f"convolutions.{index}.weight": draw(count, E, width),
                     f"convolutions.{index}.bias": draw(count)}  # fmt: skip
    for index in range(2):
        embedder |= {f"highways._layers.{index}.weight": draw(2 * F, F),
                     f"highways._layers.{index}.bias": draw(2 * F)}  # fmt: skip
    embedder |= {"projection.weight": draw(P, word_dim + F), "projection.bias": draw(P)}
    encoder = {}
    for side in ("forward", "backward"):
        for layer in range(2):
            name = f"{side}_layer_{layer}"
            encoder |= {f"{name}.input_linearity.weight": draw(4 * CELL, P),
                        f"{name}.state_linearity.weight": draw(4 * CELL, P),
                        f"{name}.state_linearity.bias": draw(4 * CELL),
                        f"{name}.state_projection.weight": draw(P, CELL)}  # fmt: skip
    for name, tensors in (("token_embedder.pkl", embedder), ("encoder.pkl", encoder)):
        torch.save({key: torch.from_numpy(v) for key, v in tensors.items()}, directory / name)
    settings = {
        "encoder": {"name": "elmo", "projection_dim": P, "cell_clip": 3, "proj_clip": 3,
                    "dim": CELL, "n_layers": 2},
        "token_embedder": {"name": "cnn", "activation": activation, "filters": FILTERS,
                           "n_highway": 2, "word_dim": word_dim, "char_dim": E,
                           "max_characters_per_token": 50},
    }  # fmt: skip
    (directory / "own.json").write_text(json.dumps(settings))
    (directory / "config.json").write_text(json.dumps({"config_path": "/home/x/own.json"}))
    for name, keys in (("char.dic", CHARACTERS), ("word.dic", WORDS)):
        lines = (f"{key}\t{number}\n" for number, key in enumerate(keys))
        (directory / name).write_text("".join(lines), encoding="utf-8")
    return {**embedder, **encoder}


class SlowManyLangs:
    """The model in float64 NumPy: one token, one step, one sentence at a time."""

    def __init__(self, tensors: dict[str, Any], word_dim: int, activation: str) -> None:
        self.t = {name: value.astype(np.float64) for name, value in tensors.items()}
        self.word_dim = word_dim
        self.activation = {"relu": lambda x: np.maximum(x, 0), "tanh": np.tanh}[activation]

    def token(self, token: str) -> np.ndarray:
        ids = {key: number for number, key in enumerate(CHARACTERS)}
        inner = [ids.get(char, ids["<oov>"]) for char in token[:48]]
        if token in ("<bos>", "<eos>"):
            inner = [ids[token]]
        # The markers are swapped, as in training.
        row = [ids["<eow>"], *inner, ids["<bow>"]]
        row += [ids["<pad>"]] * (50 - len(row))
        x = self.t["char_emb_layer.embedding.weight"][row]  # [50, E]
        found = []
        for index, (width, _) in enumerate(FILTERS):
            kernel = self.t[f"convolutions.{index}.weight"]  # [n, E, width]
            windows = [
                np.einsum("we,new->n", x[at : at + width], kernel) for at in range(51 - width)
            ]
            found.append(
                self.activation(np.max(windows, axis=0) + self.t[f"convolutions.{index}.bias"])
            )
        y = np.concatenate(found)
        for index in range(2):
            both = self.t[f"highways._layers.{index}.weight"] @ y
            both += self.t[f"highways._layers.{index}.bias"]
            carry = sigmoid(both[F:])
            y = carry * y + (1 - carry) * np.maximum(both[:F], 0)
        if self.word_dim:
            words = {key: number for number, key in enumerate(WORDS)}
            known = words.get(token[:48], words["<oov>"])
            y = np.concatenate([self.t["word_emb_layer.embedding.weight"][known], y])
        return self.t["projection.weight"] @ y + self.t["projection.bias"]

    def read(self, side: str, x: np.ndarray) -> list[np.ndarray]:
        layers = [x]
        for layer in range(2):
            name = f"{side}_layer_{layer}"
            c, h, outputs = np.zeros(CELL), np.zeros(P), []
            for row in x:
                gates = self.t[f"{name}.input_linearity.weight"] @ row
                gates += self.t[f"{name}.state_linearity.weight"] @ h
                gates += self.t[f"{name}.state_linearity.bias"]
                i, f, g, o = np.split(gates, 4)
                c = np.clip(sigmoid(i) * np.tanh(g) + sigmoid(f) * c, -3, 3)
                h = self.t[f"{name}.state_projection.weight"] @ (sigmoid(o) * np.tanh(c))
                h = np.clip(h, -3, 3)
                outputs.append(h)
            y = np.stack(outputs)
            x = y + x if layer else y
            layers.append(x)
        return layers

    def layers(self, tokens: list[str]) -> np.ndarray:
        x = np.stack([self.token(token) for token in ["<bos>", *tokens, "<eos>"]])
        backward = [layer[::-1] for layer in self.read("backward", x[::-1])]
        both = zip(self.read("forward", x), backward, strict=True)
        return np.stack([np.concatenate(pair, axis=1) for pair in both])[:, 1:-1]


@pytest.mark.parametrize(("word_dim", "activation"), [(WORD, "relu"), (WORD, "tanh"), (0, "relu")])
def test_layers_equal_a_slow_model(
    tmp_path: Path, model_bound, word_dim: int, activation: str
) -> None:
    slow = SlowManyLangs(write_model(tmp_path, word_dim, activation), word_dim, activation)
    elmo = load(tmp_path, device="cpu")

    for tokens, computed in zip(SENTENCES, elmo.layers(SENTENCES), strict=True):
        expected = slow.layers(tokens)
        scale = max(1.0, float(np.abs(expected).max()))
        bound = model_bound(elmo.bilm.config, steps=len(tokens) + 2, scale=scale)
        np.testing.assert_allclose(computed, expected, atol=bound, rtol=0)


def test_tensor_of_another_model_is_named(tmp_path: Path) -> None:
    write_model(tmp_path)
    state = torch.load(tmp_path / "encoder.pkl", weights_only=True)
    state["backward_layer_1.state_projection.weight"] = torch.zeros(P, CELL + 1)
    torch.save(state, tmp_path / "encoder.pkl")
    with pytest.raises(ValueError, match=r"backward_layer_1.state_projection.weight' has shape"):
        load(tmp_path, device="cpu")
