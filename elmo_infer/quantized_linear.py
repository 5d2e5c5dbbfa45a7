"""Matrix products with fixed weights, which are prepared once for a device and a dtype.

Every kind takes float32 (or float64) rows and returns the same; what lies between is its affair.
"""

import logging
import math
import platform
import time
from collections.abc import Sequence
from functools import cache
from typing import Protocol

import torch
from torch import Tensor

from elmo_infer.weights import Array

logger = logging.getLogger(__name__)

# The smallest largest number of a row that is quantised; of zeros, the scale does not matter.
TINY = 1e-30
# (step, limit): numbers of rows up to `limit` are rounded up to a multiple of `step`.
ROW_STEPS = ((1, 8), (4, 32), (8, 128), (16, 512))
# A smaller type is taken if a product in it takes less than this part of float32's time.
MOST_OF_FLOAT32 = 0.9
TRIALS = 15
# Products of half precision with float32 results, on devices; since torch 2.8.
_HAS_WIDE_PRODUCTS = "dtype" in torch.ops.aten.bmm.overloads()


class Linear(Protocol):
    """x -> x @ W + b."""

    def __call__(self, rows: Tensor) -> Tensor:
        """Map [n, in] to [n, out]."""
        ...


@cache
def padded_rows(count: int) -> int:
    """Return the number of rows to hand to a Linear where `count` are needed.

    oneDNN compiles a kernel for every number of rows it meets (milliseconds each), and batches of
    sentences of many lengths would meet them all. The surplus rows may hold anything.
    """
    step = next((step for step, limit in ROW_STEPS if count <= limit), 64)
    return -(-count // step) * step


class PlainLinear:
    """In torch's own matrix product, in any float dtype, on any device; accumulates in float32."""

    def __init__(
        self, weight: Tensor, bias: Array | None, dtype: torch.dtype, device: torch.device
    ) -> None:
        self._weight = weight.to(device, dtype).t()  # [in, out]
        self._bias = None
        if bias is not None:
            self._bias = torch.tensor(bias, dtype=torch.promote_types(dtype, torch.float32))
            self._bias = self._bias.to(device)

    def __call__(self, rows: Tensor) -> Tensor:
        product = multiply(rows, self._weight)
        return product if self._bias is None else product.add_(self._bias)


def multiply(rows: Tensor, weight: Tensor) -> Tensor:
    """Return rows @ weight in the dtype of the rows, multiplied in that of the weight.

    Args:
      rows: [n, in] or [2, n, in], float32 at least.
      weight: [in, out] or [2, in, out].
    """
    low = rows.to(weight.dtype)
    return low @ weight if low.dtype == rows.dtype else wide_product(low, weight)


def wide_product(low: Tensor, weight: Tensor) -> Tensor:
    """Return low @ weight in float32, both of one dtype of half precision."""
    if low.device.type == "cpu" or not _HAS_WIDE_PRODUCTS:
        return (low @ weight).to(torch.float32)
    # A device hands out its float32 sums as they are: not rounded, and nothing to convert.
    product = torch.mm if weight.dim() == 2 else torch.bmm
    wide: Tensor = product(low, weight, out_dtype=torch.float32)
    return wide


class PackedLinear:
    """In oneDNN on weights that are laid out for it once (float32, or bfloat16 where wanted).

    Without this, a product with few rows spends most of its time on laying out the weights anew.
    """

    def __init__(self, weight: Tensor, bias: Array | None, dtype: torch.dtype) -> None:
        self._dtype = dtype
        self._weight = torch.ops.mkldnn._reorder_linear_weight(weight.to(dtype), 64)
        self._bias = None if bias is None else torch.tensor(bias, dtype=dtype)

    def __call__(self, rows: Tensor) -> Tensor:
        product: Tensor = torch.ops.mkldnn._linear_pointwise.default(
            rows.to(self._dtype), self._weight, self._bias, "none", [], ""
        )
        return product.to(rows.dtype)


class RoundedLinear:
    """In float32 on numbers rounded to a smaller type, for processors that do not multiply these.

    Rows, weights, bias and results are rounded as PackedLinear has them, so that the vectors are
    those of a processor that does; the speed is float32's.
    """

    def __init__(self, weight: Tensor, bias: Array | None, dtype: torch.dtype) -> None:
        self._dtype = dtype
        rounded = None if bias is None else self._round(torch.from_numpy(bias)).numpy()
        self._product = make_linear(self._round(weight), rounded, torch.float32, weight.device)

    def __call__(self, rows: Tensor) -> Tensor:
        return self._round(self._product(self._round(rows)))

    def _round(self, values: Tensor) -> Tensor:
        return values.to(self._dtype).to(torch.float32)


class Int8Linear:
    """In 8-bit integers, whose sums are exact; four products at the cost of one in float32.

    Weights have a scale per output. Rows are quantised each by itself, x = scale * q with
    scale = max |x| / 127, so that a row's result depends on nothing beside it.

    A processor without such products takes float32's for the same whole numbers: sums of up to
    1040 of them are below 2^24 and exact, longer ones are within its rounding.
    """

    def __init__(self, weight: Tensor, bias: Array | None) -> None:
        self._scales = weight.abs().amax(dim=1).clamp_(min=TINY).div_(127.0)  # [out]
        whole = (weight / self._scales[:, None]).round_()
        self._multiply: Linear
        if processor_multiplies(torch.int8):
            self._multiply = _Int8Product(whole)
        else:
            self._multiply = make_linear(whole, None, torch.float32, weight.device)
        self._bias = torch.zeros(len(self._scales)) if bias is None else torch.tensor(bias)

    def __call__(self, rows: Tensor) -> Tensor:
        scales = rows.abs().amax(dim=1, keepdim=True).clamp_(min=TINY).div_(127.0)
        product = self._multiply((rows / scales).round_())
        return torch.addcmul(self._bias, product.mul_(self._scales), scales, out=product)


class _Int8Product:
    """Of whole numbers from -127 to 127, in and out as float32."""

    def __init__(self, weight: Tensor) -> None:
        self._weight = weight.to(torch.int8).t()

    def __call__(self, rows: Tensor) -> Tensor:
        return torch._int_mm(rows.to(torch.int8), self._weight).to(torch.float32)


def has_products(dtype: torch.dtype) -> bool:
    """Return whether this processor multiplies bfloat16 or int8 faster than float32, and rightly.

    torch multiplies them without, but a hundred times more slowly (int8), or not at all in its
    oneDNN products (bfloat16). What the processor says of itself is not enough: oneDNN may be kept
    from using it (ONEDNN_MAX_CPU_ISA), as may a virtual machine. So where the processor says yes,
    a product is timed. Processors that have them take 0.2 to 0.7 of float32's time, others 2 times
    and more: other work on the machine does not change the answer.
    """
    if dtype == torch.int8:
        told = bool(torch.cpu._is_vnni_supported())
    elif platform.machine() in ("x86_64", "AMD64"):
        told = bool(torch.cpu._is_avx512_bf16_supported())
    else:
        told = bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
    return told and has_onednn() and trial_ratio(dtype) < MOST_OF_FLOAT32


@cache
def trial_ratio(dtype: torch.dtype) -> float:
    """Time a product in bfloat16 or int8 as a multiple of float32's; infinite if it is not right.

    The shape is that of an LSTM step: a hundred sentences, 4 * 256 gates. The shortest time of
    several turns counts, on one thread: two would wait for each other on a busy machine.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return _trial_ratio(dtype)
    finally:
        torch.set_num_threads(threads)


def _trial_ratio(dtype: torch.dtype) -> float:
    weight = ((torch.arange(1024 * 256) * 37 % 15).view(1024, 256) - 7).to(torch.float32)
    rows = ((torch.arange(128 * 256) * 23 % 15).view(128, 256) - 7).to(torch.float32)
    plain = PackedLinear(weight, None, torch.float32)
    try:
        other = _Int8Product(weight) if dtype == torch.int8 else PackedLinear(weight, None, dtype)
        right = torch.allclose(other(rows), plain(rows), rtol=2**-7, atol=0.5)
    except RuntimeError as error:
        logger.info("products in %s cannot be had here: %s", dtype, error)
        return math.inf
    if not right:
        logger.warning("products in %s are wrong here, so they are not used", dtype)
        return math.inf
    shortest = [math.inf, math.inf]
    for _ in range(TRIALS):
        for place, product in enumerate((plain, other)):
            started = time.perf_counter()
            product(rows)
            shortest[place] = min(shortest[place], time.perf_counter() - started)
    return shortest[1] / shortest[0]


@cache
def processor_multiplies(dtype: torch.dtype) -> bool:
    """Return `has_products`; where there are none, it is logged once."""
    found = has_products(dtype)
    if not found:
        name = str(dtype).removeprefix("torch.")
        logger.warning(
            "this processor has no %s products: the rounded numbers are multiplied in float32, "
            "which gives %s's vectors but not its speed; float32 is as fast and exact",
            name,
            name,
        )
    return found


def by_output(rows: Sequence[Sequence[Array]]) -> Tensor:
    """Put matrices [in, out] together as one [out, in], without a copy of the whole beside it.

    Args:
      rows: the matrices as they stand in the whole [in, out]: rows of blocks, side by side.
    """
    height = sum(len(row[0]) for row in rows)
    width = sum(block.shape[1] for block in rows[0])
    whole = torch.empty(width, height, dtype=torch.float32)
    top = 0
    for row in rows:
        left = 0
        for block in row:
            place = whole[left : left + block.shape[1], top : top + len(block)]
            place.copy_(torch.from_numpy(block).t())
            left += block.shape[1]
        top += len(row[0])
    return whole


def make_linear(
    weight: Tensor, bias: Array | None, dtype: torch.dtype, device: torch.device
) -> Linear:
    """Prepare x -> x @ weight.T + bias.

    Args:
      weight: [out, in] float32.
      bias: [out], or None.
      dtype: of the product; sums are taken in float32 at least (in int32 for int8).
    """
    if dtype == torch.int8:
        return Int8Linear(weight, bias)
    if device.type == "cpu" and dtype == torch.bfloat16 and not processor_multiplies(dtype):
        return RoundedLinear(weight, bias, dtype)
    if device.type == "cpu" and dtype in (torch.float32, torch.bfloat16) and has_onednn():
        return PackedLinear(weight, bias, dtype)
    return PlainLinear(weight, bias, dtype, device)


@cache
def has_onednn() -> bool:
    """Return whether this torch has oneDNN's products on prepared weights, and they are right.

    They are torch's own (its compiler emits them) but not public: another version may have changed
    them. The public way, torch.utils.mkldnn, converts rows and results each time (1.3 to
    1.8 times as long, with 8 to 400 rows). So they are tried once, on whole numbers; without them,
    PlainLinear computes the same more slowly.
    """
    if not torch.backends.mkldnn.is_available():
        logger.info("oneDNN is not available: products with few rows will be slower")
        return False
    weight, bias = torch.tensor([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]), torch.tensor([1.0, 2.0, 3.0])
    rows = torch.tensor([[1.0, -1.0], [2.0, 0.0]])
    try:
        packed = torch.ops.mkldnn._reorder_linear_weight(weight, 64)
        product = torch.ops.mkldnn._linear_pointwise.default(rows, packed, bias, "none", [], "")
        right = torch.equal(product, rows @ weight.t() + bias)
    except (AttributeError, RuntimeError, TypeError) as error:
        logger.warning(
            "torch %s offers no oneDNN product on prepared weights (%s): products with few rows "
            "will be slower",
            torch.__version__,
            error,
        )
        return False
    if not right:
        logger.warning(
            "the oneDNN product of torch %s on prepared weights gives wrong results, so it is"
            " not used: products with few rows will be slower",
            torch.__version__,
        )
    return right
