"""A batch accounts for its positions without a gap."""

import pytest

from pipelines.reading.documents import Document
from pipelines.reading.messages import Deletion
from pipelines.reading.stream_batch import BatchLimits, StreamBatch, size_of


def test_ranges_grow_by_what_follows() -> None:
    batch = StreamBatch()
    batch.cover("a", 3, 3)
    assert batch.ranges == {}
    batch.cover("a", 3, 5)
    batch.cover("b", 0, 1)
    batch.cover("a", 5, 9)
    assert batch.ranges == {"a": (3, 9), "b": (0, 1)}


@pytest.mark.parametrize("start", [4, 6])
def test_a_gap_or_an_overlap_is_an_error(start: int) -> None:
    batch = StreamBatch()
    batch.cover("a", 3, 5)
    with pytest.raises(RuntimeError, match=f"partition a was read up to 5 and then from {start}"):
        batch.cover("a", start, 9)


def test_a_batch_is_full_by_records_or_bytes() -> None:
    batch = StreamBatch()
    message = Document("a", "x" * 1000)
    batch.add(message, size_of(message))
    assert 1000 < batch.bytes < 2000
    assert not batch.is_full(BatchLimits(records=2, bytes=2000))
    assert batch.is_full(BatchLimits(records=1, bytes=2000))
    assert batch.is_full(BatchLimits(records=2, bytes=1000))
    assert size_of(Deletion("a", "", 0)) < 1000
    assert size_of(Document("a", "x", {"blob": "x" * 5000})) > 5000
