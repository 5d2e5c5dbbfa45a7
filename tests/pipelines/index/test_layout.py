"""Buckets of the external sort."""

import numpy as np
import pytest

from pipelines.index.layout import bucket_bounds


@pytest.mark.parametrize(
    ("counts", "bounds"),
    [([], [0]), ([1], [0, 1]), ([9], [0, 1]), ([2, 3, 9, 1, 1], [0, 2, 3, 5]), ([5, 5], [0, 1, 2])],
)
def test_buckets_hold_whole_forms(counts: list[int], bounds: list[int]) -> None:
    assert bucket_bounds(np.array(counts, np.int64), 5).tolist() == bounds
