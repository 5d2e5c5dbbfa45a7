"""Gradients are scaled down to a norm, and never up."""

import pytest
import torch

from elmo_infer.training.optimizer import clip_gradients


def test_a_large_norm_is_scaled_down_over_all_gradients_together() -> None:
    gradients = [torch.tensor([3.0, 0.0]), torch.tensor([[4.0]])]
    clip_gradients(gradients, 1.0)
    assert [each.tolist() for each in gradients] == [
        [pytest.approx(0.6), 0.0],
        [[pytest.approx(0.8)]],
    ]


def test_a_small_norm_is_left_as_it_is() -> None:
    gradients = [torch.tensor([0.3, 0.0]), torch.tensor([[0.4]])]
    expected = [each.clone() for each in gradients]
    clip_gradients(gradients, 1.0)
    assert all(one.equal(other) for one, other in zip(gradients, expected, strict=True))


def test_no_gradient_at_all_stays_zero() -> None:
    gradients = [torch.zeros(2)]
    clip_gradients(gradients, 1.0)
    assert gradients[0].tolist() == [0.0, 0.0]
