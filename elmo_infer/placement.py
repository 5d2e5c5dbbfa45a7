"""Where a model computes, and in what precision."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from elmo_infer.batching import Indices
from elmo_infer.quantized_linear import Linear, make_linear
from elmo_infer.transfers import to_device


@dataclass(frozen=True, kw_only=True)
class Placement:
    """Where a model computes, and in what.

    Attributes:
      device: where the tensors live.
      dtype: of matrix products.
    """

    device: torch.device
    dtype: torch.dtype

    @property
    def state_dtype(self) -> torch.dtype:
        """The dtype of everything that is not inside a matrix product; float32 at least."""
        return torch.promote_types(self.dtype, torch.float32)

    def tensor(self, array: np.ndarray) -> Tensor:
        """Put an array of numbers where it is needed."""
        return torch.tensor(array, dtype=self.state_dtype, device=self.device)

    def indices(self, array: Indices) -> Tensor:
        """Put indices where they are needed."""
        return to_device(array, self.device)

    def linear(self, weight: Tensor, bias: np.ndarray | None) -> Linear:
        """Prepare x -> x @ weight.T + bias; weight [out, in]."""
        return make_linear(weight, bias, self.dtype, self.device)
