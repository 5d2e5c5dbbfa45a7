"""What embedding leaves on the host, and how batches' arrays get to their places in it."""

from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from elmo_infer.batching import Indices

Floats = npt.NDArray[np.float32]

COPYING_THREADS = 4


@dataclass(frozen=True, kw_only=True, eq=False)
class EmbedResult:
    """Vectors of B sentences with n tokens in all, in the order they were given.

    Attributes:
      token_vectors: [n, D] float32.
      offsets: [B + 1] int64; the tokens of sentence b are rows offsets[b] to offsets[b + 1].
      sentence_vectors: [B, D] float32; zero for a sentence without tokens.
      attention: [n] float32, the weight of each token in its sentence's vector.
    """

    token_vectors: Floats
    offsets: npt.NDArray[np.int64]
    sentence_vectors: Floats
    attention: Floats


class Scattering:
    """Copies batches' arrays to the places of their sentences, from `with` to its end.

    Beside a device in threads of its own: the result's memory is touched here for the first time,
    which takes as long as a fast device takes to compute it.
    """

    def __init__(self, result: EmbedResult, device: torch.device) -> None:
        self._result = result
        self._pool = None if device.type == "cpu" else ThreadPoolExecutor(COPYING_THREADS)
        self._copies: list[Future[None]] = []

    def __enter__(self) -> "Scattering":
        return self

    def __call__(
        self,
        batch: Indices,
        token_vectors: npt.NDArray[np.floating],
        pooled: npt.NDArray[np.floating],
        attention: npt.NDArray[np.floating],
    ) -> None:
        """Copy one batch's arrays, once those of the batch before are copied.

        So few batches are held; what they lie in is pinned memory, which is slow to get.
        """
        self._wait()
        self._result.sentence_vectors[batch] = pooled
        if self._pool is None:
            _scatter_tokens(self._result, batch, token_vectors, attention)
            return
        offsets, first = self._result.offsets, 0
        for share in np.array_split(batch, COPYING_THREADS):
            last = first + int((offsets[share + 1] - offsets[share]).sum())
            copied = self._pool.submit(
                _scatter_tokens,
                self._result,
                share,
                token_vectors[first:last],
                attention[first:last],
            )
            self._copies.append(copied)
            first = last

    def __exit__(self, *_: object) -> None:
        if self._pool is not None:
            self._pool.shutdown()
            self._wait()

    def _wait(self) -> None:
        for copied in self._copies:
            copied.result()
        self._copies.clear()


def _scatter_tokens(
    result: EmbedResult,
    batch: Indices,
    token_vectors: npt.NDArray[np.floating],
    attention: npt.NDArray[np.floating],
) -> None:
    first = 0
    for begin, end in zip(
        result.offsets[batch].tolist(), result.offsets[batch + 1].tolist(), strict=True
    ):
        last = first + end - begin
        result.token_vectors[begin:end] = token_vectors[first:last]
        result.attention[begin:end] = attention[first:last]
        first = last
