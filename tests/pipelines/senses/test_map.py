"""The map of a word's occurrences."""

import numpy as np

from pipelines.senses.map import project


def test_a_map_keeps_distances_in_a_plane(rng: np.random.Generator) -> None:
    plane = rng.standard_normal((40, 2)) * [3, 1]
    points = (plane @ np.linalg.qr(rng.standard_normal((8, 2)))[0].T).astype(np.float32)
    places = project(points)
    between = np.linalg.norm(points[:, None] - points[None], axis=2)
    drawn = np.linalg.norm(places[:, None] - places[None], axis=2)
    np.testing.assert_allclose(drawn, between, atol=1e-4)
    assert project(points[:2]).shape == (2, 2)
