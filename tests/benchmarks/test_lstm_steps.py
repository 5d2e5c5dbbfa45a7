"""Where the time of a biLSTM step goes, by the number of sentences that are read at once.

A step is a product for the gates, the gate functions, and a product with the projection. Each is
timed alone, on one thread, at the small size (1024 cells, 128 wide); the lower quartile counts.
"""

import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch

from elmo_infer.model import advance_cells
from elmo_infer.quantized_linear import make_linear

pytestmark = pytest.mark.benchmark

CELLS, WIDTH = 1024, 128
SENTENCES = (8, 32, 128, 400)
PEAK_SIZE = 2048
CPU = torch.device("cpu")


def seconds_of(work: Callable[[], Any], turns: int = 40) -> float:
    """Return the lower quartile of a work's times."""
    for _ in range(3):
        work()
    times = []
    for _ in range(turns):
        started = time.perf_counter()
        work()
        times.append(time.perf_counter() - started)
    return float(np.percentile(times, 25))


def linear(rows: int, columns: int) -> Callable[[torch.Tensor], torch.Tensor]:
    weight = torch.randn(columns, rows) / rows**0.5
    return make_linear(weight, np.zeros(columns, np.float32), torch.float32, CPU)


def step_of(count: int) -> dict[str, float]:
    """Return the seconds of each part of a step of `count` sentences."""
    inputs, gates = torch.randn(count, 2 * WIDTH), torch.randn(count, 4 * CELLS)
    cells, exposed = torch.zeros(count, CELLS), torch.zeros(count, CELLS)
    return {
        "gates": seconds_of(partial(linear(2 * WIDTH, 4 * CELLS), inputs)),
        "functions": seconds_of(partial(advance_cells, gates, cells, exposed, 3.0)),
        "projection": seconds_of(partial(linear(CELLS, WIDTH), exposed)),
    }


def test_parts_of_a_step(record_benchmark: Callable[..., None]) -> None:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    try:
        square = torch.randn(PEAK_SIZE, PEAK_SIZE)
        peak = 2 * PEAK_SIZE**3 / seconds_of(partial(linear(PEAK_SIZE, PEAK_SIZE), square), 8)
        steps = {count: step_of(count) for count in SENTENCES}
    finally:
        torch.set_num_threads(threads)
    rows = []
    for count, spent in steps.items():
        whole = sum(spent.values())
        operations = 2 * count * 9 * CELLS * WIDTH
        shares = [f"{part / whole:.0%}" for part in spent.values()]
        rows.append([count, round(1e6 * whole), *shares, f"{operations / whole / peak:.0%}"])
    record_benchmark(
        "lstm-steps",
        {"peak_gflops": round(peak / 1e9), "steps": steps},
        title="Where the time of a step goes",
        columns=[
            "sentences",
            "a step, µs",
            "product for the gates",
            "gate functions",
            "projection",
            "of the matrix-product peak",
        ],
        rows=rows,
        notes=[
            f"float32, one thread, {CELLS} cells, {WIDTH} wide; the peak is {peak / 1e9:.0f} "
            f"GFLOP/s, a product of {PEAK_SIZE} x {PEAK_SIZE} numbers",
        ],
    )
    assert sum(steps[400].values()) < 2 * 400 * 9 * CELLS * WIDTH / (0.6 * peak)
