"""Rows of Parquet files."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.reading import parquet_rows
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


def test_row_too_large_is_rejected(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet_rows, "MAX_RECORD_BYTES", 100)
    path = tmp_path / "in.parquet"
    pq.write_table(pa.table({"id": ["a", "b"], "text": ["x" * 101, "y"]}), path)
    large, good = scanned(find_inputs([str(path)])[0])
    assert (large.reason, large.raw[:12], good.doc_id) == ("too-large", "id: a, text:", "b")


def test_large_rows_are_decoded_a_few_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []
    read = parquet_rows.rows_of

    def noted(batch: pa.RecordBatch) -> list[dict[str, Any]]:
        sizes.append(batch.num_rows)
        return read(batch)

    monkeypatch.setattr(parquet_rows, "rows_of", noted)
    texts = [f"{n} " + "x" * (4 << 20) for n in range(20)]
    path = tmp_path / "in.parquet"
    pq.write_table(pa.table({"text": texts}), path, use_dictionary=False)
    assert [d.text[:2] for d in scanned(find_inputs([str(path)])[0])] == [t[:2] for t in texts]
    assert max(sizes) <= 8
