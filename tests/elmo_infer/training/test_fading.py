"""Fading cells: what their outputs are at the start, and that nothing else changes."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from elmo_infer.config import BiLmConfig
from elmo_infer.training.fading import check_fading_cells, plant_fading_cells
from elmo_infer.training.growth import grow
from elmo_infer.training.network import run_direction
from elmo_infer.training.parameters import Parameters, initial_parameters
from elmo_infer.training.presets import preset

SMALL = preset("tiny")  # 64 cells, 16 outputs
LARGE = replace(SMALL, cell_dim=80, projection_dim=24)
N_CELLS = 8
# Shares fall as in text: the first words are in every sentence, the last are rare.
COUNTS = np.array([1_000_000 // (rank + 1) for rank in range(4000)])


def word_vectors(width: int) -> Tensor:
    """Random but for one coordinate, which is the logit of the gate that is wanted."""
    vectors = torch.randn(len(COUNTS), width, generator=torch.Generator().manual_seed(5))
    wanted = 0.3e-3 / (1e-3 + COUNTS / COUNTS.sum())
    vectors[:, 0] = torch.from_numpy(np.log(wanted / (1 - wanted)))
    vectors[:, 1:7] *= 2.0
    vectors[:, 7:] *= 0.5  # little beside these
    return vectors


def planted(config: BiLmConfig) -> Parameters:
    parameters = initial_parameters(config, 3)
    plant_fading_cells(parameters, config, word_vectors(config.projection_dim), COUNTS, N_CELLS)
    return parameters


def sentences(rng: np.random.Generator, length: int, n: int) -> Tensor:
    """Return [T, B] words drawn as often as they are counted."""
    return torch.from_numpy(rng.choice(len(COUNTS), (length, n), p=COUNTS / COUNTS.sum()))


@pytest.mark.parametrize("direction", [0, 1])
def test_outputs_are_sums_of_rarer_words_that_fade_with_distance(
    rng: np.random.Generator, direction: int
) -> None:
    vectors, words = word_vectors(LARGE.projection_dim), sentences(rng, 40, 50)
    layers = run_direction(planted(LARGE), LARGE, direction, vectors[words], torch.float32)
    first, second = (layer[..., -N_CELLS:] for layer in layers)
    torch.testing.assert_close(second, first, rtol=0, atol=0)

    shares = torch.from_numpy(COUNTS / COUNTS.sum()).float()
    rarity = 1e-3 / (1e-3 + shares)
    read = words.flip(0) if direction else words
    weights = (rarity * shares.clamp(max=1e-4))[:, None]
    mean = (vectors * weights).sum(0) / weights.sum()
    total, sums = torch.zeros(words.shape[1], vectors.shape[1]), []
    for word in read:
        total = total * np.exp(-1 / 12) + rarity[word][:, None] * (vectors[word] - mean)
        sums.append(total)
    wanted = torch.stack(sums)[10:].flatten(0, 1)
    # Which components they are is the cells' choice: all that counts is that they are of these.
    found = first[10:].flatten(0, 1)
    read_off = torch.linalg.lstsq(wanted, found).solution
    assert F.cosine_similarity(wanted @ read_off, found).mean() > 0.95
    ours, theirs = F.normalize(found[::7]), F.normalize(wanted[::7])
    assert np.corrcoef((ours @ ours.t()).ravel(), (theirs @ theirs.t()).ravel())[0, 1] > 0.9


def test_outputs_are_of_the_size_of_trained_ones(rng: np.random.Generator) -> None:
    vectors = word_vectors(LARGE.projection_dim)[sentences(rng, 60, 200)]
    first = run_direction(planted(LARGE), LARGE, 0, vectors, torch.float32)[0]
    size = float(first[30:, :, -N_CELLS:].square().mean().sqrt())
    assert 1.2 < size < 1.8


def test_few_words_that_are_all_alike_are_summed_too() -> None:
    parameters = initial_parameters(LARGE, 3)
    vectors = torch.ones(2, LARGE.projection_dim)
    plant_fading_cells(parameters, LARGE, vectors, np.array([2, 1]), N_CELLS)
    layers = run_direction(parameters, LARGE, 0, vectors[:, None], torch.float32)
    assert torch.isfinite(torch.stack(layers)).all()


def test_a_grown_model_says_what_it_said_and_the_sums_besides(rng: np.random.Generator) -> None:
    trained = initial_parameters(SMALL, 9)
    grown = grow(trained, SMALL, LARGE, seed=4)
    vectors = word_vectors(LARGE.projection_dim)
    plant_fading_cells(grown, LARGE, vectors, COUNTS, N_CELLS)
    tokens = vectors[sentences(rng, 12, 3)]
    width = SMALL.projection_dim
    before = run_direction(trained, SMALL, 0, tokens[..., :width], torch.float32)
    after = run_direction(grown, LARGE, 0, tokens, torch.float32)
    for small, large in zip(before, after, strict=True):
        torch.testing.assert_close(large[..., :width], small, rtol=0, atol=2e-5)
        assert large[..., width:].abs().mean() > 0.1


def test_cells_learn_and_are_read_by_what_is_new(rng: np.random.Generator) -> None:
    leaves = {name: value.requires_grad_() for name, value in planted(LARGE).items()}
    tokens = word_vectors(LARGE.projection_dim)[sentences(rng, 12, 3)]
    layers = run_direction(leaves, LARGE, 1, tokens, torch.float32)
    layers[1][..., :-N_CELLS].square().sum().backward()  # what the layer above makes of them
    kernel = leaves["RNN_1/RNN/MultiRNNCell/Cell0/LSTMCell/W_0"]
    assert kernel.grad is not None
    for gate in range(4):
        last = LARGE.cell_dim * (gate + 1)
        assert kernel.grad[: LARGE.projection_dim, last - N_CELLS : last].any(dim=0).all()


@pytest.mark.parametrize(
    ("n_cells", "own", "words"),
    [
        (25, None, "25 fading cells were asked for, but there are 80 cells and 24 outputs of a"),
        (-1, None, "expected from 1 to the smaller number"),
        (9, SMALL, "16 new cells and 8 new outputs of a direction; expected from 1 to"),
        (8, LARGE, "0 new cells and 0 new outputs"),
    ],
)
def test_cells_need_room(n_cells: int, own: BiLmConfig | None, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        check_fading_cells(n_cells, LARGE, own)
