"""Computes the LSTM state at the start of each sentence (see elmo_infer.initial_state)."""

from typing import Any

import numpy as np
import torch

from elmo_infer.batching import Packing
from elmo_infer.initial_state import WARM_TEXT
from elmo_infer.model import BiLm, LstmState


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


def start_state(bilm: BiLm, described: dict[str, Any]) -> LstmState:
    """Return the state every sentence starts from (B = 1), as `describe_start` described it."""
    if described["initial_state"] == "zero":
        return bilm.zero_state(1)
    if described["initial_state"] != "given":
        return warm_state(bilm)
    h, c = (bilm.placement.tensor(described[name][:, :, None]) for name in ("h", "c"))
    return LstmState(h=h, c=c)
