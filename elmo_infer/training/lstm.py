"""The biLM's LSTM layer with its backward pass written by hand.

PyTorch has no fast LSTM with projection and clipping on a CPU. This one makes the input
projection of all time steps one matrix product, runs the recurrence on preallocated
arrays, and takes the weight gradients of all time steps in one product again.

The equations are those of ELMO_FORMAT (Sak et al. 2014, with TensorFlow's gate order):

    z = [x, h] W + b                        gates i, j, f, o
    c' = clip(sigmoid(f + 1) c + sigmoid(i) tanh(j))
    h' = clip((sigmoid(o) tanh(c')) W_P)

Every gate goes through one sigmoid call: tanh(j) = 2 sigmoid(2j) - 1, and a vectorised
sigmoid costs a sixth of a tanh. The factor 2 is folded into the columns of j.
"""

from typing import Any

import torch
from torch import Tensor

FORGET_BIAS = 1.0


def projected_lstm(
    inputs: Tensor,
    kernel: Tensor,
    bias: Tensor,
    projection: Tensor,
    *,
    cell_clip: float,
    projection_clip: float,
    compute_dtype: torch.dtype = torch.float32,
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

    Returns:
      [T, B, P] float32 outputs, before any residual connection.
    """
    output: Tensor = _ProjectedLstm.apply(
        inputs, kernel, bias, projection, cell_clip, projection_clip, compute_dtype
    )
    return output


def _gate_scale(cell: int, device: torch.device) -> Tensor:
    """Return [4D]: 2 at the columns of j, 1 elsewhere."""
    scale = torch.ones(4 * cell, device=device)
    scale[cell : 2 * cell] = 2.0
    return scale


class _ProjectedLstm(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        inputs: Tensor,
        kernel: Tensor,
        bias: Tensor,
        projection: Tensor,
        cell_clip: float,
        projection_clip: float,
        dtype: torch.dtype,
    ) -> Tensor:
        steps, batch, width_in = inputs.shape
        cell, width = projection.shape
        device = inputs.device
        scale = _gate_scale(cell, device)
        scaled = kernel * scale
        kernel_x = scaled[:width_in].to(dtype)
        kernel_h = scaled[width_in:].to(dtype)
        shifted = bias.clone()
        shifted[2 * cell : 3 * cell] += FORGET_BIAS
        projected = projection.to(dtype)
        x = inputs.reshape(steps * batch, width_in).to(dtype)
        z_inputs = torch.addmm((shifted * scale).to(dtype), x, kernel_x)
        z_inputs = z_inputs.view(steps, batch, 4 * cell)

        gates = torch.empty(steps, batch, 4 * cell, device=device)
        cells = torch.zeros(steps + 1, batch, cell, device=device)
        half_tanh = torch.empty(steps, batch, cell, device=device)  # sigmoid(2c)
        hidden = torch.zeros(steps + 1, batch, width, dtype=dtype, device=device)
        outputs = torch.empty(steps, batch, width, device=device)
        z = torch.empty(batch, 4 * cell, dtype=dtype, device=device)
        exposed = torch.empty(batch, cell, device=device)
        out = torch.empty(batch, width, dtype=dtype, device=device)
        for t in range(steps):
            torch.addmm(z_inputs[t], hidden[t], kernel_h, out=z)
            gate = gates[t].copy_(z).sigmoid_()
            i, j, f, o = gate.split(cell, dim=1)
            c, s = cells[t + 1], half_tanh[t]
            torch.mul(f, cells[t], out=c)
            c.addcmul_(i, j, value=2.0).sub_(i).clamp_(-cell_clip, cell_clip)
            torch.mul(c, 2.0, out=s).sigmoid_()
            torch.mul(o, s, out=exposed).mul_(2.0).sub_(o)
            torch.mm(exposed.to(dtype), projected, out=out)
            outputs[t].copy_(out).clamp_(-projection_clip, projection_clip)
            hidden[t + 1].copy_(outputs[t])
        ctx.save_for_backward(
            x, kernel_x, kernel_h, projected, gates, cells, half_tanh, hidden, outputs
        )
        ctx.clips = (cell_clip, projection_clip)
        return outputs

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        (grad_outputs,) = grads
        x, kernel_x, kernel_h, projected, gates, cells, half_tanh, hidden, outputs = (
            ctx.saved_tensors
        )
        cell_clip, projection_clip = ctx.clips
        steps, batch, width = outputs.shape
        cell = cells.shape[2]
        device, dtype = outputs.device, x.dtype
        dz = torch.empty(steps, batch, 4 * cell, dtype=dtype, device=device)
        d_out = torch.empty(steps, batch, width, dtype=dtype, device=device)
        exposed = torch.empty(steps, batch, cell, dtype=dtype, device=device)
        dh = torch.zeros(batch, width, dtype=dtype, device=device)
        dc = torch.zeros(batch, cell, device=device)
        d_exposed = torch.empty(batch, cell, dtype=dtype, device=device)
        step = torch.empty(batch, 4 * cell, device=device)
        kernel_h_t, projected_t = kernel_h.t(), projected.t()
        di, dj, df, do = step.split(cell, dim=1)
        for t in range(steps - 1, -1, -1):
            gate = gates[t]
            i, j, f, o = gate.split(cell, dim=1)
            g = grad_outputs[t] + dh
            # A clipped value does not move with what it was made of.
            g.masked_fill_(outputs[t].abs() >= projection_clip, 0.0)
            d_out[t].copy_(g)
            torch.mm(d_out[t], projected_t, out=d_exposed)
            tanh_c = half_tanh[t] * 2.0 - 1.0
            de = d_exposed.float()
            torch.mul(o, tanh_c, out=exposed[t])
            torch.mul(de, tanh_c, out=do)
            # d tanh(c) = 1 - tanh(c)^2
            de.mul_(o)
            dc.add_(de).sub_(de.mul_(tanh_c).mul_(tanh_c))
            dc.masked_fill_(cells[t + 1].abs() >= cell_clip, 0.0)
            # With s = sigmoid(2 z_j): tanh(z_j) = 2s - 1, and d tanh / d(2 z_j) = 2 s (1 - s).
            torch.mul(j, 2.0, out=di).sub_(1.0).mul_(dc)
            torch.mul(dc, i, out=dj).mul_(2.0)
            torch.mul(dc, cells[t], out=df)
            dc.mul_(f)
            torch.mul(step, gate, out=step)
            torch.addcmul(step, step, gate, value=-1.0, out=step)
            dz[t].copy_(step)
            torch.mm(dz[t], kernel_h_t, out=dh)
        dz_flat = dz.view(steps * batch, 4 * cell)
        previous = hidden[:-1].reshape(steps * batch, width)
        scale = _gate_scale(cell, device)
        d_kernel = torch.cat([x.t() @ dz_flat, previous.t() @ dz_flat]).float() * scale
        # Summed by a product: a column sum in half precision would lose small terms.
        ones = torch.ones(1, steps * batch, dtype=dtype, device=device)
        d_bias = (ones @ dz_flat).float().view(-1) * scale
        d_projection = (exposed.view(-1, cell).t() @ d_out.view(-1, width)).float()
        d_inputs = None  # nobody asks for it where the layer below is frozen
        if ctx.needs_input_grad[0]:
            d_inputs = (dz_flat @ kernel_x.t()).float().view(steps, batch, -1)
        return d_inputs, d_kernel, d_bias, d_projection, None, None, None
