"""The elementwise work of an LSTM time step on a GPU, each kind in one pass over memory.

PyTorch's own operations read and write the gates of a step a dozen times, which takes longer than
the products do. The formulas are those of elmo_infer.model.advance_cells. Triton comes with PyTorch
for CUDA.
"""

# mypy: disable-error-code="no-untyped-def, misc, operator, index"

import triton
import triton.language as tl
from torch import Tensor

from elmo_infer.recurrent_steps import TorchSteps

_BLOCK = 1024  # numbers of a program


@triton.jit
def _advance(
    z, inputs, bias, active, cells, exposed, n, rows, steps, step, width, clip, BLOCK: tl.constexpr
):
    index = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = index < n
    row, column = index // width, index % width  # of [2 * rows, width]
    direction, sentence = row // rows, row % rows
    own = z + row * 4 * width + column
    read = inputs + ((direction * steps + step) * rows + sentence) * 4 * width + column
    added = bias + direction * 4 * width + column
    i = tl.load(own, inside, other=0.0).to(tl.float32)
    i = tl.sigmoid(i + tl.load(read, inside, other=0.0).to(tl.float32) + tl.load(added, inside))
    f = tl.load(own + width, inside, other=0.0).to(tl.float32)
    f += tl.load(read + width, inside, other=0.0).to(tl.float32)
    f = tl.sigmoid(f + tl.load(added + width, inside, other=0.0))
    g = tl.load(own + 2 * width, inside, other=0.0).to(tl.float32)
    g += tl.load(read + 2 * width, inside, other=0.0).to(tl.float32)
    g = tl.sigmoid(g + tl.load(added + 2 * width, inside, other=0.0))
    o = tl.load(own + 3 * width, inside, other=0.0).to(tl.float32)
    o += tl.load(read + 3 * width, inside, other=0.0).to(tl.float32)
    o = tl.sigmoid(o + tl.load(added + 3 * width, inside, other=0.0))
    before = tl.load(cells + index, inside, other=0.0)
    c = f * before + 4.0 * i * g - 2.0 * i
    c = tl.minimum(tl.maximum(c, -2.0 * clip), 2.0 * clip)
    tl.store(exposed + index, (tl.sigmoid(c) - 0.5) * o, inside)
    running = tl.load(active + sentence, inside, other=0) != 0
    tl.store(cells + index, tl.where(running, c, before), inside)


@triton.jit
def _emit(
    projected,
    active,
    h,
    low,
    outputs,
    n,
    rows,
    steps,
    step,
    width,
    scale,
    clip,
    BLOCK: tl.constexpr,
):
    index = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = index < n
    row, column = index // width, index % width
    direction, sentence = row // rows, row % rows
    new = scale * tl.load(projected + index, inside, other=0.0).to(tl.float32)
    new = tl.minimum(tl.maximum(new, -clip), clip)
    target = ((direction * steps + step) * rows + sentence) * width + column
    tl.store(outputs + target, new, inside)
    running = tl.load(active + sentence, inside, other=0) != 0
    new = tl.where(running, new, tl.load(h + index, inside, other=0.0))
    tl.store(h + index, new, inside)
    tl.store(low + index, new, inside)


def _grid(n: int) -> tuple[int]:
    return (triton.cdiv(n, _BLOCK),)


class TritonSteps(TorchSteps):
    """The same, fused."""

    def advance(
        self,
        z: Tensor,
        inputs: Tensor,
        bias: Tensor,
        active: Tensor,
        cells: Tensor,
        exposed: Tensor,
        step: int,
        clip: float,
    ) -> None:
        """Gates and cells of one step."""
        _, rows, width = cells.shape
        n, steps = cells.numel(), inputs.shape[1]
        _advance[_grid(n)](
            z, inputs, bias, active[step], cells, exposed, n, rows, steps, step, width, clip,
            BLOCK=_BLOCK,
        )  # fmt: skip

    def emit(
        self,
        projected: Tensor,
        active: Tensor,
        h: Tensor,
        low: Tensor,
        outputs: Tensor,
        step: int,
        scale: float,
        clip: float,
    ) -> None:
        """Outputs of one step."""
        _, rows, width = h.shape
        n, steps = h.numel(), outputs.shape[1]
        _emit[_grid(n)](
            projected, active[step], h, low, outputs, n, rows, steps, step, width, scale, clip,
            BLOCK=_BLOCK,
        )  # fmt: skip
