"""The most memory a stretch of work held."""

from pathlib import Path

import numpy as np
import pytest

from pipelines.index.memory import PeakMemory


def test_peak_memory_forgets_what_was_before() -> None:
    held = np.ones(200 << 20, np.uint8)
    del held
    memory = PeakMemory()
    if memory.since == "process":
        pytest.skip("this system does not forget a process's peak")
    before = memory.bytes()
    again = np.ones(100 << 20, np.uint8)
    assert 90 << 20 < memory.bytes() - before < 190 << 20
    del again


def test_peak_memory_says_where_it_cannot_forget(tmp_path: Path) -> None:
    memory = PeakMemory(clear=tmp_path)  # a directory cannot be written
    assert memory.since == "process"
    assert memory.bytes() > 10 << 20
