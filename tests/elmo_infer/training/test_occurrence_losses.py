"""Occurrences of one word: whom they are compared with, and the losses by hand."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from elmo_infer.training.occurrence_losses import (
    COMPARED,
    OccurrenceRing,
    cosines_with_ring,
    nearest_in_common,
    nearest_loss,
    order_loss,
    threshold_loss,
)

CPU = torch.device("cpu")


def unit(rows: int, width: int, seed: int) -> Tensor:
    return F.normalize(torch.randn(rows, width, generator=torch.Generator().manual_seed(seed)))


def test_each_word_is_compared_with_others_of_its_type() -> None:
    ring = OccurrenceRing(8, 2, 2, CPU)
    ring.put(torch.tensor([7, 5, 7, 7, 5, 8]), unit(6, 2, 0), unit(6, 2, 1))
    places, real = ring.others_of(torch.tensor([5, 8, 7, 6]))
    # 5 is there twice, 8 once and so has no order, 7 three times, 6 not at all.
    assert places[0][real[0]].tolist() == [1, 4]
    assert places[2][real[2]].tolist() == [0, 2, 3]
    assert real.sum(1).tolist() == [2, 0, 3, 0]


def test_many_others_are_evenly_spaced() -> None:
    ring = OccurrenceRing(64, 2, 2, CPU)
    ring.put(torch.full((64,), 3), unit(64, 2, 0), unit(64, 2, 1))
    places, real = ring.others_of(torch.tensor([3]))
    assert bool(real.all())
    assert places[0].tolist() == list(range(0, 64, 64 // COMPARED))


def test_the_oldest_give_way() -> None:
    ring = OccurrenceRing(4, 2, 2, CPU)
    ring.put(torch.tensor([1, 2, 3]), unit(3, 2, 0), unit(3, 2, 1))
    ring.put(torch.tensor([4, 5]), unit(2, 2, 2), unit(2, 2, 3))
    assert ring.buffers["types"].tolist() == [5, 2, 3, 4]
    assert int(ring.buffers["next"]) == 5


def test_cosines_are_those_of_the_vectors() -> None:
    ring = OccurrenceRing(8, 4, 3, CPU)
    student, teacher = unit(3, 4, 0), unit(3, 3, 1)
    ring.put(torch.tensor([9, 9, 9]), student, teacher)
    mine, theirs, real = cosines_with_ring(ring, torch.tensor([9]), student[:1], teacher[:1])
    torch.testing.assert_close(mine[real], student @ student[0], atol=1e-3, rtol=0)
    torch.testing.assert_close(theirs[real], teacher @ teacher[0], atol=1e-3, rtol=0)


REAL = torch.tensor([[True, True, False], [True, True, True]])
STUDENT = torch.tensor([[1.0, 3.0, 9.0], [10.0, 20.0, 30.0]])
TEACHER = torch.tensor([[0.0, 2.0, -9.0], [9.0, 7.0, 8.0]])


def test_order_loss_by_hand() -> None:
    # Around their rows: -1, 1, and -10, 0, 10; -1, 1, and 1, -1, 0.
    expected = 1 - (1 + 1 - 10) / (202**0.5 * 4**0.5)
    assert float(order_loss(STUDENT, TEACHER, REAL)) == pytest.approx(expected, abs=1e-6)


def test_threshold_loss_by_hand() -> None:
    mine, theirs = STUDENT[REAL] - STUDENT[REAL].mean(), TEACHER[REAL] - TEACHER[REAL].mean()
    expected = 1 - float((mine @ theirs) / (mine.norm() * theirs.norm()))
    assert float(threshold_loss(STUDENT, TEACHER, REAL)) == pytest.approx(expected, abs=1e-6)


def test_nearest_loss_by_hand() -> None:
    real = torch.ones(1, 2, dtype=torch.bool)
    # In standard deviations: -1 and 1, so softmax of -2 and 2 picks; the teacher's are reversed.
    student, teacher = torch.tensor([[0.1, 0.3]]), torch.tensor([[0.9, 0.5]])
    p = 1 / (1 + math.exp(-4))
    expected = p * math.log(p / (1 - p)) + (1 - p) * math.log((1 - p) / p)
    assert float(nearest_loss(student, teacher, real)) == pytest.approx(expected, abs=1e-4)
    assert float(nearest_loss(student, 5 * student - 2, real)) == pytest.approx(0.0, abs=1e-5)


def test_far_ones_count_less_where_the_nearest_are_asked_for() -> None:
    teacher = torch.linspace(1, 0, COMPARED)[None]
    real = torch.ones_like(teacher, dtype=torch.bool)

    def cost(first: int, second: int) -> float:
        student = teacher.clone()
        student[0, first], student[0, second] = teacher[0, second], teacher[0, first]
        return float(nearest_loss(student, teacher, real))

    assert cost(0, 3) > 5 * cost(COMPARED - 4, COMPARED - 1)


def test_words_without_others_have_no_gradient_that_is_none() -> None:
    student = torch.zeros(2, COMPARED, requires_grad=True)
    real = torch.zeros(2, COMPARED, dtype=torch.bool)
    loss = nearest_loss(student, torch.zeros(2, COMPARED), real) + order_loss(
        student, torch.zeros(2, COMPARED), real
    )
    (gradient,) = torch.autograd.grad(loss, student)
    assert bool(torch.isfinite(gradient).all())


def test_nearest_in_common_counts_whole_rows_alone() -> None:
    teacher = torch.arange(float(COMPARED)).expand(3, -1)
    student = teacher.clone()
    student[1] = -teacher[1]
    real = torch.ones(3, COMPARED, dtype=torch.bool)
    real[2, 0] = False
    assert float(nearest_in_common(student, teacher, real)) == pytest.approx(0.5)
