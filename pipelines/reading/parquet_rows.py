"""Parquet: a record's position is the number of its row."""

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import IO, Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipelines.reading.fields import (
    MAX_RECORD_BYTES,
    Fault,
    Record,
    document_from_fields,
    reject_record,
    too_large,
)
from pipelines.reading.input_files import InputFile, open_bytes
from pipelines.reading.options import InputOptions

_BATCH_ROWS = 256
_BATCH_BYTES = 32 << 20


def count_rows(file: InputFile) -> int:
    """Return how many rows a Parquet file has."""
    with open_bytes(file) as stream:
        return int(pq.read_metadata(stream).num_rows)


def largest_row_group(file: InputFile) -> int:
    """Return the rows of the largest row group of a Parquet file."""
    with open_bytes(file) as stream:
        metadata = pq.read_metadata(stream)
    return max((metadata.row_group(g).num_rows for g in range(metadata.num_row_groups)), default=0)


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
                for batch in parquet.iter_batches(_rows_at_once(parquet, group), [group]):
                    for values in rows_of(batch):
                        if row >= start and (end is None or row < end):
                            yield _record(file, options, row, values)
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
            for batch in parquet.iter_batches(_rows_at_once(parquet, group), [group]):
                chosen = [row for row in rows if first <= row < first + batch.num_rows]
                for row in chosen:
                    [values] = rows_of(batch.slice(row - first, 1))
                    yield _record(file, options, row, values)
                first += batch.num_rows


def _rows_at_once(parquet: pq.ParquetFile, group: int) -> int:
    """Return how many rows of a row group are decoded at once: few where they are large."""
    metadata = parquet.metadata.row_group(group)
    row_bytes = metadata.total_byte_size // max(metadata.num_rows, 1)
    return max(1, min(_BATCH_ROWS, _BATCH_BYTES // max(row_bytes, 1)))


class _Unreadable:
    """A cell that is no value."""

    def __init__(self, column: str, error: Exception) -> None:
        self.detail = f"column {column!r}: {error}"


def _record(file: InputFile, options: InputOptions, row: int, values: dict[str, Any]) -> Record:
    for value in values.values():
        if isinstance(value, _Unreadable):
            readable = {k: v for k, v in values.items() if not isinstance(v, _Unreadable)}
            return reject_record(file, row, Fault("unreadable-value", value.detail), readable)
    if sum(len(value) for value in values.values() if isinstance(value, str | bytes)) > (
        MAX_RECORD_BYTES
    ):
        return reject_record(file, row, too_large(), values)
    return document_from_fields(file, options, row, values, values)


def rows_of(batch: pa.RecordBatch) -> list[dict[str, Any]]:
    """Return the rows of a batch as Python values, times as text.

    What Python has no value for (the year 10000 elsewhere, nanoseconds, an unknown zone) is text
    as Arrow prints it; a cell that cannot be read at all is _Unreadable.
    """
    columns = [
        _values(name, column)
        for name, column in zip(batch.schema.names, batch.columns, strict=True)
    ]
    return [dict(zip(batch.schema.names, row, strict=True)) for row in zip(*columns, strict=True)]


def _values(name: str, column: pa.Array) -> list[Any]:
    kind = column.type
    if pa.types.is_timestamp(kind):
        # A moment is written as of UTC: zones may be unknown here, and edges of time have none.
        bare = pc.cast(column, pa.timestamp(kind.unit))
        mark = "" if kind.tz is None else "Z"
        return [None if text is None else _whole(text) + mark for text in _texts(bare)]
    if pa.types.is_temporal(kind) and not pa.types.is_duration(kind) and not _is_interval(kind):
        texts = _texts(column)
        is_time = pa.types.is_time(kind)
        return [_whole(text) if is_time and text is not None else text for text in texts]
    try:
        return list(column.to_pylist())
    except Exception:  # Python has no such value, or no such zone: told cell by cell
        return [_cell(name, value) for value in column]


def _whole(time: str) -> str:
    """Leave out zeros that only say in which unit a time is stored."""
    return time.rstrip("0").removesuffix(".") if "." in time else time


def _is_interval(kind: pa.DataType) -> bool:
    return kind == pa.month_day_nano_interval()


def _texts(column: pa.Array) -> list[str | None]:
    return list(pc.cast(column, pa.string()).to_pylist())


def _cell(name: str, value: pa.Scalar) -> Any:
    try:
        return _python(value)
    except Exception as error:  # of a zone, a codec, a calendar: this cell's alone
        return _Unreadable(name, error)


def _python(value: pa.Scalar) -> Any:
    """Return a cell as a Python value; inside lists too, what Python has no value for is text."""
    try:
        return value.as_py()
    except UnicodeDecodeError:
        raise
    except Exception:
        if isinstance(value, pa.MapScalar):
            return [[_python(pair["key"]), _python(pair["value"])] for pair in value.values]
        if isinstance(value, pa.StructScalar):
            return {name: _python(each) for name, each in value.items()}
        if isinstance(value, pa.ListScalar | pa.LargeListScalar | pa.FixedSizeListScalar):
            return [_python(each) for each in value.values]
        if pa.types.is_duration(value.type):
            return _duration(value)
        if pa.types.is_temporal(value.type) and not _is_interval(value.type):
            return _values("", pa.array([value]))[0]
        raise


def _duration(value: pa.Scalar) -> str:
    """Return a duration as Python writes one, to the nanosecond: -1 day, 23:59:59.5."""
    per_second = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}[value.type.unit]
    seconds, rest = divmod(value.value, per_second)
    try:
        whole = str(timedelta(seconds=seconds))
    except OverflowError:  # Python's durations end at some millions of years
        return f"{value.value} {value.type.unit}"
    return f"{whole}.{rest:0{len(str(per_second)) - 1}d}".rstrip("0") if rest else whole
