"""Half precision widened to float32: NumPy's own conversion is the witness."""

import numpy as np

from pipelines.index.half_floats import widen


def test_every_finite_number_is_widened_exactly() -> None:
    halves = np.arange(1 << 16, dtype=np.uint16).view(np.float16).reshape(-1, 64)
    finite = np.isfinite(halves)
    wide, expected = widen(halves).view(np.uint32), halves.astype(np.float32).view(np.uint32)
    np.testing.assert_array_equal(wide[finite], expected[finite])
    assert np.isfinite(widen(halves)).all()


def test_any_number_of_rows_and_any_layout(rng: np.random.Generator) -> None:
    halves = rng.standard_normal((1500, 96)).astype(np.float16)
    for rows in (halves[:0], halves[:1], halves, halves[::7], halves[:, ::2]):
        np.testing.assert_array_equal(widen(rows), rows.astype(np.float32))
