"""Rows of the tables as the index takes them."""

import numpy as np

from pipelines.index.parts import sampled


def test_a_sample_depends_on_ids_and_seed_alone(rng: np.random.Generator) -> None:
    ids = rng.permutation(20_000).astype(np.int64) + (1 << 40)
    chosen = set(ids[sampled(ids, 0.1, seed=1)])
    ids.sort()
    assert set(ids[sampled(ids, 0.1, seed=1)]) == chosen
    assert set(ids[sampled(ids, 0.1, seed=2)]) != chosen
    assert 1800 < len(chosen) < 2200
