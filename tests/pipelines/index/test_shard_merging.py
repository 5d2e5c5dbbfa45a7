"""Small shards are merged, large ones are left alone."""

import pytest

from pipelines.index.shard_merging import MAX_SMALL_SHARDS, staying_shards


@pytest.mark.parametrize(
    ("rows", "stay"),
    [
        ([], []),
        ([1] * 7, [0, 1, 2, 3, 4, 5, 6]),
        ([1] * 8, [5, 6, 7]),
        ([9, 1, 2, 3, 4, 5, 6, 7], [0, 6, 7]),  # the largest, in their order
        ([51, 1, 2, 3, 4, 5, 6, 7], [0, 1, 2, 3, 4, 5, 6, 7]),  # seven are small
        ([51, 1, 1, 1, 1, 1, 50, 1, 1], [0, 6, 7, 8]),
        ([90] * 20, list(range(20))),  # full shards are never merged
    ],
)
def test_only_the_smallest_of_many_small_shards_are_merged(
    rows: list[int], stay: list[int]
) -> None:
    assert staying_shards(rows, 100) == stay


def test_a_year_of_nightly_additions_writes_a_row_a_few_times() -> None:
    """A hundred rows a night beside a million: the million stays, the others are written again
    about ten times each."""
    shards, written, most = [1_000_000], 0, 0
    for _ in range(365):
        stay = staying_shards(shards, sum(shards) + 100)
        merged = 100 + sum(shards) - sum(shards[place] for place in stay)
        shards = [*(shards[place] for place in stay), merged]
        written += merged
        most = max(most, len(shards))

    assert shards[0] == 1_000_000
    assert sum(shards) == 1_036_500
    assert most <= MAX_SMALL_SHARDS + 1
    assert written < 11 * 36_500
