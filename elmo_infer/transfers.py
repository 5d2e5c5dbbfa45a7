"""Copies between host and GPU that do not wait for the GPU, and its out-of-memory errors.

A copy between pageable memory and a device holds the host up. So what goes over lies in pinned
memory, which PyTorch keeps until the copy is done, and what comes back has an event to wait for,
long after the copy was asked for.
"""

from collections.abc import Sequence
from functools import cache
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


@cache
def copying_stream(device: torch.device) -> torch.cuda.Stream:
    """Return the stream of a device on which results leave it."""
    return torch.cuda.Stream(device)


class HostCopy:
    """Tensors on their way to the host.

    The copies wait for the work that makes the tensors, on a stream of their own, beside the work
    that is queued next; `arrays` waits for them. Tensors of the CPU are handed through.
    """

    def __init__(self, tensors: Sequence[Tensor]) -> None:
        self._tensors = tuple(tensors)
        self._done: torch.cuda.Event | None = None
        device = self._tensors[0].device
        if device.type == "cpu":
            return
        stream = copying_stream(device)
        stream.wait_stream(torch.cuda.current_stream(device))
        with torch.cuda.stream(stream):
            copies = tuple(
                torch.empty(one.shape, dtype=one.dtype, pin_memory=True).copy_(
                    one, non_blocking=True
                )
                for one in self._tensors
            )
        for one in self._tensors:
            one.record_stream(stream)  # its memory is given to others after the copy only
        self._tensors = copies
        self._done = torch.cuda.Event()
        self._done.record(stream)

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
