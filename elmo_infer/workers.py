"""Threads that each compute on one core.

The two directions of a biLM, and batches, are independent: giving each a thread of its own beats
splitting every matrix product over all cores, whose threads wait for each other at each of them.
"""

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

import torch

Result = TypeVar("Result")


class _TorchThreads:
    """torch's number of threads, which is one for the whole process, held at 1 while needed."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._holders = 0
        self._normal = 1

    def normal(self) -> int:
        """Return the number that torch is set to when nobody holds it."""
        with self._lock:
            return self._normal if self._holders else torch.get_num_threads()

    @contextmanager
    def held_at_one(self) -> Iterator[None]:
        with self._lock:
            if self._holders == 0:
                self._normal = torch.get_num_threads()
                torch.set_num_threads(1)
            self._holders += 1
        try:
            yield
        finally:
            with self._lock:
                self._holders -= 1
                if self._holders == 0:
                    torch.set_num_threads(self._normal)


_torch_threads = _TorchThreads()


class Workers:
    """Runs independent computations on as many threads as torch is set to use.

    That is `torch.get_num_threads()` (OMP_NUM_THREADS) at the time of a call. While they run,
    torch's own number is 1 in the whole process; it is put back afterwards.

    Args:
      at_most: bound of the threads; with 1, everything runs in the caller's.
    """

    def __init__(self, at_most: int | None = None) -> None:
        self._at_most = at_most
        self._pool: ThreadPoolExecutor | None = None
        self._size = 0

    @property
    def count(self) -> int:
        """How many computations run at once."""
        normal = _torch_threads.normal()
        return normal if self._at_most is None else min(normal, self._at_most)

    def run(self, tasks: Sequence[Callable[[], Result]]) -> list[Result]:
        """Run all tasks, without gradients; return their results in order.

        The first exception is raised, once all of them have ended.
        """
        if len(tasks) == 1 or self.count == 1:
            return [_infer(task) for task in tasks]
        executor = self._executor()
        with _torch_threads.held_at_one():
            futures = [executor.submit(_infer, task) for task in tasks]
            for future in futures:
                future.exception()
        return [future.result() for future in futures]

    def _executor(self) -> ThreadPoolExecutor:
        if self._pool is None or self._size != self.count:
            if self._pool is not None:
                self._pool.shutdown()
            self._size = self.count
            self._pool = ThreadPoolExecutor(self._size, "elmo")
        return self._pool


def _infer(task: Callable[[], Result]) -> Result:
    with torch.inference_mode():
        return task()
