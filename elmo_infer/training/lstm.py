"""The biLM's LSTM layer with its backward pass written by hand.

PyTorch has no fast LSTM with projection and clipping. This one makes the input projection of all
time steps one matrix product, runs the recurrence on preallocated arrays, and takes the weight
gradients of all time steps in one product again.

The equations are those of ELMO_FORMAT (Sak et al. 2014, with TensorFlow's gate order):

    z = [x, h] W + b                        gates i, j, f, o
    c' = clip(sigmoid(f + 1) c + sigmoid(i) tanh(j))
    h' = clip((sigmoid(o) tanh(c')) W_P)

Every gate goes through one sigmoid call: tanh(j) = 2 sigmoid(2j) - 1, and a vectorised
sigmoid costs a sixth of a tanh. The factor 2 is folded into the columns of j.

On a GPU a time step is some forty small kernels, and launching them costs more than running them.
So there a layer has a Workspace: its arrays stay in one place, and the recurrence over them,
forward and backward, is captured as CUDA graphs, for each shape of batch that comes again.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

FORGET_BIAS = 1.0
# Work captured per workspace; what is longest unused goes first. A run has two of each number of
# words in a sentence, and two of the last batch of each.
MAX_CAPTURED = 512

Work = Callable[[], None]
Capture = Callable[[Work], Work]


class TorchSteps:
    """What a time step does besides its products, in PyTorch's operations.

    Arrays are those of _Forward and _Backward. Fused kernels override it, see lstm_kernels.
    """

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
        """Take z [B, 4D] and the cells before [B, D] to gates, cells, half_tanh and exposed."""
        i, j, f, o = gates.copy_(z).sigmoid_().split(cells.shape[1], dim=1)
        torch.mul(f, before, out=cells)
        cells.addcmul_(i, j, value=2.0).sub_(i).clamp_(-clip, clip)
        torch.mul(cells, 2.0, out=half_tanh).sigmoid_()
        exposed.copy_((o * half_tanh).mul_(2.0).sub_(o))

    def emit(self, out: Tensor, outputs: Tensor, hidden: Tensor, clip: float) -> None:
        """Clip out [B, P] into outputs, and into hidden as the next step reads them."""
        hidden.copy_(outputs.copy_(out).clamp_(-clip, clip))

    def take(
        self, grad_outputs: Tensor, dh: Tensor, outputs: Tensor, d_out: Tensor, clip: float
    ) -> None:
        """Sum the gradients of outputs [B, P] into d_out, zero where they were clipped."""
        # A clipped value does not move with what it was made of.
        d_out.copy_((grad_outputs + dh).masked_fill_(outputs.abs() >= clip, 0.0))

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
        """Take d_exposed and dc [B, D] to dz [B, 4D], and dc to the step before; recall exposed."""
        step = torch.empty_like(gates)
        i, j, f, o = gates.split(cells.shape[1], dim=1)
        di, dj, df, do = step.split(cells.shape[1], dim=1)
        tanh_c = half_tanh * 2.0 - 1.0
        torch.mul(o, tanh_c, out=exposed)
        torch.mul(d_exposed, tanh_c, out=do)
        # d tanh(c) = 1 - tanh(c)^2
        de = d_exposed * o
        dc.add_(de).sub_(de.mul_(tanh_c).mul_(tanh_c))
        dc.masked_fill_(cells.abs() >= clip, 0.0)
        # With s = sigmoid(2 z_j): tanh(z_j) = 2s - 1, and d tanh / d(2 z_j) = 2 s (1 - s).
        torch.mul(j, 2.0, out=di).sub_(1.0).mul_(dc)
        torch.mul(dc, i, out=dj).mul_(2.0)
        torch.mul(dc, before, out=df)
        dc.mul_(f)
        step.mul_(gates)
        dz.copy_(step.addcmul_(step, gates, value=-1.0))


TORCH_STEPS = TorchSteps()


class Workspace:
    """Arrays of fixed place for one layer and direction, and what was captured over them.

    They hold one pass: it must have gone backward before the next.

    Attributes:
      passes: how many have begun.
      kernels: take each step.
      memory: by name, what `place` hands out pieces of.
      captured: by its key, work that was done before; None where it was done only once.
    """

    def __init__(self, capture: Capture, kernels: TorchSteps = TORCH_STEPS) -> None:
        """Begin with nothing.

        Args:
          kernels: take each step.
          capture: takes work on tensors of fixed place, which can be repeated without harm, and
            returns what does it again; see elmo_infer.graphs.CudaGraphs.
        """
        self.passes = 0
        self.kernels = kernels
        self._capture = capture
        self.memory: dict[str, Tensor] = {}
        self.captured: dict[tuple[object, ...], Work | None] = {}

    def place(self, name: str, shape: tuple[int, ...], dtype: torch.dtype, on: Tensor) -> Tensor:
        """Return the array of a name; it holds anything.

        Args:
          name: each has memory of its own, which grows by doubling.
          shape: that is wanted now.
          dtype: always the same for a name.
          on: a tensor of the device.
        """
        size = wanted = math.prod(shape)
        memory = self.memory.get(name)
        if memory is None or len(memory) < size:
            if memory is not None:
                self.captured.clear()  # its arrays are elsewhere now
                size = max(size, 2 * len(memory))
            self.memory[name] = memory = torch.empty(size, dtype=dtype, device=on.device)
        return memory[:wanted].view(shape)

    def run(self, key: tuple[object, ...], work: Work) -> None:
        """Do work; what is done a second time is captured. Many shapes come only once."""
        known = key in self.captured
        captured = self.captured.pop(key, None)
        if not known:
            work()
        else:
            captured = captured or self._capture(work)
            captured()
        if len(self.captured) == MAX_CAPTURED:
            del self.captured[next(iter(self.captured))]
        self.captured[key] = captured  # the last one is the one used last


def projected_lstm(
    inputs: Tensor,
    kernel: Tensor,
    bias: Tensor,
    projection: Tensor,
    *,
    cell_clip: float,
    projection_clip: float,
    compute_dtype: torch.dtype = torch.float32,
    workspace: Workspace | None = None,
) -> Tensor:
    """Run one LSTM layer over equally long sequences from the zero state.

    Args:
      inputs: [T, B, P_in] float32, time first.
      kernel: [P_in + P, 4D] float32, gate order i, j, f, o.
      bias: [4D] float32, without the forget bias of 1.
      projection: [D, P] float32.
      cell_clip: bound of the cell state.
      projection_clip: bound of the output.
      compute_dtype: of the matrix products; everything else is float32.
      workspace: of this layer alone, where its steps are to be captured.

    Returns:
      [T, B, P] float32 outputs, before any residual connection.

    Raises:
      RuntimeError: going backward, if the workspace has begun another pass since.
    """
    output: Tensor = _ProjectedLstm.apply(
        inputs, kernel, bias, projection, (cell_clip, projection_clip), compute_dtype, workspace
    )
    return output


def _gate_scale(cell: int, device: torch.device) -> Tensor:
    """Return [4D]: 2 at the columns of j, 1 elsewhere."""
    scale = torch.ones(4 * cell, device=device)
    scale[cell : 2 * cell] = 2.0
    return scale


# Makes an uninitialised array: (name, shape, dtype).
_Place = Callable[[str, tuple[int, ...], torch.dtype], Tensor]


@dataclass(frozen=True, kw_only=True, eq=False)
class _Forward:
    """Arrays of the way forward: T steps of B rows, D cells, P outputs, P_in inputs.

    Attributes:
      x: [T * B, P_in], kernel_x: [P_in, 4D], kernel_h: [P, 4D], projected: [D, P], operands in the
        dtype of the products.
      z_inputs: [T, B, 4D] in that dtype, what the inputs add to the gates.
      gates: [T, B, 4D] float32, after the sigmoid.
      cells: [T + 1, B, D] float32, that before the first step included.
      half_tanh: [T, B, D] float32, sigmoid(2c).
      hidden: [T + 1, B, P] in the products' dtype, the outputs as the next step reads them.
      outputs: [T, B, P] float32.
    """

    x: Tensor
    kernel_x: Tensor
    kernel_h: Tensor
    projected: Tensor
    z_inputs: Tensor
    gates: Tensor
    cells: Tensor
    half_tanh: Tensor
    hidden: Tensor
    outputs: Tensor

    @classmethod
    def placed(
        cls, place: _Place, inputs: Tensor, projection: Tensor, low: torch.dtype
    ) -> "_Forward":
        """Place them for inputs [T, B, P_in] and a projection [D, P]."""
        steps, batch, width_in = inputs.shape
        cell, width = projection.shape
        full = torch.float32
        return cls(
            x=place("x", (steps * batch, width_in), low),
            kernel_x=place("kernel_x", (width_in, 4 * cell), low),
            kernel_h=place("kernel_h", (width, 4 * cell), low),
            projected=place("projected", (cell, width), low),
            z_inputs=place("z_inputs", (steps, batch, 4 * cell), low),
            gates=place("gates", (steps, batch, 4 * cell), full),
            cells=place("cells", (steps + 1, batch, cell), full),
            half_tanh=place("half_tanh", (steps, batch, cell), full),
            hidden=place("hidden", (steps + 1, batch, width), low),
            outputs=place("outputs", (steps, batch, width), full),
        )

    def run(self, kernels: TorchSteps, cell_clip: float, projection_clip: float) -> None:
        """Take all steps: z_inputs and weights in, everything else out."""
        steps = len(self.outputs)
        z = torch.empty_like(self.z_inputs[0])
        exposed = torch.empty_like(self.half_tanh[0], dtype=z.dtype)
        out = torch.empty_like(self.hidden[0])
        self.cells[0].zero_()
        self.hidden[0].zero_()
        for t in range(steps):
            torch.addmm(self.z_inputs[t], self.hidden[t], self.kernel_h, out=z)
            before, after = self.cells[t], self.cells[t + 1]
            kernels.advance(z, before, self.gates[t], after, self.half_tanh[t], exposed, cell_clip)
            torch.mm(exposed, self.projected, out=out)
            kernels.emit(out, self.outputs[t], self.hidden[t + 1], projection_clip)


@dataclass(frozen=True, kw_only=True, eq=False)
class _Backward:
    """Arrays of the way back.

    Attributes:
      grad_outputs: [T, B, P] float32.
      dz: [T, B, 4D], d_out: [T, B, P], exposed: [T, B, D], in the dtype of the products.
    """

    grad_outputs: Tensor
    dz: Tensor
    d_out: Tensor
    exposed: Tensor

    @classmethod
    def placed(cls, place: _Place, forward: _Forward) -> "_Backward":
        """Place them for the way back from there."""
        steps, batch, width = forward.outputs.shape
        cell, low = forward.cells.shape[2], forward.x.dtype
        return cls(
            grad_outputs=place("grad_outputs", (steps, batch, width), torch.float32),
            dz=place("dz", (steps, batch, 4 * cell), low),
            d_out=place("d_out", (steps, batch, width), low),
            exposed=place("exposed", (steps, batch, cell), low),
        )

    def run(
        self, done: _Forward, kernels: TorchSteps, cell_clip: float, projection_clip: float
    ) -> None:
        """Go back through all steps: grad_outputs in, everything else out."""
        dh = torch.zeros_like(done.hidden[0])
        dc = torch.zeros_like(done.half_tanh[0])
        d_exposed = torch.empty_like(self.exposed[0])
        kernel_h_t, projected_t = done.kernel_h.t(), done.projected.t()
        for t in range(len(done.outputs) - 1, -1, -1):
            kernels.take(self.grad_outputs[t], dh, done.outputs[t], self.d_out[t], projection_clip)
            torch.mm(self.d_out[t], projected_t, out=d_exposed)
            kernels.retreat(
                d_exposed, done.gates[t], done.half_tanh[t], done.cells[t + 1], done.cells[t],
                dc, self.dz[t], self.exposed[t], cell_clip,
            )  # fmt: skip
            torch.mm(self.dz[t], kernel_h_t, out=dh)


class _ProjectedLstm(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        inputs: Tensor,
        kernel: Tensor,
        bias: Tensor,
        projection: Tensor,
        clips: tuple[float, float],
        low: torch.dtype,
        workspace: Workspace | None,
    ) -> Tensor:
        steps, batch, width_in = inputs.shape
        cell = len(projection)
        scale = _gate_scale(cell, inputs.device)
        scaled = kernel * scale
        shifted = bias.clone()
        shifted[2 * cell : 3 * cell] += FORGET_BIAS
        place = _place_of(workspace, inputs)
        arrays = _Forward.placed(place, inputs, projection, low)
        arrays.kernel_x.copy_(scaled[:width_in])
        arrays.kernel_h.copy_(scaled[width_in:])
        arrays.projected.copy_(projection)
        arrays.x.copy_(inputs.reshape(steps * batch, width_in))
        z_inputs = arrays.z_inputs.view(steps * batch, 4 * cell)
        torch.addmm((shifted * scale).to(low), arrays.x, arrays.kernel_x, out=z_inputs)
        ctx.arrays, ctx.clips, ctx.place, ctx.workspace = arrays, clips, place, workspace
        if workspace is None:
            arrays.run(TORCH_STEPS, *clips)
            # Another tensor of the same numbers: what is returned refers to ctx.
            return arrays.outputs.detach()
        workspace.passes += 1
        ctx.turn = workspace.passes
        _Backward.placed(place, arrays)  # whatever grows grows before anything is captured
        kernels = workspace.kernels
        workspace.run(("forward", steps, batch, clips), lambda: arrays.run(kernels, *clips))
        return arrays.outputs.clone()  # a caller's own: the next pass writes over the others

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        (grad_outputs,) = grads
        done, clips, workspace = ctx.arrays, ctx.clips, ctx.workspace
        ctx.arrays = None  # a pass is gone through once
        if workspace is not None and ctx.turn != workspace.passes:
            raise RuntimeError(
                f"pass {ctx.turn} through this layer goes backward after pass {workspace.passes} "
                "has begun in the same workspace; go backward before the next, or give each pass "
                "a workspace of its own"
            )
        steps, batch, width = done.outputs.shape
        cell = done.cells.shape[2]
        back = _Backward.placed(ctx.place, done)
        back.grad_outputs.copy_(grad_outputs)
        if workspace is None:
            back.run(done, TORCH_STEPS, *clips)
        else:
            kernels = workspace.kernels
            workspace.run(
                ("backward", steps, batch, clips), lambda: back.run(done, kernels, *clips)
            )
        dz = back.dz.view(steps * batch, 4 * cell)
        previous = done.hidden[:-1].reshape(steps * batch, width)
        scale = _gate_scale(cell, dz.device)
        d_kernel = torch.cat([done.x.t() @ dz, previous.t() @ dz]).float() * scale
        # Summed by a product: a column sum in half precision would lose small terms.
        ones = torch.ones(1, steps * batch, dtype=dz.dtype, device=dz.device)
        d_bias = (ones @ dz).float().view(-1) * scale
        d_projection = (back.exposed.view(-1, cell).t() @ back.d_out.view(-1, width)).float()
        d_inputs = None  # nobody asks for it where the layer below is frozen
        if ctx.needs_input_grad[0]:
            d_inputs = (dz @ done.kernel_x.t()).float().view(steps, batch, -1)
        return d_inputs, d_kernel, d_bias, d_projection, None, None, None


def _place_of(workspace: Workspace | None, on: Tensor) -> _Place:
    """Return what makes arrays: in a workspace, or anew."""
    if workspace is None:
        return lambda _, shape, dtype: torch.empty(shape, dtype=dtype, device=on.device)
    return lambda name, shape, dtype: workspace.place(name, shape, dtype, on)
