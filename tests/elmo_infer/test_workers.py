"""Threads of one core each, and torch's own number put back."""

import threading

import pytest
import torch

from elmo_infer.workers import Workers


@pytest.fixture(autouse=True)
def normal_threads():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def test_results_come_in_order_from_threads_of_one_core() -> None:
    torch.set_num_threads(3)
    barrier = threading.Barrier(3, timeout=30)

    def task(number: int) -> tuple[int, int, bool]:
        barrier.wait()  # passes only if three run at once
        return number, torch.get_num_threads(), torch.is_inference_mode_enabled()

    results = Workers().run([lambda n=number: task(n) for number in range(3)])

    assert results == [(0, 1, True), (1, 1, True), (2, 1, True)]
    assert torch.get_num_threads() == 3


def test_an_error_is_raised_after_all_have_ended_and_threads_are_put_back() -> None:
    torch.set_num_threads(2)
    ended = []

    def fail() -> None:
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        Workers().run([fail, lambda: ended.append(1), lambda: ended.append(2)])
    assert sorted(ended) == [1, 2]
    assert torch.get_num_threads() == 2


def test_nested_runs_know_the_normal_number() -> None:
    torch.set_num_threads(2)
    outer, inner = Workers(), Workers()

    counts = outer.run([lambda: inner.count, lambda: inner.count])

    assert counts == [2, 2]
    assert torch.get_num_threads() == 2
