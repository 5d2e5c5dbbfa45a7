"""Metrics of a stream for Prometheus, on a port of their own."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from pipelines.errors import UsageError

if TYPE_CHECKING:
    from pipelines.embed.jobs.stream_job import StreamStatus


@contextmanager
def serve_metrics(status: "StreamStatus", port: int) -> Iterator[None]:
    """Serve a stream's metrics while the block runs.

    Raises:
      UsageError: if the extra is not installed, or the port is taken.
    """
    try:
        from prometheus_client import CollectorRegistry, Gauge, start_http_server
    except ImportError:
        raise UsageError(
            "--metrics-port needs prometheus-client; install it with:"
            " pip install 'sensegrep[serve]'"
        ) from None
    registry = CollectorRegistry()
    report = status.report
    gauges = {
        "documents_written_total": ("documents embedded and committed", lambda: report.written),
        "records_read_total": ("records accounted for", lambda: report.read),
        "records_rejected_total": ("records rejected", lambda: report.rejected),
        "deletions_total": ("deletions", lambda: report.deleted),
        "commits_total": ("snapshots made", lambda: report.commits),
        "restarts_total": ("starts after a failure", lambda: status.restarts),
        "snapshot": ("number of the newest snapshot", lambda: report.snapshot),
        "lag_records": ("records not read yet", lambda: status.lag.records),
        "lag_seconds": ("age of the oldest of them", lambda: status.lag.seconds),
        "last_commit_timestamp_seconds": ("of the last commit", lambda: status.committed_at or 0.0),
        "documents_per_second": ("over the last minute", lambda: status.documents_per_second),
    }
    for name, (text, value) in gauges.items():
        gauge = Gauge(f"sensegrep_stream_{name}", text, registry=registry)
        gauge.set_function(value)
    try:
        server, thread = start_http_server(port, registry=registry)
    except (OSError, OverflowError) as error:
        raise UsageError(f"--metrics-port {port} cannot be opened: {error}") from error
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
