"""Adam for the dense parameters, and Adam on just the touched rows of the softmax table."""

from dataclasses import dataclass

import torch
from torch import Tensor

BETA1, BETA2, EPSILON = 0.9, 0.99, 1e-8


@dataclass(kw_only=True)
class Moments:
    """Adam's running moments (Kingma and Ba 2015, algorithm 1) of one array.

    Attributes:
      first, second: of the shape of the array.
      updates: [rows, 1] int64, how often each row was updated, where the array is; or [1, 1] for
        all, on the CPU, so that reading it waits for no device.
    """

    first: Tensor
    second: Tensor
    updates: Tensor

    @classmethod
    def for_array(cls, array: Tensor, by_row: bool = False) -> "Moments":
        """Start at zero."""
        updates = torch.zeros(array.shape[0] if by_row else 1, 1, dtype=torch.int64)
        return cls(
            first=torch.zeros_like(array),
            second=torch.zeros_like(array),
            updates=updates.to(array.device) if by_row else updates,
        )

    def to(self, device: torch.device) -> "Moments":
        """Return the same on a device."""
        by_row = len(self.updates) > 1
        return Moments(
            first=self.first.to(device),
            second=self.second.to(device),
            updates=self.updates.to(device) if by_row else self.updates,
        )


def adam_update(value: Tensor, gradient: Tensor, moments: Moments, rate: float) -> None:
    """Update an array in place."""
    moments.updates += 1
    updates = int(moments.updates)
    moments.first.lerp_(gradient, 1 - BETA1)
    moments.second.mul_(BETA2).addcmul_(gradient, gradient, value=1 - BETA2)
    correction2 = (1 - BETA2**updates) ** 0.5
    denominator = moments.second.sqrt().div_(correction2).add_(EPSILON)
    value.addcdiv_(moments.first, denominator, value=-rate / (1 - BETA1**updates))


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
    norm = torch.stack([gradient.norm() for gradient in gradients]).norm()
    scale = (max_norm / norm).clamp(max=1.0)
    for gradient in gradients:
        gradient.mul_(scale)
