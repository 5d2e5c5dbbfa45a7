"""Subtract what all vectors share, so that cosines tell meanings apart.

ELMo's vectors lie in a narrow cone: any two of them have a high cosine (Ethayarajh 2019). Removing
the mean, and where it helps the top principal components around it ("all but the top", Mu and
Viswanath 2018), opens the cone. What was removed belongs to the index and is removed from queries.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

_BLOCK_ROWS = 8192
# Occurrences' worth of doubt about a word's mean.
SHRINKAGE = 10


@dataclass(frozen=True, eq=False)
class Centering:
    """What an index takes out of every vector before it normalises it.

    Attributes:
      mean: [D] float32; zeros where nothing was subtracted.
      components: [R, D] float32, orthonormal rows; R may be 0.
    """

    mean: Floats
    components: Floats

    def apply(self, vectors: NDArray[Any]) -> Floats:
        """Centre vectors and scale them to length 1.

        Args:
          vectors: [n, D] float16 or float32; not changed.

        Returns:
          [n, D] float32. A zero vector (an empty sentence) has no direction and stays zero.

        Raises:
          ValueError: if the widths do not agree; the message gives both.
        """
        if vectors.ndim != 2 or vectors.shape[1] != len(self.mean):
            raise ValueError(
                f"vectors of shape {list(vectors.shape)} do not fit an index of width"
                f" {len(self.mean)}; expected [n, {len(self.mean)}]"
            )
        given = vectors.astype(np.float32)
        centered = given - self.mean
        if len(self.components):
            centered -= (centered @ self.components.T) @ self.components
        centered[~given.any(axis=1)] = 0
        return normalize(centered)

    def apply_in_place(self, vectors: Floats) -> Floats:
        """Do what `apply` does in the memory of the vectors; returns them."""
        for first in range(0, len(vectors), _BLOCK_ROWS):
            block = slice(first, first + _BLOCK_ROWS)
            vectors[block] = self.apply(vectors[block])
        return vectors

    def to_json(self) -> dict[str, Any]:
        """Return what stands in index.json; numbers are exact in decimal."""
        return {"mean": self.mean.tolist(), "components": self.components.tolist()}

    @classmethod
    def from_json(cls, fields: dict[str, Any]) -> "Centering":
        """Read what `to_json` gave."""
        mean = np.asarray(fields["mean"], np.float32)
        components = np.asarray(fields["components"], np.float32).reshape(-1, len(mean))
        return cls(mean, components)


def normalize(vectors: Floats) -> Floats:
    """Scale rows to length 1 in a new array; rows shorter than 1e-12 become zero."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.divide(vectors, lengths, out=np.zeros_like(vectors), where=lengths > 1e-12)


def fit_centering(sample: NDArray[Any], *, center: bool, remove_components: int) -> Centering:
    """Find the mean and the top principal components of a sample.

    Args:
      sample: [n, D]; zero vectors are left out.
      center: whether to subtract the mean.
      remove_components: R, how many components to remove; needs more than R vectors.

    Raises:
      ValueError: if R components cannot be had from this sample.
    """
    kept = sample.any(axis=1)
    rows = sample if kept.all() else sample[kept]
    dim = sample.shape[1]
    if not center:
        return Centering(np.zeros(dim, np.float32), np.zeros((0, dim), np.float32))
    if not 0 <= remove_components < max(1, min(len(rows), dim)):
        raise ValueError(
            f"cannot remove {remove_components} principal components from {len(rows)} vectors of"
            f" width {dim}; give fewer"
        )
    # Sums are of float64, but never is the whole sample.
    mean = rows.mean(axis=0, dtype=np.float64) if len(rows) else np.zeros(dim)
    components = np.zeros((0, dim))
    if remove_components:
        scatter = np.zeros((dim, dim))
        for first in range(0, len(rows), _BLOCK_ROWS):
            centered = rows[first : first + _BLOCK_ROWS] - mean
            scatter += centered.T @ centered
        _, vectors = np.linalg.eigh(scatter)  # eigenvalues ascend
        components = vectors[:, ::-1].T[:remove_components]
        # A component and its opposite are the same direction: fix the sign for equal bytes.
        largest = np.abs(components).argmax(axis=1)
        components *= np.sign(components[np.arange(len(components)), largest])[:, None]
    return Centering(mean.astype(np.float32), components.astype(np.float32))


def shrunk_mean(total: NDArray[Any], count: int) -> Floats:
    """Return the mean of a word's vectors, drawn towards zero where there are few.

    The mean of one occurrence would leave nothing of it.

    Args:
      total: [D] sum of the vectors.
      count: how many there are.

    Returns:
      [D] float32, total / (count + SHRINKAGE).
    """
    return (total / (count + SHRINKAGE)).astype(np.float32)
