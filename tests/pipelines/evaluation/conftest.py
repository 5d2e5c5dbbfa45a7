"""Fixtures: an encoder whose vectors one can work out by hand, and reports made of scores."""

from collections.abc import Callable
from types import SimpleNamespace

import numpy as np
import pytest

from pipelines.evaluation.evaluate import Score, SetReport
from pipelines.evaluation.report import ModelReport


class NeighbourEncoder:
    """Layer 0 is the token's own vector, layer 1 that of the token before it (or zero)."""

    name, fingerprint, dim, n_layers = "toy", "0", 4, 2
    default_layer_weights = (0.25, 0.75)
    pooling = SimpleNamespace(query=None)

    def __init__(self) -> None:
        self.embedded: list[tuple[str, ...]] = []

    @staticmethod
    def vector(token: str) -> np.ndarray:
        return np.random.default_rng(list(token.encode())).standard_normal(4).astype(np.float32)

    def layers(self, sentences):
        self.embedded += [tuple(sentence) for sentence in sentences]
        found = []
        for sentence in sentences:
            own = np.zeros((len(sentence), 4), np.float32)
            for position, token in enumerate(sentence):
                own[position] = self.vector(token)
            before = np.concatenate([np.zeros((1, 4), np.float32), own])[: len(sentence)]
            found.append(np.stack([own, before]))
        return found


@pytest.fixture
def neighbour_encoder() -> NeighbourEncoder:
    """An encoder whose second layer is the vector of the token before."""
    return NeighbourEncoder()


@pytest.fixture
def report_of() -> Callable[..., ModelReport]:
    """A function that makes a model's report of scores."""
    return _report_of


@pytest.fixture
def score() -> Callable[..., Score]:
    """A function that makes a score; raw unless said."""
    return _score


def _report_of(label, scores, n_layers=2):
    sets = tuple(
        SetReport(
            name=name,
            items={},
            unknown_share=0.0,
            embed_seconds=0.0,
            score_seconds=0.0,
            scores=tuple(score for score in scores if score.set == name),
        )
        for name in dict.fromkeys(score.set for score in scores)
    )
    return ModelReport(
        label=label,
        path=label,
        fingerprint="f",
        dim=2,
        n_layers=n_layers,
        layer_weights=(1.0,) * n_layers,
        sets=sets,
    )


def _score(set_name, layer, metric, value, **more):
    more = {"centering": "raw", **more}
    return Score(set=set_name, layer=layer, metric=metric, value=value, **more)
