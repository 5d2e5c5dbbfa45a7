"""A request to stop with its grace period; a stream's status in words."""

import pytest

from pipelines.embed.jobs.stream_job import StopRequest, StreamOptions, StreamStatus
from pipelines.errors import UsageError
from pipelines.reading.stream_batch import BatchLimits, Lag


def test_a_request_is_overdue_after_its_grace() -> None:
    stop, strict = StopRequest(60.0), StopRequest(0.0)
    assert not stop.requested
    assert not stop.wait(0)
    stop.request()
    strict.request()
    assert stop.requested
    assert stop.wait(0)
    assert not stop.is_overdue()
    assert strict.is_overdue()


def test_a_status_tells_lag_rate_and_snapshot() -> None:
    status = StreamStatus()
    status.state, status.lag = "reading", Lag(1200, 65.4)
    status.report.written, status.report.snapshot, status.report.rejected = 3000, 17, 2
    status.count_written()
    found = status.describe(1.0)
    assert found.startswith("reading: 3,000 documents written, ")
    assert found.endswith("lag 1,200 records 65 s, 2 rejects, snapshot 17")
    assert status.documents_per_second > 0


def test_options_that_cannot_be_are_refused() -> None:
    with pytest.raises(UsageError, match="--every is -1s"):
        StreamOptions(every_seconds=-1)
    with pytest.raises(UsageError, match="--ahead and --ahead-bytes"):
        StreamOptions(ahead=BatchLimits(records=1, bytes=0))
