"""The hand-written LSTM against one that autograd differentiates, written from the equations."""

import pytest
import torch
from torch import Tensor

from elmo_infer.training.lstm import projected_lstm


def plain_lstm(
    x: Tensor, kernel: Tensor, bias: Tensor, projection: Tensor, clip_c: float, clip_p: float
) -> Tensor:
    """The equations as they stand in the reference, one step after the other."""
    h = x.new_zeros(x.shape[1], projection.shape[1])
    c = x.new_zeros(x.shape[1], projection.shape[0])
    outputs = []
    for step in x:
        i, j, f, o = (torch.cat([step, h], dim=1) @ kernel + bias).chunk(4, dim=1)
        c = torch.sigmoid(f + 1) * c + torch.sigmoid(i) * torch.tanh(j)
        c = c.clamp(-clip_c, clip_c)
        h = ((torch.sigmoid(o) * torch.tanh(c)) @ projection).clamp(-clip_p, clip_p)
        outputs.append(h)
    return torch.stack(outputs)


@pytest.fixture
def arrays() -> list[Tensor]:
    generator = torch.Generator().manual_seed(3)
    shapes = [(7, 3, 4), (9, 24), (24,), (6, 5)]
    return [torch.randn(shape, generator=generator).requires_grad_() for shape in shapes]


@pytest.mark.parametrize("clips", [(3.0, 3.0), (0.7, 0.6)], ids=["clips unused", "clips hit"])
def test_values_and_gradients_equal_the_plain_equations(
    arrays: list[Tensor], clips: tuple[float, float]
) -> None:
    weight = torch.randn((7, 3, 5), generator=torch.Generator().manual_seed(4))

    fast = projected_lstm(*arrays, cell_clip=clips[0], projection_clip=clips[1])
    plain = plain_lstm(*arrays, *clips)
    fast_gradients = torch.autograd.grad((fast * weight).sum(), arrays)
    plain_gradients = torch.autograd.grad((plain * weight).sum(), arrays)

    # The same sums in another order: a few units in the last place of numbers near 10.
    torch.testing.assert_close(fast, plain, atol=2e-6, rtol=1e-5)
    for found, expected in zip(fast_gradients, plain_gradients, strict=True):
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)


def test_half_precision_products_stay_near_float32(arrays: list[Tensor]) -> None:
    exact = projected_lstm(*arrays, cell_clip=3.0, projection_clip=3.0)
    half = projected_lstm(*arrays, cell_clip=3.0, projection_clip=3.0, compute_dtype=torch.bfloat16)
    # bfloat16 keeps 8 bits: 0.4 % a product, and seven steps of it.
    torch.testing.assert_close(half, exact, atol=0.05, rtol=0.05)
