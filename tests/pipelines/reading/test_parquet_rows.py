"""Rows of Parquet files."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.reading.input_files import InputFile, find_inputs
from pipelines.reading.options import InputOptions
from pipelines.reading.records import scan


def scanned(file: InputFile, options: InputOptions | None = None, **place: Any) -> list[Any]:
    return list(scan(file, options or InputOptions(), **place))


def test_typed_parquet_columns_become_metadata(tmp_path: Path) -> None:
    path = tmp_path / "in.parquet"
    table = pa.table({"id": [1, 2], "text": ["x", None], "score": [0.5, 1.5]})
    pq.write_table(table, path)
    good, bad = scanned(find_inputs([str(path)])[0])
    assert (good.doc_id, good.metadata) == ("1", {"score": "0.5"})
    assert (bad.position, bad.reason, bad.doc_id) == (1, "missing-text", "2")
