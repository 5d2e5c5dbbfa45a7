"""Named tensors of a weights file; every shape checked."""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from elmo_infer.weights import Array


class TensorReader:
    """Hands out named float32 tensors of known shape; says exactly what is wrong otherwise.

    Args:
      where: the file, for errors.
      get: returns a tensor by name, or None if there is none of that name.
    """

    def __init__(self, where: str, get: Callable[[str], npt.NDArray[Any] | None]) -> None:
        self.where = where
        self._get = get

    def has(self, name: str) -> bool:
        """Return whether there is such a tensor."""
        return self._get(name) is not None

    def __call__(self, name: str, *shape: int | None) -> Array:
        """Return tensor `name` of `shape`; None in the shape stands for any size.

        Raises:
          ValueError: if it is missing, has another shape, or holds numbers that are not finite.
        """
        found = self._get(name)
        if found is None:
            raise ValueError(
                f"{self.where}: tensor {name!r} is missing; expected shape {_show(shape)} "
                "by the options. The weights and the options may belong to different models"
            )
        if len(found.shape) != len(shape) or any(
            want is not None and have != want for have, want in zip(found.shape, shape, strict=True)
        ):
            raise ValueError(
                f"{self.where}: tensor {name!r} has shape {_show(found.shape)}, expected "
                f"{_show(shape)} by the options. The weights and the options may belong to "
                "different models"
            )
        values = np.asarray(found, dtype=np.float32)
        if not np.isfinite(values).all():
            raise ValueError(
                f"{self.where}: tensor {name!r} holds NaN or infinity; the file is"
                " damaged: fetch it again"
            )
        return values


def _show(shape: tuple[int | None, ...]) -> str:
    return "(" + ", ".join("any" if size is None else str(size) for size in shape) + ")"
