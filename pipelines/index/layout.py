"""The second step of an index build: decide where every form and every part goes."""

from collections.abc import Iterable

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipelines.index.measure_parts import merge_forms
from pipelines.index.parts import Build, Measure, PartRef, ShardLayout
from pipelines.text.normal_forms import folded_form


def lay_out(measures: Iterable[Measure], build: Build) -> dict[str, ShardLayout]:
    """Decide where every form and every part of the new shards goes."""
    by_part = {measure.part: measure for measure in measures}
    shards = sorted({part.shard for part in build.parts})
    return {shard: _lay_out_shard(shard, by_part, build) for shard in shards}


def _lay_out_shard(shard: str, by_part: dict[PartRef, Measure], build: Build) -> ShardLayout:
    rows = {"documents": 0, "sentences": 0, "tokens": 0}
    first: dict[PartRef, int] = {}
    tables = []
    for part in build.parts:
        if part.shard == shard:
            first[part] = rows[part.table]
            rows[part.table] += by_part[part].rows
            forms = by_part[part].forms
            tables += [] if forms is None else [forms]
    words, counts = _ordered_forms(tables)
    bucket_rows = max(1, build.chunk_bytes // build.record.itemsize)
    bounds = bucket_bounds(counts, bucket_rows)
    return ShardLayout(forms=words, counts=counts, bounds=bounds, first=first, rows=rows)


def _ordered_forms(tables: list[pa.Table]) -> tuple[pa.Array, NDArray[np.int64]]:
    if not tables:
        return pa.array([], pa.string()), np.zeros(0, np.int64)
    merged = merge_forms(tables)
    forms = merged["form"].to_pylist()
    order = sorted(range(len(forms)), key=lambda i: (folded_form(forms[i]), forms[i]))
    counts = merged["count"].to_numpy().astype(np.int64)[order]
    return pa.array([forms[i] for i in order], pa.string()), counts


def bucket_bounds(counts: NDArray[np.int64], bucket_rows: int) -> NDArray[np.int64]:
    """Cut forms into buckets of at most `bucket_rows` rows; a larger form has one of its own.

    >>> bucket_bounds(np.array([2, 3, 9, 1, 1]), 5).tolist()
    [0, 2, 3, 5]
    """
    bounds = [0]
    held = 0
    for number, count in enumerate(counts.tolist()):
        if held and held + count > bucket_rows:
            bounds.append(number)
            held = 0
        held += count
    return np.array([*bounds, len(counts)] if len(counts) else [0], np.int64)
