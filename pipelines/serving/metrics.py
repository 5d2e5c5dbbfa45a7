"""The metrics of `/metrics`. Times are in seconds."""

import resource
import sys
from collections.abc import Iterator
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from pipelines.serving.live_corpus import LiveCorpus

_SECONDS = (0.002, 0.005, 0.01, 0.02, 0.03, 0.05, 0.08, 0.12, 0.2, 0.5, 1, 2, 5, 10, 30)
_TOKENS = (8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192)


class Metrics:
    """Counters and histograms of one server."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "sensegrep_requests",
            "Requests answered",
            ["route", "method", "status"],
            registry=self.registry,
        )
        self.latency = self._histogram("request", "Time from request to answer", ["route"])
        self.encode = self._histogram("encode", "Time to encode a query, queue included")
        self.encoded_before = Counter(
            "sensegrep_encoded_before",
            "Searches whose query was encoded for an earlier one",
            registry=self.registry,
        )
        self.scan = self._histogram("scan", "Time to compare, and to read the lines found")
        self.senses = self._histogram("senses", "Time to tell the senses of a word")
        self.batch = self._histogram("batch", "Time the model takes for a batch")
        self.batch_tokens = Histogram(
            "sensegrep_batch_tokens",
            "Tokens encoded together",
            buckets=_TOKENS,
            registry=self.registry,
        )
        self.batch_sentences = Histogram(
            "sensegrep_batch_sentences",
            "Sentences encoded together",
            buckets=(1, 2, 4, 8, 16, 32, 64, 128),
            registry=self.registry,
        )
        self.in_work = Gauge("sensegrep_in_work", "Requests in work", registry=self.registry)
        self.refreshes = Counter(
            "sensegrep_refreshes", "Snapshots taken up while serving", registry=self.registry
        )

    def _histogram(self, name: str, summary: str, labels: list[str] | None = None) -> Histogram:
        return Histogram(
            f"sensegrep_{name}_seconds",
            summary,
            labels or [],
            buckets=_SECONDS,
            registry=self.registry,
        )

    def observe_batch(self, sentences: int, tokens: int, seconds: float) -> None:
        """Count a batch of the model."""
        self.batch.observe(seconds)
        self.batch_tokens.observe(tokens)
        self.batch_sentences.observe(sentences)

    def watch(self, live: LiveCorpus) -> None:
        """Tell of a corpus too."""
        self.registry.register(_CorpusCollector(live))

    def render(self) -> bytes:
        """Return the text that Prometheus reads."""
        return generate_latest(self.registry)


class _CorpusCollector(Collector):
    def __init__(self, live: LiveCorpus) -> None:
        self._live = live

    def collect(self) -> Iterator[Any]:
        served = self._live.served
        yield _gauge("ready", "1 once the model is loaded", float(served is not None))
        yield _gauge(
            "refresh_failed",
            "1 while a newer snapshot cannot serve",
            float(self._live.problem is not None),
        )
        yield _gauge("memory_bytes", "Resident memory of the process", float(resident_bytes()))
        if served is None:
            return
        yield _gauge("snapshot", "Number of the snapshot", float(served.corpus.snapshot.number))
        yield _gauge("snapshot_age_seconds", "Since the snapshot was made", served.snapshot_age)
        unindexed = len(served.searcher.index.unindexed)
        yield _gauge("unindexed_segments", "Segments newer than the index", float(unindexed))
        yield _gauge("queue", "Requests waiting for the model", served.model.batches.waiting)


def _gauge(name: str, summary: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"sensegrep_{name}", summary, value=value)


def resident_bytes() -> int:
    """Return the resident memory of this process; where that is not told, its peak."""
    try:
        with open("/proc/self/statm", encoding="ascii") as file:
            return int(file.read().split()[1]) * resource.getpagesize()
    except FileNotFoundError:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 1024
