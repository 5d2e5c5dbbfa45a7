"""Plans under a memory limit."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.errors import UsageError
from pipelines.index.sizing import plan_index

GIB = 1 << 30


@pytest.mark.parametrize(
    ("rows", "memory", "text"),
    [
        (10_000, 1 * GIB, "SQfp16"),
        (1 << 20, 1 * GIB, "SQfp16"),  # 2^20 * 512 = the largest exact scan
        ((1 << 20) + 1, 4 * GIB, "HNSW32,SQfp16"),
        ((1 << 20) + 1, 1840 << 20, "IVF1024,SQfp16"),
        (10_000_000, 4 * GIB, "OPQ64,IVF8192,PQ64"),
    ],
)
def test_plan_takes_the_most_exact_index_that_fits(rows: int, memory: int, text: str) -> None:
    plan = plan_index(rows, 512, max_memory_bytes=memory)
    assert plan.factory.text == text


@settings(max_examples=200, deadline=None)
@given(
    rows=st.integers(0, 2_000_000_000),
    dim=st.sampled_from([16, 128, 512, 1024]),
    memory=st.integers(512 << 20, 256 * GIB),
)
def test_a_plan_never_exceeds_its_limit(rows: int, dim: int, memory: int) -> None:
    try:
        plan = plan_index(rows, dim, max_memory_bytes=memory)
    except UsageError as error:
        needed = int(str(error).split("needs at least ")[1].split("M")[0]) << 20
        assert needed > memory
        plan_index(rows, dim, max_memory_bytes=needed)  # what it says would fit, fits
    else:
        assert plan.build_bytes <= memory
        assert plan.shard_rows >= 1


def test_a_limit_too_small_says_what_would_fit() -> None:
    with pytest.raises(UsageError, match=r"--max-memory is 512M, .* needs at least \d+M"):
        plan_index(1_000_000_000, 1024, max_memory_bytes=512 << 20)
