"""What sentences start from."""

from pathlib import Path

import numpy as np
import torch

from elmo_infer import load
from elmo_infer.batching import Packing
from elmo_infer.initial_state import WARM_TEXT
from elmo_infer.states import after_marks, warm_state


def test_warm_state_is_that_of_the_text_as_one_stream(tiny_elmo_dir: Path, model_bound) -> None:
    bilm = load(tiny_elmo_dir, device="cpu").bilm
    stream = [token for text in WARM_TEXT for token in ("<S>", *text.split(), "</S>")]

    _, expected = bilm.forward(
        bilm.encode_types(stream),
        np.arange(len(stream)),
        Packing(np.array([len(stream)])),
        bilm.zero_state(1),
        3,
    )

    warm = warm_state(bilm)
    for found, want in ((warm.h, expected.h), (warm.c, expected.c)):
        scale = max(1.0, float(want.abs().max()))
        bound = model_bound(bilm.config, steps=len(stream), scale=scale)
        torch.testing.assert_close(found[:, 0], want[:, 0], atol=bound, rtol=0)


def test_reading_on_from_the_warm_state_stays_near_it(tiny_elmo_dir: Path) -> None:
    # The reason for one fixed state: what came before is soon forgotten.
    bilm = load(tiny_elmo_dir, device="cpu").bilm
    tokens = ["<S>", *WARM_TEXT[-1].split(), "</S>"]
    arguments = bilm.encode_types(tokens), np.arange(len(tokens)), Packing(np.array([len(tokens)]))

    _, from_zero = bilm.forward(*arguments, bilm.zero_state(1), 3)
    _, from_warm = bilm.forward(*arguments, warm_state(bilm), 3)

    moved = (warm_state(bilm).c - bilm.zero_state(1).c).abs().max()
    assert (from_zero.c - from_warm.c).abs().max() < 0.5 * moved


def test_marks_are_read_forward_and_backward(tiny_elmo_dir: Path, model_bound) -> None:
    bilm = load(tiny_elmo_dir, device="cpu").bilm
    tokens = ["<S>", "bank", "</S>"]
    packing = Packing(np.array([3]))

    layers, _ = bilm.forward(
        bilm.encode_types(tokens), np.arange(3), packing, bilm.zero_state(1), 3
    )
    after = after_marks(bilm, bilm.zero_state(1))

    # h of the first layer after <S>, and after </S> for the other direction.
    bound = model_bound(bilm.config, steps=1)
    torch.testing.assert_close(after.h[0, 0], layers[1][0][:1], atol=bound, rtol=0)
    torch.testing.assert_close(after.h[0, 1], layers[1][1][:1], atol=bound, rtol=0)
