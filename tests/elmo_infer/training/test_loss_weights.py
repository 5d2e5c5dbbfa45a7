"""Weights of the teacher's losses, as they are asked for."""

import pytest

from elmo_infer.training.loss_weights import LossWeights


def test_only_what_is_named_changes() -> None:
    found = LossWeights.parse(["nearest=2", "stop-words=0"])
    assert (found.nearest, found.stop_words) == (2.0, 0.0)
    assert found.occurrences == LossWeights().occurrences


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("nearst=1", "unknown loss 'nearst'; expected NAME=WEIGHT with one of words, rel"),
        ("nearest", "'nearest' has no weight; expected NAME=WEIGHT"),
        ("nearest=much", "'nearest=much' has no weight"),
        ("near-sentences=-1", "the loss near-sentences has weight -1.0; expected 0 or more"),
        ("across=nan", "the loss across has weight nan"),
    ],
)
def test_what_is_no_weight_is_refused(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        LossWeights.parse([text])


def test_no_loss_at_all_is_refused() -> None:
    names = [name.replace("_", "-") for name in vars(LossWeights())]
    with pytest.raises(ValueError, match="every loss of the teacher has weight 0; train without"):
        LossWeights.parse([f"{name}=0" for name in names])
