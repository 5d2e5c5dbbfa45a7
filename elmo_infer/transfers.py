"""Between host and device without waiting for the device, and what a full device says.

A copy between pageable memory and a device holds the host up. So what goes over lies in pinned
memory, which PyTorch keeps until the copy is done, and what comes back has an event to wait for,
long after the copy was asked for.
"""

from collections.abc import Sequence
from typing import Any

import numpy.typing as npt
import torch
from torch import Tensor


def to_device(array: npt.NDArray[Any], device: torch.device) -> Tensor:
    """Put an array where it is needed, in its own dtype; on the CPU it shares its memory."""
    tensor = torch.from_numpy(array)
    if device.type == "cpu":
        return tensor
    return tensor.pin_memory().to(device, non_blocking=True)


class HostCopy:
    """Tensors on their way to the host.

    The copies are queued behind the work that makes the tensors; `arrays` waits for them. Tensors
    of the CPU are handed through.
    """

    def __init__(self, tensors: Sequence[Tensor]) -> None:
        self._tensors = tuple(tensors)
        self._done: torch.cuda.Event | None = None
        device = self._tensors[0].device
        if device.type == "cpu":
            return
        self._tensors = tuple(
            torch.empty(one.shape, dtype=one.dtype, pin_memory=True).copy_(one, non_blocking=True)
            for one in self._tensors
        )
        self._done = torch.cuda.Event()
        self._done.record(torch.cuda.current_stream(device))

    def arrays(self) -> tuple[npt.NDArray[Any], ...]:
        """Wait until the copies are done and return them."""
        if self._done is not None:
            self._done.synchronize()
        return tuple(one.numpy() for one in self._tensors)


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether a device's memory was too small; CUDA's libraries have words of their own."""
    if isinstance(error, torch.OutOfMemoryError):
        return True
    words = ("CUDA error: out of memory", "CUBLAS_STATUS_ALLOC_FAILED")
    return isinstance(error, RuntimeError) and any(word in str(error) for word in words)
