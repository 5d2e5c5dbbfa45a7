"""What every sentence starts from: zeros, a warmed state, or a given one.

The original model carried its state from batch to batch, so it was never trained to start from
zeros. Here every sentence starts from the same state; "warm" takes the one that a fixed text leaves
behind, read sentence after sentence as one stream.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from elmo_infer.batching import Packing
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


def start_state(bilm: BiLm, initial_state: InitialState) -> tuple[LstmState, dict[str, Any]]:
    """Return the state every sentence starts from (B = 1), and what of it enters the fingerprint.

    Raises:
      ValueError: if it is neither "zero", "warm" nor arrays of the right shapes.
    """
    if isinstance(initial_state, str):
        if initial_state == "zero":
            return bilm.zero_state(1), {"initial_state": "zero"}
        if initial_state == "warm":
            return warm_state(bilm), {"initial_state": ["warm", WARM_TEXT]}
        raise ValueError(
            f"unknown initial_state {initial_state!r}; expected 'zero', 'warm' or arrays (h, c)"
        )
    zero = bilm.zero_state(1)
    try:
        h, c = (np.asarray(array, dtype=np.float64) for array in initial_state)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"initial_state cannot be read as two arrays (h, c): {error}; "
            "expected 'zero', 'warm' or arrays (h, c)"
        ) from error
    for name, given, like in (("h", h, zero.h), ("c", c, zero.c)):
        expected = (*like.shape[:2], like.shape[3])
        if given.shape != expected or not np.isfinite(given).all():
            raise ValueError(
                f"initial_state: {name} has shape {given.shape}, expected {expected} "
                "(n_lstm_layers, directions, width), all finite"
            )
    state = LstmState(
        h=torch.from_numpy(h[:, :, None]).to(zero.h), c=torch.from_numpy(c[:, :, None]).to(zero.c)
    )
    return state, {"initial_state": "given", "h": h, "c": c}
