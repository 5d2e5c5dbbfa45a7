"""The elementwise work of an LSTM time step in training, fused for a GPU in Triton.

Each kernel is one pass over memory where PyTorch's operations are five to twenty; the formulas, and
the arrays, are those of elmo_infer.training.lstm.TorchSteps. Triton comes with PyTorch for CUDA.
"""

# mypy: disable-error-code="no-untyped-def, misc, operator, index"

import triton
import triton.language as tl
from torch import Tensor

from elmo_infer.training.lstm import TorchSteps

_BLOCK = 1024  # numbers of a program


@triton.jit
def _advance(z, before, gates, cells, half_tanh, exposed, n, width, clip, BLOCK: tl.constexpr):
    index = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = index < n
    first = index // width * 4 * width + index % width  # of the row's gate i
    i = tl.sigmoid(tl.load(z + first, inside, other=0.0).to(tl.float32))
    j = tl.sigmoid(tl.load(z + first + width, inside, other=0.0).to(tl.float32))
    f = tl.sigmoid(tl.load(z + first + 2 * width, inside, other=0.0).to(tl.float32))
    o = tl.sigmoid(tl.load(z + first + 3 * width, inside, other=0.0).to(tl.float32))
    tl.store(gates + first, i, inside)
    tl.store(gates + first + width, j, inside)
    tl.store(gates + first + 2 * width, f, inside)
    tl.store(gates + first + 3 * width, o, inside)
    c = f * tl.load(before + index, inside, other=0.0) + 2.0 * i * j - i
    c = tl.minimum(tl.maximum(c, -clip), clip)
    s = tl.sigmoid(2.0 * c)
    tl.store(cells + index, c, inside)
    tl.store(half_tanh + index, s, inside)
    tl.store(exposed + index, 2.0 * o * s - o, inside)


@triton.jit
def _emit(out, outputs, hidden, n, clip, BLOCK: tl.constexpr):
    index = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = index < n
    h = tl.load(out + index, inside, other=0.0).to(tl.float32)
    h = tl.minimum(tl.maximum(h, -clip), clip)
    tl.store(outputs + index, h, inside)
    tl.store(hidden + index, h, inside)


@triton.jit
def _take(grad_outputs, dh, outputs, d_out, n, clip, BLOCK: tl.constexpr):
    index = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = index < n
    g = tl.load(grad_outputs + index, inside, other=0.0)
    g += tl.load(dh + index, inside, other=0.0).to(tl.float32)
    free = tl.abs(tl.load(outputs + index, inside, other=0.0)) < clip
    tl.store(d_out + index, tl.where(free, g, 0.0), inside)


@triton.jit
def _retreat(
    d_exposed, gates, half_tanh, cells, before, dc, dz, exposed, n, width, clip, BLOCK: tl.constexpr
):
    index = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = index < n
    first = index // width * 4 * width + index % width
    i = tl.load(gates + first, inside, other=0.0)
    j = tl.load(gates + first + width, inside, other=0.0)
    f = tl.load(gates + first + 2 * width, inside, other=0.0)
    o = tl.load(gates + first + 3 * width, inside, other=0.0)
    tanh_c = 2.0 * tl.load(half_tanh + index, inside, other=0.0) - 1.0
    de = tl.load(d_exposed + index, inside, other=0.0).to(tl.float32)
    tl.store(exposed + index, o * tanh_c, inside)
    d_cell = tl.load(dc + index, inside, other=0.0) + de * o * (1.0 - tanh_c * tanh_c)
    free = tl.abs(tl.load(cells + index, inside, other=0.0)) < clip
    d_cell = tl.where(free, d_cell, 0.0)
    tl.store(dc + index, d_cell * f, inside)
    di = (2.0 * j - 1.0) * d_cell
    dj = 2.0 * i * d_cell
    df = tl.load(before + index, inside, other=0.0) * d_cell
    do = de * tanh_c
    tl.store(dz + first, di * i * (1.0 - i), inside)
    tl.store(dz + first + width, dj * j * (1.0 - j), inside)
    tl.store(dz + first + 2 * width, df * f * (1.0 - f), inside)
    tl.store(dz + first + 3 * width, do * o * (1.0 - o), inside)


def _grid(n: int) -> tuple[int]:
    return (triton.cdiv(n, _BLOCK),)


class TritonSteps(TorchSteps):
    """The same, fused."""

    def advance(
        self,
        z: Tensor,
        before: Tensor,
        gates: Tensor,
        cells: Tensor,
        half_tanh: Tensor,
        exposed: Tensor,
        clip: float,
    ) -> None:
        """Gates and cells of one step."""
        n, width = cells.numel(), cells.shape[1]
        _advance[_grid(n)](
            z, before, gates, cells, half_tanh, exposed, n, width, clip, BLOCK=_BLOCK
        )

    def emit(self, out: Tensor, outputs: Tensor, hidden: Tensor, clip: float) -> None:
        """Outputs of one step."""
        n = outputs.numel()
        _emit[_grid(n)](out, outputs, hidden, n, clip, BLOCK=_BLOCK)

    def take(
        self, grad_outputs: Tensor, dh: Tensor, outputs: Tensor, d_out: Tensor, clip: float
    ) -> None:
        """Gradient of one step's projection."""
        n = outputs.numel()
        _take[_grid(n)](grad_outputs, dh, outputs, d_out, n, clip, BLOCK=_BLOCK)

    def retreat(
        self,
        d_exposed: Tensor,
        gates: Tensor,
        half_tanh: Tensor,
        cells: Tensor,
        before: Tensor,
        dc: Tensor,
        dz: Tensor,
        exposed: Tensor,
        clip: float,
    ) -> None:
        """Gradient of one step's gates and cells."""
        n, width = cells.numel(), cells.shape[1]
        _retreat[_grid(n)](
            d_exposed, gates, half_tanh, cells, before, dc, dz, exposed, n, width, clip,
            BLOCK=_BLOCK,
        )  # fmt: skip
