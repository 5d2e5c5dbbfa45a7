"""Tensors of a safetensors file, as float32 whatever width they are stored in."""

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError
from safetensors.torch import load


def read_safetensors(data: bytes, where: str) -> dict[str, npt.NDArray[np.float32]]:
    """Read a file of floating-point tensors; NumPy knows no bfloat16, so they are widened.

    Args:
      data: of the file.
      where: its name, for errors.

    Raises:
      ValueError: if it is no such file, or holds a tensor of another kind; says which.
    """
    try:
        tensors = load(data)
    except (SafetensorError, KeyError) as error:
        raise ValueError(f"{where}: cannot be read as safetensors: {error}") from error
    for name, tensor in tensors.items():
        if not tensor.is_floating_point():
            kind = str(tensor.dtype).removeprefix("torch.")
            raise ValueError(f"{where}: tensor {name!r} is of {kind}, expected floating point")
    return {name: tensor.float().numpy() for name, tensor in tensors.items()}
