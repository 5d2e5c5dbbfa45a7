"""Metrics of a stream, as Prometheus reads them."""

import socket
import urllib.request

import pytest

from pipelines.commands.stream_metrics import serve_metrics
from pipelines.embed.jobs.stream_job import StreamStatus
from pipelines.errors import UsageError
from pipelines.reading.stream_batch import Lag


@pytest.fixture
def port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


def test_metrics_follow_the_stream(port: int) -> None:
    status = StreamStatus()
    with serve_metrics(status, port):
        status.report.written, status.report.snapshot = 12, 3
        status.lag = Lag(40, 2.5)
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
            found = answer.read().decode()
    for line in ("documents_written_total 12.0", "snapshot 3.0", "lag_records 40.0",
                 "lag_seconds 2.5", "last_commit_timestamp_seconds 0.0"):  # fmt: skip
        assert f"\nsensegrep_stream_{line}\n" in found


def test_a_port_that_is_taken_is_refused(port: int) -> None:
    with (
        serve_metrics(StreamStatus(), port),
        pytest.raises(UsageError, match=f"--metrics-port {port} cannot be opened"),
        serve_metrics(StreamStatus(), port),
    ):
        pass
