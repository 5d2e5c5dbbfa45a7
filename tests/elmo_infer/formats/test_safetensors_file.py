"""Tensors of safetensors files: any floating-point width, nothing else."""

import json
import struct
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save

from elmo_infer.formats.safetensors_file import read_safetensors


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16])
def test_any_width_is_read_as_float32(dtype: torch.dtype) -> None:
    data = save({"query": torch.tensor([0.5, -2.0], dtype=dtype)})
    found = read_safetensors(data, "f")["query"]
    assert found.dtype == np.float32
    assert found.tolist() == [0.5, -2.0]


def crafted(header: Any, data: bytes = b"") -> bytes:
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


@pytest.mark.parametrize(
    "data",
    [
        b"",
        crafted([]),
        crafted({"q": {"dtype": "F32", "shape": [10**9, 10**9], "data_offsets": [0, 4]}}, b"1234"),
        crafted({"q": {"dtype": "X", "shape": [1], "data_offsets": [0, 4]}}, b"1234"),
        crafted({"q": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}),
        crafted({"q": {"dtype": "F32", "shape": "x", "data_offsets": [0, 4]}}, b"1234"),
        crafted({"q": {"dtype": "I64", "shape": [1], "data_offsets": [0, 8]}}, b"12345678"),
        crafted({"q": {"dtype": "BOOL", "shape": [1], "data_offsets": [0, 1]}}, b"1"),
        struct.pack("<Q", 2**63) + b"{}",
    ],
)
def test_crafted_files_are_refused_in_one_sentence(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"^m: f: .*(as safetensors|expected floating point)"):
        read_safetensors(data, "m: f")
