"""A grown model computes what the small one did, and trains what is new."""

from dataclasses import replace

import pytest
import torch

from elmo_infer.config import BiLmConfig
from elmo_infer.training.growth import grow
from elmo_infer.training.network import encode_types, run_direction
from elmo_infer.training.parameters import Parameters, cell_name, initial_parameters
from elmo_infer.training.presets import preset
from elmo_infer.training.spelled_batch import Spellings

SMALL = replace(preset("tiny"), n_highway=2)
LARGE = replace(SMALL, cell_dim=96, filters=((1, 8), (2, 20), (3, 40)))
WIDE = replace(LARGE, projection_dim=24)
DEEP = replace(LARGE, n_highway=4)
WORDS = ["they", "sat", "on", "the", "bank", "of", "the", "extraordinarily", "muddy", "river"]


def outputs(parameters: Parameters, config: BiLmConfig) -> list[torch.Tensor]:
    """Return the token layer and both directions' layers of one sentence."""
    spelled = torch.from_numpy(Spellings.of(WORDS, config.max_characters).table.astype("int64"))
    tokens = encode_types(parameters, config, spelled, torch.float32)
    found = [tokens]
    for direction in range(2):
        found += run_direction(parameters, config, direction, tokens[:, None], torch.float32)
    return found


@pytest.fixture
def trained() -> Parameters:
    """Parameters none of which is zero, as after training."""
    generator = torch.Generator().manual_seed(3)
    return {
        name: value + 0.1 * torch.randn(value.shape, generator=generator)
        for name, value in initial_parameters(SMALL, 3).items()
    }


@pytest.mark.parametrize("large", [LARGE, WIDE, DEEP])
def test_grown_model_computes_the_same(trained: Parameters, large: BiLmConfig) -> None:
    grown = grow(trained, SMALL, large, seed=4)
    for before, after in zip(outputs(trained, SMALL), outputs(grown, large), strict=True):
        width = SMALL.projection_dim
        torch.testing.assert_close(after[..., :width], before, rtol=0, atol=2e-5)
        assert after[..., width:].any(dim=-1).all() == (large is WIDE)


@pytest.mark.parametrize("large", [LARGE, WIDE, DEEP])
def test_grown_model_has_the_shapes_of_a_new_one(trained: Parameters, large: BiLmConfig) -> None:
    shapes = {name: value.shape for name, value in grow(trained, SMALL, large, seed=4).items()}
    assert shapes == {name: value.shape for name, value in initial_parameters(large, 1).items()}


def test_a_new_highway_learns_at_once(trained: Parameters) -> None:
    leaves = {
        name: value.requires_grad_() for name, value in grow(trained, SMALL, DEEP, seed=4).items()
    }
    sum(one.square().sum() for one in outputs(leaves, DEEP)).backward()  # type: ignore[union-attr]
    gradient = leaves["CNN_high_3/W_transform"].grad
    assert gradient is not None
    assert (gradient != 0).float().mean() > 0.5


def test_what_is_new_is_drawn_and_learns_at_once(trained: Parameters) -> None:
    leaves = {
        name: value.requires_grad_() for name, value in grow(trained, SMALL, LARGE, seed=4).items()
    }
    sum(one.square().sum() for one in outputs(leaves, LARGE)).backward()  # type: ignore[union-attr]
    projection = f"{cell_name(1, 1)}/W_P_0"
    assert not leaves[projection][SMALL.cell_dim :].any()
    gradient = leaves[projection].grad
    assert gradient is not None
    assert gradient[SMALL.cell_dim :].any(dim=1).all()
    kernel = leaves[f"{cell_name(0, 0)}/W_0"].detach()
    assert kernel[:, SMALL.cell_dim : LARGE.cell_dim].std() > 0.1


@pytest.mark.parametrize(
    ("large", "words"),
    [
        (replace(SMALL, projection_dim=12), "64 cells, projection 16 and .* 64, 12 and"),
        (replace(SMALL, n_lstm_layers=3), "n_lstm_layers=2, but 3 was asked for"),
        (replace(SMALL, cell_dim=63), "and filters 1x8 2x16 3x32, but 63, 16 and"),
        (replace(SMALL, filters=((1, 8), (2, 16), (3, 31))), "expected at least as many"),
        (replace(SMALL, filters=((1, 8), (2, 16), (4, 32))), "expected the same widths"),
        (
            replace(SMALL, n_highway=1),
            "has 2 highway layers and .* but 1 highway layers were asked for",
        ),
    ],
)
def test_other_changes_are_refused(trained: Parameters, large: BiLmConfig, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        grow(trained, SMALL, large, seed=4)


def test_features_that_are_not_rectified_get_no_new_highway(trained: Parameters) -> None:
    small, large = (replace(config, activation="tanh") for config in (SMALL, DEEP))
    with pytest.raises(ValueError, match=r"activation tanh.* or more if the activation is relu"):
        grow(trained, small, large, seed=4)
