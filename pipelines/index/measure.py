"""Measure a new index: its recall against exact search, and the time of a query.

Queries are stored vectors that nothing was learned from (`HeldOut`), and none counts as its own
neighbour: a query from outside finds no copy of itself either. The effort is raised until recall
reaches the target by more than chance: a one-sided 95 % bound on its mean over the queries.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipelines.index.exact import Floats, Ids
from pipelines.index.factory import Factory
from pipelines.index.parts import HeldOut
from pipelines.index.reader import OpenIndex, OpenShard, VectorHit

QUERIES = 200
TIMED = 100
K = 10
_CONFIDENCE = 1.645  # standard errors below the mean, for 95 % on one side


@dataclass(frozen=True, kw_only=True)
class TableMeasure:
    """What was measured of one table.

    Attributes:
      effort: nprobe or efSearch that reaches the target, or the most there is.
      recall_at_10: against exact search, the mean over the queries; 1.0 where search is exact.
      recall_bound: with 95 % confidence recall is at least this.
      queries: how many held-out vectors recall was measured with; 0 where search is exact.
      latency_ms: p50 and p99 of one query over everything, in a warm process.
    """

    effort: int
    recall_at_10: float
    recall_bound: float
    queries: int
    latency_ms: Mapping[str, float]


@dataclass(frozen=True, kw_only=True, eq=False)
class Queries:
    """Vectors [Q, D] to search with, and where each stands itself: (shard, position)."""

    vectors: Floats
    places: tuple[tuple[str, int], ...]

    def others(self, found: list[list[VectorHit]]) -> list[list[VectorHit]]:
        """Leave each query out of its own K + 1 matches."""
        return [
            [match for match in matches if (match.shard, match.position) != place][:K]
            for matches, place in zip(found, self.places, strict=True)
        ]


def measure_table(
    index: OpenIndex,
    table: str,
    factory: Factory,
    *,
    target_recall: float,
    held_out: HeldOut,
    seed: int,
) -> TableMeasure:
    """Find the least effort that surely reaches the target recall, and time queries with it."""
    queries = draw_queries(index, table, held_out, seed)
    if factory.exact or not queries.places:
        latency = _latency(index, table, queries.vectors, 0)
        return TableMeasure(
            effort=0, recall_at_10=1.0, recall_bound=1.0, queries=0, latency_ms=latency
        )
    truth = queries.others(index.nearest_exactly(table, queries.vectors, K + 1))
    effort, most = (16, 2048) if factory.nlist is None else (1, factory.nlist)
    while True:
        found = [index.nearest(table, query, K + 1, effort=effort) for query in queries.vectors]
        shares = recalls(queries.others(found), truth)
        bound = lower_bound(shares)
        if bound >= target_recall or effort >= most:
            return TableMeasure(
                effort=effort,
                recall_at_10=float(shares.mean()),
                recall_bound=bound,
                queries=len(shares),
                latency_ms=_latency(index, table, queries.vectors, effort),
            )
        effort = min(2 * effort, most)


def draw_queries(index: OpenIndex, table: str, held_out: HeldOut, seed: int) -> Queries:
    """Draw vectors that were held out, from all shards in proportion; any where nothing was."""
    rows = {name: shard.shard.rows[table] for name, shard in index.shards.items()}
    total = sum(rows.values())
    rng = np.random.default_rng(seed)
    # Twice as many as hold enough on average; fewer rows have all of theirs looked at.
    wanted = min(total, int(2 * QUERIES / (held_out.share or 1)) + 1)
    drawn = np.sort(rng.choice(total, wanted, replace=False)) if total else np.zeros(0, np.int64)
    places: list[tuple[str, int]] = []
    first = 0
    for name, count in rows.items():
        mine = drawn[(drawn >= first) & (drawn < first + count)] - first
        if held_out.share and len(mine):
            mine = mine[held_out.among(_ids_of(index.shards[name], table, mine))]
        places += [(name, position) for position in mine.tolist()]
        first += count
    chosen = [places[i] for i in np.sort(rng.permutation(len(places))[:QUERIES])]
    vectors = [index.shards[name].flat(table).vectors(np.array([p])) for name, p in chosen]
    empty = np.zeros((0, index.manifest.dim), np.float32)
    return Queries(vectors=np.concatenate([empty, *vectors]), places=tuple(chosen))


def _ids_of(shard: OpenShard, table: str, positions: Ids) -> Ids:
    if table == "tokens":
        return np.asarray(shard.keys["vector_id"][positions])
    return np.asarray(shard.lines.column("vector_id").take(positions).to_numpy())


def recalls(found: list[list[VectorHit]], truth: list[list[VectorHit]]) -> NDArray[np.float64]:
    """Return the share of each query's true neighbours that were found, [Q].

    What reaches the score of the last true neighbour counts, so that ties are forgiven. A query
    without neighbours has found them all.
    """
    shares = []
    for mine, true in zip(found, truth, strict=True):
        worst = true[-1].score - 1e-4 if true else 0.0
        reached = sum(match.score >= worst for match in mine)
        shares.append(min(1.0, reached / len(true)) if true else 1.0)
    return np.array(shares)


def lower_bound(shares: NDArray[np.float64]) -> float:
    """Return a mean that the true one exceeds with 95 % confidence (normal approximation)."""
    if len(shares) < 2:
        return float(shares.mean()) if len(shares) else 1.0
    error = shares.std(ddof=1) / np.sqrt(len(shares))
    return float(max(0.0, shares.mean() - _CONFIDENCE * error))


def _latency(index: OpenIndex, table: str, queries: Floats, effort: int) -> dict[str, float]:
    if not len(queries):
        return {"p50": 0.0, "p99": 0.0}
    times = []
    for query in queries[:TIMED]:
        started = time.perf_counter()
        index.nearest(table, query, K, effort=effort)
        times.append(1000 * (time.perf_counter() - started))
    return {
        "p50": round(float(np.percentile(times, 50)), 3),
        "p99": round(float(np.percentile(times, 99)), 3),
    }
