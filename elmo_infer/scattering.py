"""How the arrays of batches are copied to the places of their sentences in a result."""

from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import numpy.typing as npt
import torch

from elmo_infer.batching import Indices
from elmo_infer.results import EmbedResult


class Scattering:
    """Copies batches' arrays to the places of their sentences, from `with` to its end.

    Beside a device in a thread of its own: the result's memory is touched here for the first time,
    which takes as long as a fast device takes to compute it. PyTorch copies a batch in one call,
    without Python's lock: the thread that feeds the device needs it, and got it late from threads
    that copied sentence by sentence.
    """

    def __init__(self, result: EmbedResult, device: torch.device) -> None:
        self._result = result
        self._thread = None if device.type == "cpu" else ThreadPoolExecutor(1, "elmo-results")
        self._copy: Future[None] | None = None

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
        if self._thread is None:
            _scatter_tokens(self._result, batch, token_vectors, attention)
        else:
            self._copy = self._thread.submit(
                _scatter_tokens, self._result, batch, token_vectors, attention
            )

    def __exit__(self, *_: object) -> None:
        if self._thread is not None:
            self._thread.shutdown()
            self._wait()

    def _wait(self) -> None:
        if self._copy is not None:
            self._copy.result()
            self._copy = None


def _scatter_tokens(
    result: EmbedResult,
    batch: Indices,
    token_vectors: npt.NDArray[np.floating],
    attention: npt.NDArray[np.floating],
) -> None:
    starts, lengths = result.offsets[batch], result.offsets[batch + 1] - result.offsets[batch]
    places = np.repeat(starts - (np.cumsum(lengths) - lengths), lengths) + np.arange(len(attention))
    result.attention[places] = attention
    source = torch.from_numpy(token_vectors.astype(np.float32, copy=False))
    torch.from_numpy(result.token_vectors).index_copy_(0, torch.from_numpy(places), source)
