"""Choose an index that can be built within a memory limit.

All vectors are centred and of length 1, so the inner product is the cosine. D is their width.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from pipelines.errors import UsageError
from pipelines.index.exact import BLOCK_BYTES
from pipelines.index.factory import Factory, parse_factory

# Up to here a search over everything is an exact scan: about 60 ms on two cores.
EXACT_ELEMENTS = 1 << 29
# The interpreter with Beam, Arrow and FAISS loaded, before any data; measured 330 MB.
PROCESS_BYTES = 400 << 20


@dataclass(frozen=True, kw_only=True)
class IndexPlan:
    """What will be built, and what it will take.

    Attributes:
      factory: the index over all vectors of a table.
      shard_rows: most vectors in one shard.
      train_rows: vectors trained on, at most.
      build_bytes: most memory the build takes, the process itself included.
      disk_bytes: of all shards, the ordered float copy included.
      reason: why this kind, in words.
    """

    factory: Factory
    shard_rows: int
    train_rows: int
    build_bytes: int
    disk_bytes: int
    reason: str


def plan_index(
    rows: int,
    dim: int,
    *,
    max_memory_bytes: int,
    value_bytes: int = 2,
    factory: str | None = None,
    shard_rows: int | None = None,
) -> IndexPlan:
    """Choose the most exact index whose build fits the memory.

    In order: an exact scan while that is fast; HNSW; IVF over float16; OPQ + IVF + PQ with
    re-ranking, in as many shards as it takes.

    Args:
      rows: vectors in the table.
      dim: D.
      max_memory_bytes: for the whole process.
      value_bytes: of a stored number, 2 or 4.
      factory: overrides the choice.
      shard_rows: overrides the size of a shard.

    Raises:
      UsageError: if nothing fits; the message says which limit would.
    """
    if factory is not None:
        candidates = [(parse_factory(factory, dim), "as asked for")]
    else:
        candidates = list(_candidates(rows, dim, value_bytes))
    free = max_memory_bytes - PROCESS_BYTES
    for chosen, reason in candidates:
        fixed = _fixed_bytes(chosen, rows, dim)
        per_row = 0 if chosen.exact else chosen.row_bytes
        fitting = rows if per_row == 0 else max(0, free - fixed) // per_row
        last = chosen is candidates[-1][0]
        if fixed > free or (fitting < rows and not (last and fitting >= min(rows, 100_000))):
            continue
        most = max(1, min(rows, fitting, shard_rows or rows))
        copies = dim * value_bytes + (0 if chosen.exact else chosen.row_bytes)
        return IndexPlan(
            factory=chosen,
            shard_rows=most,
            train_rows=min(rows, chosen.train_rows),
            build_bytes=PROCESS_BYTES + fixed + per_row * most,
            disk_bytes=rows * copies,
            reason=reason,
        )
    smallest = candidates[-1][0]
    need = PROCESS_BYTES + _fixed_bytes(smallest, rows, dim)
    need += 0 if smallest.exact else smallest.row_bytes * min(rows, 100_000)
    raise UsageError(
        f"--max-memory is {max_memory_bytes >> 20}M, but an index of {rows} vectors of width {dim}"
        f" needs at least {-(-need >> 20)}M to build ({smallest.text}); give at least that"
    )


def _fixed_bytes(factory: Factory, rows: int, dim: int) -> int:
    """Memory that does not grow with a shard: blocks in flight, the training sample."""
    training = min(rows, factory.train_rows) * dim * 4
    # k-means assigns and OPQ rotates copies of the sample.
    return 8 * BLOCK_BYTES + training * (3 if factory.opq else 2) + (factory.nlist or 0) * dim * 4


def _candidates(rows: int, dim: int, value_bytes: int) -> Iterator[tuple[Factory, str]]:
    plain = "SQfp16" if value_bytes == 2 else "Flat"
    if rows * dim <= EXACT_ELEMENTS:
        yield parse_factory(plain, dim), "an exact scan is fast at this size"
        return
    yield parse_factory(f"HNSW32,{plain}", dim), "the graph fits the memory limit"
    for nlist in _list_counts(rows):
        text = f"{_lists(nlist)},{plain}"
        yield parse_factory(text, dim), "the lists fit the memory limit, a graph not"
    for parts in (64, 32, 16):
        for nlist in _list_counts(rows):
            if dim % parts == 0 and dim // parts >= 4:
                text = f"OPQ{parts},{_lists(nlist)},PQ{parts}"
                yield parse_factory(text, dim), "only compressed codes fit; the best score again"


def _list_counts(rows: int) -> list[int]:
    """About 4 sqrt(n) lists, a power of two up to 2^18; or less, for want of memory to train."""
    best = round(np.log2(4 * max(rows, 1) ** 0.5))
    return [1 << power for power in range(min(best, 18), max(best - 4, 7), -1)]


def _lists(nlist: int) -> str:
    """The coarse part of a factory string; a graph finds the lists where they are many."""
    return f"IVF{nlist}_HNSW32" if nlist >= 1 << 14 else f"IVF{nlist}"
