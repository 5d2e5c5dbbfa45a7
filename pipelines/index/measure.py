"""Measure an index at its build: its recall against exact search, and the time of a query."""

import time
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from pipelines.index.exact import Floats
from pipelines.index.factory import Factory
from pipelines.index.reader import Match, OpenIndex

QUERIES = 100
K = 10


@dataclass(frozen=True, kw_only=True)
class TableMeasure:
    """What was measured of one table.

    Attributes:
      effort: nprobe or efSearch that reaches the target, or the most there is.
      recall_at_10: against exact search; 1.0 where search is exact.
      latency_ms: p50 and p99 of one query over everything, in a warm process.
    """

    effort: int
    recall_at_10: float
    latency_ms: Mapping[str, float]


def measure_table(
    index: OpenIndex, table: str, factory: Factory, *, target_recall: float, seed: int
) -> TableMeasure:
    """Find the least effort that reaches the target recall, and time queries with it."""
    queries = _queries(index, table, seed)
    if factory.exact or not len(queries):
        return TableMeasure(
            effort=0, recall_at_10=1.0, latency_ms=_latency(index, table, queries, 0)
        )
    truth = [index.nearest_exactly(table, query, K) for query in queries]
    effort, most = (16, 2048) if factory.nlist is None else (1, factory.nlist)
    while True:
        found = [index.nearest(table, query, K, effort=effort) for query in queries]
        recall = _recall(found, truth)
        if recall >= target_recall or effort >= most:
            latency = _latency(index, table, queries, effort)
            return TableMeasure(effort=effort, recall_at_10=recall, latency_ms=latency)
        effort = min(2 * effort, most)


def _queries(index: OpenIndex, table: str, seed: int) -> Floats:
    """Draw stored vectors as queries, from all shards alike."""
    places = [
        (name, position)
        for name, shard in index.shards.items()
        for position in _drawn(shard.shard.rows[table], seed)
    ]
    order = np.random.default_rng(seed).permutation(len(places))[:QUERIES]
    vectors = [
        index.shards[places[i][0]].flat(table).vectors(np.array([places[i][1]])) for i in order
    ]
    return np.concatenate([np.zeros((0, index.manifest.dim), np.float32), *vectors])


def _drawn(rows: int, seed: int) -> list[int]:
    count = min(rows, QUERIES)
    return sorted(np.random.default_rng(seed).choice(rows, count, replace=False).tolist())


def _recall(found: list[list[Match]], truth: list[list[Match]]) -> float:
    """Count what reaches the score of the last true neighbour, so that ties are forgiven."""
    shares = []
    for mine, true in zip(found, truth, strict=True):
        worst = true[-1].score - 1e-4
        shares.append(min(1.0, sum(match.score >= worst for match in mine) / len(true)))
    return float(np.mean(shares))


def _latency(index: OpenIndex, table: str, queries: Floats, effort: int) -> dict[str, float]:
    if not len(queries):
        return {"p50": 0.0, "p99": 0.0}
    times = []
    for query in queries:
        started = time.perf_counter()
        index.nearest(table, query, K, effort=effort)
        times.append(1000 * (time.perf_counter() - started))
    return {
        "p50": round(float(np.percentile(times, 50)), 3),
        "p99": round(float(np.percentile(times, 99)), 3),
    }
