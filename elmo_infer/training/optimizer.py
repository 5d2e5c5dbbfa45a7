"""Adam for the dense parameters, and Adam on just the touched rows of the softmax table."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.optim.adam import adam

BETA1, BETA2, EPSILON = 0.9, 0.99, 1e-8


@dataclass(kw_only=True)
class Moments:
    """Adam's running moments (Kingma and Ba 2015, algorithm 1) of one array.

    Attributes:
      first, second: of the shape of the array.
      updates: where the array is, how often each row was updated, [rows, 1] int64; or how often
        all of it was, a float32 scalar.
    """

    first: Tensor
    second: Tensor
    updates: Tensor

    @classmethod
    def for_array(cls, array: Tensor, by_row: bool = False) -> "Moments":
        """Start at zero."""
        updates = torch.zeros(array.shape[0], 1, dtype=torch.int64) if by_row else torch.zeros(())
        return cls(
            first=torch.zeros_like(array),
            second=torch.zeros_like(array),
            updates=updates.to(array.device),
        )

    def to(self, device: torch.device) -> "Moments":
        """Return the same on a device."""
        return Moments(
            first=self.first.to(device),
            second=self.second.to(device),
            updates=self.updates.to(device),
        )


@torch.no_grad()
def adam_update(
    values: Sequence[Tensor], gradients: Sequence[Tensor], moments: Sequence[Moments], rate: float
) -> None:
    """Update arrays in place, all in one pass of PyTorch's fused Adam."""
    adam(
        list(values),
        list(gradients),
        [one.first for one in moments],
        [one.second for one in moments],
        [],
        [one.updates for one in moments],
        fused=True,
        amsgrad=False,
        beta1=BETA1,
        beta2=BETA2,
        lr=rate,
        weight_decay=0.0,
        eps=EPSILON,
        maximize=False,
    )


def adam_update_rows(
    value: Tensor, rows: Tensor, gradient: Tensor, moments: Moments, rate: float
) -> None:
    """Update the given rows [R] of an array in place; the others, moments included, rest."""
    updates = moments.updates[rows] + 1
    first = moments.first[rows].lerp_(gradient, 1 - BETA1)
    second = moments.second[rows].mul_(BETA2).addcmul_(gradient, gradient, value=1 - BETA2)
    moments.updates[rows], moments.first[rows], moments.second[rows] = updates, first, second
    corrected = first / (1 - BETA1 ** updates.float())
    scale = (second / (1 - BETA2 ** updates.float())).sqrt_().add_(EPSILON)
    value[rows] -= rate * corrected / scale


def clip_gradients(gradients: list[Tensor], max_norm: float) -> None:
    """Scale gradients in place to a joint norm of at most max_norm; nothing waits for a device."""
    norm = torch.nn.utils.get_total_norm(gradients)
    # The function that torch's own clipping calls; the public one wants parameters.
    torch._foreach_mul_(gradients, (max_norm / norm).clamp(max=1.0))
