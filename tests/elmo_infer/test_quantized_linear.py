"""Every kind of product against NumPy's, with one row and with many."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from elmo_infer import quantized_linear
from elmo_infer.quantized_linear import (
    Int8Linear,
    PackedLinear,
    PlainLinear,
    RoundedLinear,
    by_output,
    has_products,
    make_linear,
    padded_rows,
    processor_multiplies,
    trial_ratio,
)

CPU = torch.device("cpu")
NATIVE_BFLOAT16 = pytest.mark.skipif(
    not processor_multiplies(torch.bfloat16), reason="this processor has no bfloat16 products"
)


@pytest.mark.parametrize("biased", [True, False])
@pytest.mark.parametrize("count", [1, 5, 64, 300])
@pytest.mark.parametrize(
    ("dtype", "kind", "tolerance"),
    [
        (torch.float64, PlainLinear, 1e-12),
        (torch.float32, PackedLinear, 1e-5),
        (
            torch.bfloat16,
            PackedLinear if processor_multiplies(torch.bfloat16) else RoundedLinear,
            0.06,
        ),
        (torch.int8, Int8Linear, 0.15),
    ],
)
def test_products_equal_numpy(rng, dtype, kind, tolerance, count, biased) -> None:
    weight = rng.standard_normal((24, 40)).astype(np.float32)
    bias = rng.standard_normal(40).astype(np.float32) if biased else None
    rows = rng.standard_normal((count, 24))
    product_of = make_linear(by_output([[weight]]), bias, dtype, CPU)
    wide = torch.promote_types(dtype, torch.float32)

    product = product_of(torch.from_numpy(rows).to(wide))

    assert isinstance(product_of, kind)
    assert product.dtype == wide
    expected = rows @ weight + (0.0 if bias is None else bias)
    np.testing.assert_allclose(product, expected, atol=tolerance * np.sqrt(24), rtol=0)


def test_blocks_are_put_together_by_output(rng) -> None:
    blocks = [[rng.standard_normal((2, n)).astype(np.float32) for n in (3, 1)] for _ in range(2)]
    np.testing.assert_array_equal(by_output(blocks).numpy(), np.block(blocks).T)


def test_int8_by_hand() -> None:
    # One output of weights 127 and -1; the row 254, 2 has the scale 2 and becomes 127, 1.
    int8 = Int8Linear(torch.tensor([[127.0, -1.0]]), np.array([5.0], np.float32))

    assert int8(torch.tensor([[254.0, 2.0]])).tolist() == [[2.0 * (127 * 127 - 1) + 5.0]]
    assert int8(torch.zeros(1, 2)).tolist() == [[5.0]]


def test_int8_quantises_each_row_by_itself(rng) -> None:
    int8 = Int8Linear(torch.from_numpy(rng.standard_normal((16, 32)).astype(np.float32)), None)
    row = torch.from_numpy(rng.standard_normal((1, 32)).astype(np.float32))

    alone = int8(row)
    beside_a_large_one = int8(torch.cat([row, 1000.0 * row]))

    assert torch.equal(beside_a_large_one[:1], alone)


@pytest.mark.parametrize("multiplies", [True, False])
def test_int8_is_the_same_without_such_products(rng, monkeypatch, multiplies) -> None:
    # 1040 products of 127 and 127 are the most that float32 sums exactly.
    weight = torch.from_numpy(rng.standard_normal((8, 1040)).astype(np.float32))
    rows = torch.from_numpy(rng.standard_normal((3, 1040)).astype(np.float32))
    weight[0], rows[0] = 127.0, 127.0
    monkeypatch.setattr(quantized_linear, "processor_multiplies", lambda _: multiplies)

    product = Int8Linear(weight, None)(rows)

    q_weight, q_rows = (
        (each / (each.abs().amax(1, keepdim=True) / 127)).round().long() for each in (weight, rows)
    )
    scales = torch.outer(rows.abs().amax(1) / 127, weight.abs().amax(1) / 127)
    assert int((q_rows @ q_weight.t())[0, 0]) == 127 * 127 * 1040
    torch.testing.assert_close(product, (q_rows @ q_weight.t()).float() * scales, rtol=3e-7, atol=0)


def test_bfloat16_by_hand_without_such_products(monkeypatch) -> None:
    monkeypatch.setattr(quantized_linear, "processor_multiplies", lambda _: False)
    # bfloat16 has 8 bits: 257 is rounded to 256, 3 * 256 + 1 to 768.
    product_of = make_linear(
        torch.tensor([[3.0, 1.0]]), np.array([0.0], np.float32), torch.bfloat16, CPU
    )
    assert isinstance(product_of, RoundedLinear)
    assert product_of(torch.tensor([[257.0, 1.0]])).tolist() == [[768.0]]


@NATIVE_BFLOAT16
def test_bfloat16_is_the_same_without_such_products(rng, monkeypatch) -> None:
    weight = by_output([[rng.standard_normal((64, 48)).astype(np.float32)]])
    bias = rng.standard_normal(48).astype(np.float32)
    rows = torch.from_numpy(rng.standard_normal((50, 64)).astype(np.float32))
    native = make_linear(weight, bias, torch.bfloat16, CPU)(rows)
    monkeypatch.setattr(quantized_linear, "processor_multiplies", lambda _: False)
    rounded = make_linear(weight, bias, torch.bfloat16, CPU)(rows)
    # Sums are taken in another order before they are rounded to 8 bits.
    torch.testing.assert_close(rounded, native, rtol=2**-7, atol=1e-6)


def test_missing_products_are_said(monkeypatch, caplog) -> None:
    monkeypatch.setattr(torch.cpu, "_is_vnni_supported", lambda: False)
    assert not processor_multiplies.__wrapped__(torch.int8)
    assert "this processor has no int8 products" in caplog.text
    assert "float32 is as fast and exact" in caplog.text


@pytest.fixture
def told_by_the_processor(monkeypatch) -> Iterator[None]:
    """Let the processor say that it multiplies everything, and forget earlier trials."""
    for name in ("_is_vnni_supported", "_is_avx512_bf16_supported"):
        monkeypatch.setattr(torch.cpu, name, lambda: True)
    monkeypatch.setattr(quantized_linear.platform, "machine", lambda: "x86_64")
    trial_ratio.cache_clear()
    yield
    trial_ratio.cache_clear()


class SlowPackedLinear(PackedLinear):
    """Products in bfloat16 as emulation has them: right, and several times as slow."""

    def __call__(self, rows: torch.Tensor) -> torch.Tensor:
        for _ in range(4 if self._dtype == torch.bfloat16 else 0):
            super().__call__(rows)
        return super().__call__(rows)


class MissingPackedLinear(PackedLinear):
    """Products in bfloat16 as ONEDNN_MAX_CPU_ISA=AVX2 has them."""

    def __init__(self, weight: torch.Tensor, bias: None, dtype: torch.dtype) -> None:
        if dtype == torch.bfloat16:
            raise RuntimeError("bf16 path needs the cpu support avx512bw")
        super().__init__(weight, bias, dtype)


class WrongPackedLinear(PackedLinear):
    def __call__(self, rows: torch.Tensor) -> torch.Tensor:
        return super().__call__(rows) + (1000.0 if self._dtype == torch.bfloat16 else 0.0)


@pytest.mark.usefixtures("told_by_the_processor")
@pytest.mark.parametrize("kind", [SlowPackedLinear, MissingPackedLinear, WrongPackedLinear])
def test_products_that_cannot_be_had_or_are_slow_are_not_taken(monkeypatch, kind) -> None:
    monkeypatch.setattr(quantized_linear, "PackedLinear", kind)
    threads = torch.get_num_threads()

    assert not has_products(torch.bfloat16)

    assert torch.get_num_threads() == threads


@pytest.mark.slow
@pytest.mark.parametrize("hidden", ["AVX2", "AVX512_CORE"])
def test_auto_computes_where_bfloat16_is_hidden(tiny_elmo_dir: Path, hidden: str) -> None:
    # oneDNN reads the variable when it is loaded, so in a process of its own.
    code = (
        "import sys; from elmo_infer import load; elmo = load(sys.argv[1], device='cpu',"
        " dtype='auto'); print(elmo.dtype, elmo.embed([['The', 'bank']]).token_vectors.shape)"
    )
    environment = {**os.environ, "ONEDNN_MAX_CPU_ISA": hidden}
    command = [sys.executable, "-c", code, str(tiny_elmo_dir)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    dtype, shape = done.stdout.split(maxsplit=1)
    assert dtype in ("int8", "float32")
    assert shape.startswith("(2, ")


def test_padded_rows_cost_little_and_are_few() -> None:
    padded = [padded_rows(count) for count in range(1, 1025)]

    assert all(have >= count for count, have in enumerate(padded, start=1))
    assert all(have <= 1.35 * count for count, have in enumerate(padded, start=1))
    assert padded == sorted(padded)
    assert len(set(padded)) == 8 + 6 + 12 + 24 + 8


@pytest.fixture
def onednn_tried_anew() -> Iterator[None]:
    """The trial of oneDNN's product is made once; here, before and after the test."""
    quantized_linear.has_onednn.cache_clear()
    yield
    quantized_linear.has_onednn.cache_clear()


