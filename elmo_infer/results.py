"""The result of embedding."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, kw_only=True, eq=False)
class EmbedResult:
    """Vectors of B sentences with n tokens in total, in the order of the sentences.

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
