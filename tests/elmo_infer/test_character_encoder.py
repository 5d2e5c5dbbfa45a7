"""The character CNN: a convolution by hand, blocks of types."""

import numpy as np
import torch

from elmo_infer.character_encoder import CPU_BLOCK, convolve_and_pool, plan_blocks


def test_convolution_by_hand() -> None:
    # Two positions of windows of width 2 over E = 1: 1*10 + 2*100 = 210 and 2*10 + 4*100 = 420.
    vectors = torch.tensor([[[1.0], [2.0], [4.0]]])
    kernel = torch.tensor([[10.0], [100.0]])

    assert convolve_and_pool(vectors, 2, kernel).tolist() == [[420.0]]
    assert convolve_and_pool(vectors, 1, kernel).tolist() == [[210.0]]


def test_blocks_hold_every_type_once_and_are_bounded() -> None:
    lengths = np.sort(np.random.default_rng(0).integers(2, 51, size=2000))

    blocks = plan_blocks(lengths, *CPU_BLOCK)

    assert [index for first, last in blocks for index in range(first, last)] == list(range(2000))
    assert all(last - first <= 256 for first, last in blocks)
    assert all((last - first) * (lengths[last - 1] + 1) <= 8192 for first, last in blocks)
