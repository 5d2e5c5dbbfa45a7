"""The LSTM state at the start of each sentence, in words: zeros, warm, or given arrays.

The original model carried its state from batch to batch, so it was never trained to start from
zeros. Here every sentence starts from the same state; "warm" takes the one that a fixed text leaves
behind, read sentence after sentence as one stream.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from elmo_infer.config import BiLmConfig

InitialState = str | tuple[npt.ArrayLike, npt.ArrayLike]

WARM_TEXT = (
    "The committee said on Tuesday that it would publish the report before the end of the year .",
    "She walked along the river to the old bridge , where the boats were tied up for the night .",
    "In 1998 the company moved to a larger building and sold its first products abroad .",
    "What do you think we should do , if nobody comes ?",
)


def describe_start(config: BiLmConfig, initial_state: InitialState) -> dict[str, Any]:
    """Return what of an initial state enters the fingerprint; nothing is computed.

    Raises:
      ValueError: if it is neither "zero", "warm" nor arrays of the right shapes.
    """
    if isinstance(initial_state, str):
        if initial_state == "zero":
            return {"initial_state": "zero"}
        if initial_state == "warm":
            return {"initial_state": ["warm", WARM_TEXT]}
        raise ValueError(
            f"unknown initial_state {initial_state!r}; expected 'zero', 'warm' or arrays (h, c)"
        )
    try:
        h, c = (np.asarray(array, dtype=np.float64) for array in initial_state)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"initial_state cannot be read as two arrays (h, c): {error}; "
            "expected 'zero', 'warm' or arrays (h, c)"
        ) from error
    for name, given, width in (("h", h, config.projection_dim), ("c", c, config.cell_dim)):
        expected = (config.n_lstm_layers, 2, width)
        if given.shape != expected or not np.isfinite(given).all():
            raise ValueError(
                f"initial_state: {name} has shape {given.shape}, expected {expected} "
                "(n_lstm_layers, directions, width), all finite"
            )
    return {"initial_state": "given", "h": h, "c": c}
