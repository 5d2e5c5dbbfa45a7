"""The elementwise work of an LSTM time step, for both directions."""

import math

import torch
from torch import Tensor

from elmo_infer.model import advance_cells


class TorchSteps:
    """What a time step does besides its products, in PyTorch's operations, on any device."""

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
        """Advance the cells of the rows that are active.

        Args:
          z: [2, R, 4 cell] what the outputs before add to the gates; g doubled.
          inputs: [2, S, R, 4 cell] what the inputs add.
          bias: [2, 4 cell].
          active: [S, R, 1] bool.
          cells: [2, R, cell] doubled; updated.
          exposed: [2, R, cell], gets half of sigmoid(o) * tanh(c), in its own dtype.
          step: of the S.
          clip: what cells are clipped to, not doubled; may be infinite.
        """
        gates = z.to(cells.dtype) + inputs[:, step] + bias[:, None]
        c, shown = cells.clone(), torch.empty_like(cells)
        advance_cells(gates, c, shown, None if math.isinf(clip) else clip)
        exposed.copy_(shown)
        torch.where(active[step], c, cells, out=cells)

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
        """Put out what is projected, and keep it as the state of the rows that are active.

        Args:
          projected: [2, R, H].
          active: [S, R, 1] bool.
          h: [2, R, H], updated.
          low: [2, R, H], gets h in the dtype of the products.
          outputs: [2, S, R, H], gets the outputs at `step`.
          step: of the S.
          scale: what `projected` is multiplied by.
          clip: what outputs are clipped to; may be infinite.
        """
        new = (projected.to(h.dtype) * scale).clamp_(-clip, clip)
        outputs[:, step] = new
        torch.where(active[step], new, h, out=h)
        low.copy_(h)
