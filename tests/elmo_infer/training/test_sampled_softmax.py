"""Sampled softmax against the same loss written out word by word in numpy."""

import numpy as np
import torch

from elmo_infer.training.sampled_softmax import (
    Candidates,
    choose_candidates,
    log_expected_count,
    log_uniform_sample,
    sampled_softmax_loss,
)


def test_proposal_is_a_distribution() -> None:
    ids = np.arange(50)
    # With one draw the expected count is the probability itself.
    chance = np.exp(log_expected_count(ids, 50, draws=1))
    np.testing.assert_allclose(chance.sum(), 1.0, rtol=1e-5)
    np.testing.assert_allclose(chance[0], np.log(2) / np.log(51), rtol=1e-5)


def test_sample_follows_the_proposal(rng: np.random.Generator) -> None:
    found = np.zeros(30)
    for _ in range(4000):
        found[log_uniform_sample(30, 3, rng)] += 1
    expected = np.exp(log_expected_count(np.arange(30), 30, draws=3)) * 4000
    # Five standard deviations of a binomial count.
    np.testing.assert_array_less(np.abs(found - expected), 5 * np.sqrt(expected))


def test_candidates_hold_every_target_and_every_sample(rng: np.random.Generator) -> None:
    targets = rng.integers(0, 1000, size=(2, 40))
    chosen = choose_candidates(targets, 1000, 64, rng)
    rows = chosen.rows.numpy()
    assert set(targets.ravel()) <= set(rows)
    for place, column in enumerate(chosen.column.numpy()):
        assert column == -1 or chosen.sampled[column] == place


def loss_by_hand(
    hidden: np.ndarray, table: np.ndarray, targets: np.ndarray, chosen: Candidates
) -> float:
    """Sum over tokens of -log(exp(right) / (exp(right) + sum over other sampled words))."""
    expected = chosen.log_expected.numpy().astype(np.float64)
    scores = hidden @ table[:, :-1].T + table[:, -1] - expected
    total = 0.0
    for row, right in zip(scores, targets, strict=True):
        others = [place for place in chosen.sampled.tolist() if place != right]
        total -= row[right] - np.log(np.exp(row[right]) + np.exp(row[others]).sum())
    return total


def test_loss_equals_the_sum_by_hand(rng: np.random.Generator) -> None:
    words = rng.integers(0, 40, size=25)
    chosen = choose_candidates(words, 40, 16, rng)
    hidden = rng.standard_normal((25, 6))
    table = rng.standard_normal((len(chosen.rows), 7))
    targets = np.searchsorted(chosen.rows.numpy(), words)

    found = sampled_softmax_loss(
        torch.tensor(hidden).float(), torch.tensor(table).float(), torch.tensor(targets), chosen
    )

    np.testing.assert_allclose(
        float(found), loss_by_hand(hidden, table, targets, chosen), rtol=1e-5
    )


def test_gradients_equal_differences_of_the_loss_by_hand(rng: np.random.Generator) -> None:
    words = rng.integers(0, 20, size=6)
    chosen = choose_candidates(words, 20, 10, rng)
    hidden = rng.standard_normal((6, 3))
    table = rng.standard_normal((len(chosen.rows), 4))
    targets = np.searchsorted(chosen.rows.numpy(), words)
    leaves = [
        torch.tensor(hidden).float().requires_grad_(),
        torch.tensor(table).float().requires_grad_(),
    ]

    loss = sampled_softmax_loss(leaves[0], leaves[1], torch.tensor(targets), chosen)
    gradients = torch.autograd.grad(loss, leaves)

    step = 1e-5
    for array, gradient in zip((hidden, table), gradients, strict=True):
        for index in np.ndindex(array.shape):
            kept = array[index]
            array[index] = kept + step
            above = loss_by_hand(hidden, table, targets, chosen)
            array[index] = kept - step
            below = loss_by_hand(hidden, table, targets, chosen)
            array[index] = kept
            slope = (above - below) / (2 * step)
            np.testing.assert_allclose(float(gradient[index]), slope, atol=2e-4)
