"""Parquet: a record's position is the number of its row."""

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from typing import IO

import pyarrow.parquet as pq

from pipelines.reading.fields import Record, document_from_fields
from pipelines.reading.input_files import InputFile, open_bytes
from pipelines.reading.options import InputOptions

_BATCH_ROWS = 256


def count_rows(file: InputFile) -> int:
    """Return how many rows a Parquet file has."""
    with open_bytes(file) as stream:
        return int(pq.read_metadata(stream).num_rows)


def column_names(stream: IO[bytes]) -> list[str]:
    """Return the names of the columns."""
    return list(pq.read_schema(stream).names)


def scan(
    file: InputFile, options: InputOptions, stream: IO[bytes], start: int, end: int | None
) -> Iterator[Record]:
    """Yield the records of the rows [start, end)."""
    with pq.ParquetFile(stream) as parquet:
        first = 0
        for group in range(parquet.num_row_groups):
            last = first + parquet.metadata.row_group(group).num_rows
            if last > start and (end is None or first < end):
                row = first
                for batch in parquet.iter_batches(_BATCH_ROWS, row_groups=[group]):
                    for values in batch.to_pylist():
                        if row >= start and (end is None or row < end):
                            yield document_from_fields(file, options, row, values, str(values))
                        row += 1
            first = last


def fetch(
    file: InputFile, options: InputOptions, stream: IO[bytes], positions: Sequence[int]
) -> Iterator[Record]:
    """Yield the records of given rows; each row group that has any is decoded once."""
    with pq.ParquetFile(stream) as parquet:
        sizes = [parquet.metadata.row_group(g).num_rows for g in range(parquet.num_row_groups)]
        ends = [sum(sizes[: i + 1]) for i in range(len(sizes))]
        groups: dict[int, list[int]] = {}
        for position in positions:
            groups.setdefault(bisect_right(ends, position), []).append(position)
        for group, rows in groups.items():
            first = ends[group] - sizes[group]
            for batch in parquet.iter_batches(_BATCH_ROWS, row_groups=[group]):
                chosen = [row for row in rows if first <= row < first + batch.num_rows]
                for row in chosen:
                    values = batch.slice(row - first, 1).to_pylist()[0]
                    yield document_from_fields(file, options, row, values, str(values))
                first += batch.num_rows
