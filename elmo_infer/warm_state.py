"""The warmed initial state: where a biLM stands after having read some ordinary text.

The original model carried its state from batch to batch, so it was never trained to start from
zeros. Here every sentence starts from the same state; "warm" takes the one that the fixed text
below leaves behind, read sentence after sentence as one stream.
"""

import numpy as np
import torch

from elmo_infer.batching import Packing
from elmo_infer.model import BiLm, LstmState

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
