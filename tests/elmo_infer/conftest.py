"""A second, slow ELMo to check the fast one against, written from the format's description."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from elmo_infer.config import BiLmConfig

Layers = list[np.ndarray]
COPIES = ("aten::_to_copy", "aten::copy_")


def sum_bound(
    terms: int, *, steps: int = 1, layers: int = 1, scale: float = 1.0, dtype: str = "float32"
) -> float:
    """How far two computations may lie apart that only take the same sums in another order.

    The order of a sum is the processor's and the library's affair: the width of its vectors, AMX
    tiles, threads, how many rows there are. Each of n additions is rounded by at most half a unit
    in the last place, 0.29 eps of standard deviation; n independent ones make sqrt(n) of that. A
    recurrent layer goes on from what it has rounded, so its steps count like terms; its gates and
    tanh have slopes of at most 1 and do not stretch. Layers stand one on the other, so theirs add.
    Between two computations, sqrt(2) times 4 standard deviations: 1.6 eps, taken as 2.

    Args:
      terms: of the longest sum.
      steps: of the recurrence.
      layers: one on the other.
      scale: size of the numbers that are summed up to.
      dtype: in which the sums are taken.
    """
    return 2 * float(np.finfo(dtype).eps) * scale * layers * (terms * steps) ** 0.5


def model_bound(
    config: BiLmConfig, steps: int, *, scale: float = 1.0, dtype: str = "float32"
) -> float:
    """`sum_bound` of a biLM that reads `steps` tokens; its token layer is one of the layers."""
    terms = max(
        2 * config.projection_dim,
        config.cell_dim,
        config.n_filters,
        *(width * config.character_dim for width, _ in config.filters),
    )
    layers = config.n_lstm_layers + 1
    return sum_bound(terms, steps=steps, layers=layers, scale=scale, dtype=dtype)


@pytest.fixture(scope="session", name="sum_bound")
def sum_bound_fixture() -> Callable[..., float]:
    """The function `sum_bound`."""
    return sum_bound


@pytest.fixture(scope="session", name="model_bound")
def model_bound_fixture() -> Callable[..., float]:
    """The function `model_bound`."""
    return model_bound


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1.0 / (1.0 + np.exp(-x))


class SlowElmo:
    """The official layout in float64 NumPy: one token, one step, one sentence at a time."""

    def __init__(self, directory: Path) -> None:
        self.options = json.loads((directory / "options.json").read_text())
        with h5py.File(directory / "weights.hdf5") as file:
            self.tensors: dict[str, np.ndarray] = {}
            file.visititems(
                lambda name, item: (
                    self.tensors.__setitem__(name, item[()].astype(np.float64))
                    if isinstance(item, h5py.Dataset)
                    else None
                )
            )

    def layers(self, tokens: list[str]) -> np.ndarray:
        """[L, T, D] of one sentence, from the zero state."""
        marked = np.stack([self.encode(token) for token in ["<S>", *tokens, "</S>"]])
        forward = self.stack(0, marked)
        backward = [layer[::-1] for layer in self.stack(1, marked[::-1])]
        both = [np.concatenate(pair, axis=1) for pair in zip(forward, backward, strict=True)]
        return np.stack(both)[:, 1:-1]

    def encode(self, token: str) -> np.ndarray:
        """The context-free vector [P] of a token."""
        cnn = self.options["char_cnn"]
        marks = {"<S>": [256], "</S>": [257]}
        inner = marks.get(token, list(token.encode("utf-8", "ignore")[:48]))
        ids = [258, *inner, 259]
        ids += [260] * (50 - len(ids))
        x = self.tensors["char_embed"][ids]  # [50, E]
        act = np.tanh if cnn["activation"] == "tanh" else lambda z: np.maximum(z, 0)
        features = []
        for index, (width, _) in enumerate(cnn["filters"]):
            kernel = self.tensors[f"CNN/W_cnn_{index}"][0]  # [width, E, n]
            windows = [
                np.einsum("we,wen->n", x[at : at + width], kernel) for at in range(51 - width)
            ]
            features.append(act(np.max(windows, axis=0) + self.tensors[f"CNN/b_cnn_{index}"]))
        y = np.concatenate(features)
        for k in range(cnn["n_highway"]):
            t = {
                name: self.tensors[f"CNN_high_{k}/{name}"]
                for name in ("W_carry", "b_carry", "W_transform", "b_transform")
            }
            gate = sigmoid(y @ t["W_carry"] + t["b_carry"])
            y = gate * np.maximum(y @ t["W_transform"] + t["b_transform"], 0) + (1 - gate) * y
        if "CNN_proj/W_proj" in self.tensors:
            y = y @ self.tensors["CNN_proj/W_proj"] + self.tensors["CNN_proj/b_proj"]
        return y

    def stack(self, direction: int, x: np.ndarray) -> list[np.ndarray]:
        lstm = self.options["lstm"]
        outputs = [x]
        for layer in range(lstm["n_layers"]):
            y = self.lstm(f"RNN_{direction}/RNN/MultiRNNCell/Cell{layer}/LSTMCell", x)
            x = y + x if layer and lstm["use_skip_connections"] else y
            outputs.append(x)
        return outputs

    def lstm(self, name: str, x: np.ndarray) -> np.ndarray:
        lstm = self.options["lstm"]
        weight, bias = self.tensors[f"{name}/W_0"], self.tensors[f"{name}/B"]
        projection = self.tensors.get(f"{name}/W_P_0")
        c, h = np.zeros(lstm["dim"]), np.zeros(lstm["projection_dim"])
        outputs = []
        for row in x:
            i, j, f, o = np.split(np.concatenate([row, h]) @ weight + bias, 4)
            c = sigmoid(f + 1.0) * c + sigmoid(i) * np.tanh(j)
            if lstm["cell_clip"]:
                c = np.clip(c, -lstm["cell_clip"], lstm["cell_clip"])
            h = sigmoid(o) * np.tanh(c)
            if projection is not None:
                h = h @ projection
                if lstm["proj_clip"]:
                    h = np.clip(h, -lstm["proj_clip"], lstm["proj_clip"])
            outputs.append(h)
        return np.stack(outputs)


@pytest.fixture(scope="session")
def slow_elmo() -> Callable[[Path], SlowElmo]:
    """A function from a directory to the slow model in it."""
    return SlowElmo


@pytest.fixture
def awkward_sentences() -> list[list[str]]:
    """Every kind of legal token that has ever surprised a tokenizer."""
    return [
        ["The", "bank", "of", "the", "river", "."],
        [],
        [""],
        ["x" * 10_000],
        ["\ud800", "a\udfffb", "\ud800" * 60 + "<S>"],
        ["<S>", "a", "</S>", "<s>"],
        ["天氣", "😀", "é", "e\u0301", "\x00", " ", "\n"],
        ["漢" * 17, "漢" * 16, "x" * 47, "x" * 48, "x" * 49],
        ["Hi"],
        ["The", "bank", "of", "the", "river", "."],
    ]


class DeviceWatch(TorchDispatchMode):
    """Notes everything that a device could not do, or that the host would wait for.

    It is used with PyTorch's "meta" device, which knows shapes, dtypes and devices, and computes
    nothing. What would stop a GPU stops there too: mixing devices, reading a number back.
    """

    def __init__(self, pinned: set[int]) -> None:
        super().__init__()
        self.pinned = pinned
        self.complaints: list[str] = []
        self.copied = 0
        self.low_products: list[tuple[torch.dtype, torch.dtype]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        with self:
            # In inference mode, operations made of others arrive whole.
            parts = func.decompose(*args, **kwargs)
        if parts is not NotImplemented:
            return parts
        tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        result = func(*args, **kwargs)
        name = func._schema.name
        host = [one for one in tensors if one.device.type == "cpu"]
        if name in COPIES:
            self._note_copy(name, host, args, kwargs, result)
        elif len(host) < len(tensors) and any(one.dim() for one in host):
            self.complaints.append(f"{name} mixes the host's and the device's tensors")
        if name in ("aten::mm", "aten::bmm"):
            self.low_products.append((args[0].dtype, result.dtype))
        return result

    def _note_copy(
        self, name: str, host: list[Tensor], args: Any, kwargs: Any, result: Any
    ) -> None:
        if not host or result.device.type == "cpu":
            return
        self.copied += 1
        waits = not (kwargs.get("non_blocking") or (name == "aten::copy_" and args[2:] == (True,)))
        if waits or host[0].data_ptr() not in self.pinned:
            self.complaints.append(f"{name} of {tuple(host[0].shape)} makes the host wait")


@pytest.fixture
def device_watch(monkeypatch: pytest.MonkeyPatch) -> DeviceWatch:
    """A watch that knows what was pinned, where there is nothing to pin for."""
    kept: list[Tensor] = []  # so that no address is used twice
    pinned: set[int] = set()

    def pin(self: Tensor) -> Tensor:
        kept.append(self)
        pinned.add(self.data_ptr())
        return self

    monkeypatch.setattr(Tensor, "pin_memory", pin)
    return DeviceWatch(pinned)
