"""Tensors of a safetensors file, as float32 whatever width they are stored in."""

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError, deserialize

Floats = npt.NDArray[np.float32]
_NUMPY_DTYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2"}


def read_safetensors(data: bytes, where: str) -> dict[str, Floats]:
    """Read a file of floating-point tensors.

    Args:
      data: of the file.
      where: its name, for errors.

    Raises:
      ValueError: if it is no such file, or holds a tensor of another kind; says which.
    """
    try:
        tensors = deserialize(data)
    except SafetensorError as error:
        raise ValueError(f"{where}: cannot be read as safetensors: {error}") from error
    return {
        name: _widen(tensor["data"], tensor["dtype"], f"{where}: tensor {name!r}").reshape(
            tensor["shape"]
        )
        for name, tensor in tensors
    }


def _widen(data: bytes, dtype: str, which: str) -> Floats:
    if dtype == "BF16":  # NumPy has none: the upper half of a float32
        halves = np.frombuffer(data, "<u2").astype(np.uint32)
        return np.left_shift(halves, 16).view(np.float32)
    if dtype not in _NUMPY_DTYPES:
        kinds = ", ".join([*_NUMPY_DTYPES, "BF16"])
        raise ValueError(f"{which} is of {dtype}, expected floating point ({kinds})")
    return np.frombuffer(data, _NUMPY_DTYPES[dtype]).astype(np.float32)
