"""The hand-written LSTM against one that autograd differentiates, written from the equations."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from elmo_infer.training import lstm
from elmo_infer.training.lstm import Workspace, projected_lstm


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
    arrays: list[Tensor], sum_bound: Callable[..., float], clips: tuple[float, float]
) -> None:
    weight = torch.randn((7, 3, 5), generator=torch.Generator().manual_seed(4))

    fast = projected_lstm(*arrays, cell_clip=clips[0], projection_clip=clips[1])
    plain = plain_lstm(*arrays, *clips)
    fast_gradients = torch.autograd.grad((fast * weight).sum(), arrays)
    plain_gradients = torch.autograd.grad((plain * weight).sum(), arrays)

    # 4 inputs and 5 of the state, seven steps. A gradient goes back through them too, and sums over
    # three rows.
    bound = sum_bound(9, steps=7, scale=float(plain.detach().abs().max()))
    torch.testing.assert_close(fast, plain, atol=bound, rtol=0)
    for found, expected in zip(fast_gradients, plain_gradients, strict=True):
        bound = sum_bound(9 * 3, steps=7, layers=2, scale=float(expected.abs().max()))
        torch.testing.assert_close(found, expected, atol=bound, rtol=0)


def test_half_precision_products_stay_near_float32(arrays: list[Tensor]) -> None:
    exact = projected_lstm(*arrays, cell_clip=3.0, projection_clip=3.0)
    half = projected_lstm(*arrays, cell_clip=3.0, projection_clip=3.0, compute_dtype=torch.bfloat16)
    # bfloat16 keeps 8 bits: 0.4 % a product, and seven steps of it.
    torch.testing.assert_close(half, exact, atol=0.05, rtol=0.05)


class Recorder:
    """Captures nothing: what was captured is done again, as often as a real capture would do it."""

    def __init__(self) -> None:
        self.captured = 0

    def __call__(self, work: Callable[[], None]) -> Callable[[], None]:
        self.captured += 1
        work()
        work()
        return work


def pass_through(
    arrays: list[Tensor], x: Tensor, weight: Tensor, low: torch.dtype, workspace: Workspace | None
) -> list[Tensor]:
    """One pass forward and backward; returns the outputs and all gradients."""
    leaves = [each.detach().clone().requires_grad_() for each in (x, *arrays[1:])]
    y = projected_lstm(
        *leaves, cell_clip=0.7, projection_clip=0.6, compute_dtype=low, workspace=workspace
    )
    return [y.detach(), *torch.autograd.grad((y * weight).sum(), leaves)]


@pytest.mark.parametrize("low", [torch.float32, torch.bfloat16])
def test_a_workspace_changes_no_number(arrays: list[Tensor], low: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(5)
    recorder = Recorder()
    workspace = Workspace(recorder)
    # Shapes that come back, one that does not, and larger ones that move the arrays.
    for steps, rows in [(3, 2), (3, 2), (7, 3), (3, 2), (7, 3), (2, 40), (3, 2), (2, 40), (3, 2)]:
        x = torch.randn(steps, rows, 4, generator=generator)
        weight = torch.randn(steps, rows, 5, generator=generator)
        for memory in workspace.memory.values():
            memory.fill_(torch.nan)  # nothing is left over from the pass before
        found = pass_through(arrays, x, weight, low, workspace)
        expected = pass_through(arrays, x, weight, low, None)
        assert all(one.equal(other) for one, other in zip(found, expected, strict=True))
    # (3, 2), forward and backward, before and after they moved, and (2, 40) when it came again.
    assert recorder.captured == 8


def test_a_workspace_captures_what_comes_again_and_forgets_what_does_not(
    arrays: list[Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lstm, "MAX_CAPTURED", 4)
    recorder = Recorder()
    workspace = Workspace(recorder)
    captured, kept = [], []
    # The largest first: nothing moves. Each shape has two pieces of work, so two shapes are kept.
    for steps in (9, 9, 8, 8, 9, 7, 8, 9, 9):
        ones = torch.ones(steps, 3, 5)
        pass_through(arrays, torch.ones(steps, 3, 4), ones, torch.float32, workspace)
        captured.append(recorder.captured)
        kept.append(sorted(steps for _, steps, *_ in workspace.captured))
    # 7 put out 8, which had not been used as lately as 9.
    assert captured == [0, 2, 2, 4, 4, 4, 4, 4, 6]
    assert kept[4:] == [[8, 8, 9, 9], [7, 7, 9, 9], [7, 7, 8, 8], [8, 8, 9, 9], [8, 8, 9, 9]]


def test_a_workspace_goes_backward_before_the_next_pass(arrays: list[Tensor]) -> None:
    workspace = Workspace(Recorder())

    def run() -> Tensor:
        return projected_lstm(*arrays, cell_clip=3.0, projection_clip=3.0, workspace=workspace)

    first, _ = run(), run()
    with pytest.raises(RuntimeError, match=r"pass 1 .* goes backward after pass 2 has begun"):
        torch.autograd.grad(first.sum(), arrays)


def test_outputs_outlive_the_next_pass(arrays: list[Tensor]) -> None:
    workspace = Workspace(Recorder())
    clips = {"cell_clip": 3.0, "projection_clip": 3.0}
    first = projected_lstm(*arrays, **clips, workspace=workspace)
    kept = first.detach().clone()
    projected_lstm(-arrays[0], *arrays[1:], **clips, workspace=workspace)
    assert first.equal(kept)
