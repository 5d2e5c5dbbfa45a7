"""What is asked of an index."""

from typing import Any

import pytest

from pipelines.errors import UsageError
from pipelines.index.options import IndexOptions


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"max_memory_bytes": 1 << 20}, "needs at least"),
        ({"target_recall": 0.0}, "--target-recall is 0.0"),
        ({"target_recall": 1.5}, "--target-recall is 1.5"),
        ({"sentence_weight": 2.0}, "--sentence-weight is 2.0"),
        ({"remove_components": 65}, "--remove-components is 65"),
        ({"remove_components": 1, "center": False}, "needs centering"),
        ({"shard_rows": 0}, "--shard-rows is 0"),
    ],
)
def test_impossible_options_are_refused(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError) as caught:
        IndexOptions(**settings)
    assert words in str(caught.value)
