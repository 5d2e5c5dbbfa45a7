"""Gradients are scaled down to a norm, and never up; Adam's steps are those of its algorithm."""

import pytest
import torch

from elmo_infer.training.optimizer import Moments, adam_update, clip_gradients


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


def test_a_fused_update_is_adams_algorithm() -> None:
    generator = torch.Generator().manual_seed(0)
    values = [torch.randn(3, 2, generator=generator), torch.randn(4, generator=generator)]
    moments = [Moments.for_array(one) for one in values]
    expected = [one.double() for one in values]
    first, second = ([torch.zeros_like(one) for one in expected] for _ in range(2))
    for step in range(1, 4):
        gradients = [torch.randn(one.shape, generator=generator) for one in values]
        adam_update(values, gradients, moments, 0.01)
        for index, gradient in enumerate(gradients):
            g = gradient.double()
            first[index] = 0.9 * first[index] + 0.1 * g
            second[index] = 0.99 * second[index] + 0.01 * g * g
            m, v = first[index] / (1 - 0.9**step), second[index] / (1 - 0.99**step)
            expected[index] = expected[index] - 0.01 * m / (v.sqrt() + 1e-8)
    for value, wanted in zip(values, expected, strict=True):
        torch.testing.assert_close(value.double(), wanted, atol=1e-6, rtol=1e-6)
    assert [float(one.updates) for one in moments] == [3.0, 3.0]
