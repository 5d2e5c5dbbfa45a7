"""The LSTM state at the start of each sentence: zeros, computed from a text, or given.

The original model carried its state from batch to batch, so it was never trained to start from
zeros. Here every sentence starts from the same state; "warm" takes the one that a fixed text leaves
behind, read sentence after sentence as one stream.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from elmo_infer.batching import Packing
from elmo_infer.config import BiLmConfig
from elmo_infer.model import BiLm, LstmState

InitialState = str | tuple[npt.ArrayLike, npt.ArrayLike]

WARM_TEXT = (
    "The committee said on Tuesday that it would publish the report before the end of the year .",
    "She walked along the river to the old bridge , where the boats were tied up for the night .",
    "In 1998 the company moved to a larger building and sold its first products abroad .",
    "What do you think we should do , if nobody comes ?",
)


def warm_state(bilm: BiLm) -> LstmState:
    """Read WARM_TEXT from the zero state, carrying the state along; return it for B = 1."""
    state = bilm.zero_state(1)
    with torch.inference_mode():
        for sentence in WARM_TEXT:
            tokens = [bilm.speller.start, *sentence.split(), bilm.speller.end]
            vectors = bilm.encode_types(tokens)
            packing = Packing(np.array([len(tokens)]))
            _, state = bilm.forward(
                vectors, np.arange(len(tokens)), packing, state, bilm.config.n_lstm_layers + 1
            )
    return state


def after_marks(bilm: BiLm, state: LstmState) -> LstmState:
    """Return the state after the first mark of a sentence: <S> forward, </S> backward.

    It is the same for every sentence, so it is computed once. The second mark is never read: no
    token's vector depends on it.
    """
    n_layers = bilm.config.n_lstm_layers + 1
    ends = []
    for direction, mark in enumerate((bilm.speller.start, bilm.speller.end)):
        vectors, packing = bilm.encode_types([mark]), Packing(np.array([1]))
        _, after = bilm.forward(vectors, np.array([0]), packing, state, n_layers)
        ends.append((after.h[:, direction], after.c[:, direction]))
    (forward_h, forward_c), (backward_h, backward_c) = ends
    return LstmState(
        h=torch.stack([forward_h, backward_h], dim=1), c=torch.stack([forward_c, backward_c], dim=1)
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


def start_state(bilm: BiLm, described: dict[str, Any]) -> LstmState:
    """Return the state every sentence starts from (B = 1), as `describe_start` described it."""
    if described["initial_state"] == "zero":
        return bilm.zero_state(1)
    if described["initial_state"] != "given":
        return warm_state(bilm)
    h, c = (bilm.placement.tensor(described[name][:, :, None]) for name in ("h", "c"))
    return LstmState(h=h, c=c)
