"""The hand-written backward pass of the convolutions against autograd's, in float64."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from elmo_infer.training.character_cnn import (
    convolve_to_peaks,
    gradients_at_once,
    gradients_by_offset,
)

PADDING = 11
WIDTHS = ((1, 4), (2, 3), (4, 5))


@pytest.fixture
def words() -> Tensor:
    """Five words of up to 6 of 12 characters, with 4 of padding: a window of it for every width."""
    generator = torch.Generator().manual_seed(7)
    characters = torch.randint(0, PADDING, (5, 10), generator=generator)
    for row, length in enumerate((6, 5, 3, 1, 0)):
        characters[row, length:] = PADDING
    return characters


@pytest.fixture
def weights() -> list[Tensor]:
    generator = torch.Generator().manual_seed(8)
    shapes = [(12, 3), *[(1, width, 3, count) for width, count in WIDTHS]]
    return [
        torch.randn(shape, generator=generator, dtype=torch.float64).requires_grad_()
        for shape in shapes
    ]


def plain_peaks(embedding: Tensor, words: Tensor, kernels: list[Tensor]) -> Tensor:
    """PyTorch's convolution over all positions and its maximum."""
    vectors = embedding[words].transpose(1, 2)
    return torch.cat(
        [F.conv1d(vectors, kernel[0].permute(2, 1, 0)).amax(dim=2) for kernel in kernels], dim=1
    )


def fast_peaks(embedding: Tensor, words: Tensor, kernels: list[Tensor]) -> Tensor:
    return convolve_to_peaks(embedding, words, kernels, [7, 7, 7], torch.float64)


def test_values_and_gradients_equal_autograds(words: Tensor, weights: list[Tensor]) -> None:
    coefficients = torch.randn(5, 12, generator=torch.Generator().manual_seed(9)).double()

    fast = fast_peaks(weights[0], words, weights[1:])
    plain = plain_peaks(weights[0], words, weights[1:])

    torch.testing.assert_close(fast, plain, atol=1e-13, rtol=1e-12)
    for found, expected in zip(
        torch.autograd.grad((fast * coefficients).sum(), weights),
        torch.autograd.grad((plain * coefficients).sum(), weights),
        strict=True,
    ):
        torch.testing.assert_close(found, expected, atol=1e-12, rtol=1e-11)


def test_gradients_equal_differences(words: Tensor, weights: list[Tensor]) -> None:
    assert torch.autograd.gradcheck(
        lambda embedding, *kernels: fast_peaks(embedding, words, list(kernels)), weights
    )


def test_only_the_first_of_equal_windows_has_the_gradient() -> None:
    # One filter of width 1 that reads a character's only number: 2 at places 1 and 3 is the peak.
    embedding = torch.tensor([[0.0], [2.0], [2.0]], requires_grad=True)
    kernel = torch.ones(1, 1, 1, 1, requires_grad=True)
    peaks = convolve_to_peaks(embedding, torch.tensor([[0, 1, 0, 2]]), [kernel], [4])
    found = torch.autograd.grad(peaks.sum(), [embedding, kernel])
    assert peaks.tolist() == [[2.0]]
    assert found[0].tolist() == [[0.0], [1.0], [0.0]]
    assert found[1].item() == 2.0


@pytest.mark.parametrize("length", [126, 200])
def test_long_words_have_their_window_found(length: int) -> None:
    characters = torch.zeros(1, length, dtype=torch.int64)
    characters[0, length - 2] = 1
    embedding = torch.tensor([[0.0], [3.0]], requires_grad=True)
    kernel = torch.ones(1, 1, 1, 1, requires_grad=True)
    peaks = convolve_to_peaks(embedding, characters, [kernel], [length])
    (found,) = torch.autograd.grad(peaks.sum(), [embedding])
    assert found.tolist() == [[0.0], [1.0]]


def test_half_precision_products_keep_the_gradients_near(
    words: Tensor, weights: list[Tensor]
) -> None:
    leaves = [weight.detach().float().requires_grad_() for weight in weights]
    exact = convolve_to_peaks(leaves[0], words, leaves[1:], [7, 7, 7])
    half = convolve_to_peaks(leaves[0], words, leaves[1:], [7, 7, 7], torch.bfloat16)
    # bfloat16 keeps 8 bits; the windows that win are the same ones here.
    torch.testing.assert_close(half, exact, atol=0.05, rtol=0.02)
    for found, expected in zip(
        torch.autograd.grad(half.sum(), leaves),
        torch.autograd.grad(exact.sum(), leaves),
        strict=True,
    ):
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


def test_number_that_is_none_stays_in_range(words: Tensor, weights: list[Tensor]) -> None:
    broken = weights[0].detach().clone().fill_(torch.nan).requires_grad_()
    peaks = fast_peaks(broken, words, weights[1:])
    peaks.sum().backward()
    assert peaks.isnan().all()


def test_gradients_at_once_are_those_by_offset(words: Tensor, weights: list[Tensor]) -> None:
    generator = torch.Generator().manual_seed(9)
    for kernel in weights[1:]:
        shape = (len(words), kernel.shape[3])
        winners = torch.randint(0, 7, shape, generator=generator)
        d_peaks = torch.randn(shape, generator=generator, dtype=torch.float64)
        arrays = (weights[0].detach(), words, kernel[0].detach(), winners, d_peaks)
        found, expected = gradients_at_once(*arrays), gradients_by_offset(*arrays)
        torch.testing.assert_close(found, expected, atol=1e-12, rtol=1e-12)