@pytest.mark.parametrize(
    "dtype", [torch.float32, pytest.param(torch.bfloat16, marks=NATIVE_BFLOAT16)]
)
def test_products_without_onednn_are_the_same(rng, monkeypatch, dtype) -> None:
    weight = by_output([[rng.standard_normal((64, 48)).astype(np.float32)]])
    bias = rng.standard_normal(48).astype(np.float32)
    rows = torch.from_numpy(rng.standard_normal((5, 64)).astype(np.float32))
    packed = make_linear(weight, bias, dtype, CPU)
    monkeypatch.setattr(quantized_linear, "has_onednn", lambda: False)

    plain = make_linear(weight, bias, dtype, CPU)

    assert (type(packed), type(plain)) == (PackedLinear, PlainLinear)
    # bfloat16 results have 8 bits; those of PlainLinear are rounded before the bias is added.
    tolerance = 1e-5 if dtype == torch.float32 else 0.15
    torch.testing.assert_close(packed(rows), plain(rows), atol=tolerance, rtol=0)


def _raises(*_: object) -> None:
    raise RuntimeError("_linear_pointwise() expected at most 5 argument(s)")


@pytest.mark.parametrize(
    ("product", "words"),
    [
        (_raises, "offers no oneDNN product on prepared weights .* expected at most 5"),
        (lambda rows, *_: torch.zeros(len(rows), 3), "the oneDNN product of torch"),
    ],
    ids=["another signature", "another meaning"],
)
@pytest.mark.usefixtures("onednn_tried_anew")
def test_changed_onednn_product_is_not_used(monkeypatch, caplog, product, words) -> None:
    monkeypatch.setattr(
        torch.ops.mkldnn, "_linear_pointwise", SimpleNamespace(default=product), raising=False
    )
    assert isinstance(make_linear(torch.ones(3, 2), None, torch.float32, CPU), PlainLinear)
    assert re.search(words, caplog.text)
