"""One Parquet file: what goes in comes out to the bit, and what the store has is what was sent."""

import hashlib
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipelines.corpus.atomic_files import is_temporary
from pipelines.corpus.checksums import HashingWriter
from pipelines.corpus.parquet_writer import TableWriter, encoding, rows_per_group
from pipelines.corpus.store import Store
from pipelines.errors import CorpusError
from schemas import DOCUMENTS, REJECTS, Part, tokens_schema

PATH = "segments/1/tokens/part-00000.parquet"


def token_table(rows: int, dtype: str, dim: int = 4) -> pa.Table:
    """Rows with vectors of every kind of number a float can hold."""
    numbers = np.random.default_rng(rows).standard_normal((rows, dim)).astype(dtype)
    if rows:
        numbers[0] = [np.inf, -0.0, np.nan, np.finfo(dtype).smallest_subnormal]
    schema = tokens_schema(dtype, dim)
    integers = np.arange(rows)
    columns = [
        pa.array(integers, pa.int64()),
        pa.array([f"d{n // 3}" for n in range(rows)], pa.string()),
        *(pa.array(integers, schema.field(name).type) for name in schema.names[2:6]),
        pa.array(["bank" if n % 2 else "straße\x00" for n in range(rows)], pa.string()),
        pa.FixedSizeListArray.from_arrays(
            pa.array(numbers.ravel()), type=schema.field("vector").type
        ),
    ]
    return pa.table(columns, schema=schema)


def write(store: Store, table: pa.Table, cuts: list[int], row_group_bytes: int) -> tuple[Any, Part]:
    writer = TableWriter(store, PATH, table.schema, row_group_bytes)
    edges = [0, *sorted(min(cut, len(table)) for cut in cuts), len(table)]
    for first, last in pairwise(edges):
        for batch in table.slice(first, last - first).to_batches():
            writer.write(batch)
    return writer, writer.close("segments/1")


@settings(
    deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    rows=st.integers(0, 70),
    cuts=st.lists(st.integers(0, 70), max_size=5),
    group=st.integers(1, 80),
    dtype=st.sampled_from(["float16", "float32"]),
)
def test_rows_come_back_to_the_bit_however_they_came(
    tmp_path: Path, rows: int, cuts: list[int], group: int, dtype: str
) -> None:
    store, table = Store(tmp_path), token_table(rows, dtype)
    bytes_per_row = 4 * np.dtype(dtype).itemsize
    writer, part = write(store, table, cuts, group * bytes_per_row)

    data = store.read(writer.temporary)
    file = pq.ParquetFile(pa.BufferReader(data))
    back = file.read().combine_chunks()
    assert back.drop_columns("vector").equals(table.drop_columns("vector"))
    found, sent = (
        each.column("vector").combine_chunks().flatten().to_numpy().tobytes()
        for each in (back, table)
    )
    assert found == sent  # NaN and -0.0 too
    groups = [file.metadata.row_group(i).num_rows for i in range(file.metadata.num_row_groups)]
    assert groups == [group] * (rows // group) + ([rows % group] if rows % group else [])
    expected = Part(
        path="tokens/part-00000.parquet",
        rows=rows,
        bytes=len(data),
        sha256=hashlib.sha256(data).hexdigest(),
    )
    assert part == expected


def test_same_rows_give_the_same_bytes_however_they_came(tmp_path: Path) -> None:
    table = token_table(50, "float16")
    written = []
    for number, cuts in enumerate(([], [1, 2, 30], [25])):
        store = Store(tmp_path / str(number))
        writer, _ = write(store, table, cuts, 16 * 8)
        written.append(store.read(writer.temporary))
    assert written[0] == written[1] == written[2]


@pytest.mark.parametrize(
    ("schema", "row_group_bytes", "rows"),
    [
        (tokens_schema("float16", 384), 8 << 20, 10922),  # 8 MiB of 768 bytes each
        (tokens_schema("float32", 384), 8 << 20, 5461),
        (tokens_schema("float16", 4), 8 << 20, 16384),  # the most rows of a group
        (tokens_schema("float32", 1024), 100, 1),  # at least one
        (DOCUMENTS, 100, 16384),
    ],
)
def test_rows_of_a_group_follow_the_bytes_of_its_vectors(
    schema: pa.Schema, row_group_bytes: int, rows: int
) -> None:
    assert rows_per_group(schema, row_group_bytes) == rows


def test_vectors_are_split_by_bytes_and_words_have_dictionaries(tmp_path: Path) -> None:
    store = Store(tmp_path)
    writer, _ = write(store, token_table(40, "float16"), [], 1 << 20)
    group = pq.read_metadata(tmp_path / writer.temporary).row_group(0)
    columns = {group.column(i).path_in_schema: group.column(i) for i in range(group.num_columns)}
    assert "BYTE_STREAM_SPLIT" in columns["vector.list.element"].encodings
    assert "RLE_DICTIONARY" in columns["token"].encodings
    assert "RLE_DICTIONARY" not in columns["vector_id"].encodings
    assert {column.compression for column in columns.values()} == {"ZSTD"}
    assert "vector_id" not in encoding(REJECTS)["use_dictionary"]


def test_file_that_the_store_cut_short_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    size = Store.size
    monkeypatch.setattr(Store, "size", lambda self, path: size(self, path) - 1)
    with pytest.raises(CorpusError, match=r"part-00000.parquet: \d+ bytes were written, but the"):
        write(Store(tmp_path), token_table(3, "float16"), [], 100)


def test_aborted_file_leaves_nothing(tmp_path: Path) -> None:
    store, table = Store(tmp_path), token_table(9, "float16")
    writer = TableWriter(store, PATH, table.schema, 16)
    writer.write(table.to_batches()[0])
    assert [is_temporary(path) for path, _, _ in store.files()] == [True]
    writer.abort()
    assert list(store.files()) == []


def test_file_that_cannot_be_begun_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(HashingWriter, "write", full)
    with pytest.raises(OSError, match="no space left"):
        TableWriter(Store(tmp_path), PATH, DOCUMENTS, 100)
    assert list(Store(tmp_path).files()) == []
