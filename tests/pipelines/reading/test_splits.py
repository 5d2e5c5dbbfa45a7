"""Splits of the input: every record in exactly one piece, chosen records read again."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipelines.reading.input_files import find_inputs
from pipelines.reading.options import InputOptions
from pipelines.reading.splits import (
    FilePiece,
    ReadRange,
    ReadTask,
    count_pieces,
    piece_bounds,
    read_task,
)

ROWS = [{"id": f"d{n}", "text": f"Text {n} ä" * (n % 7 + 1)} for n in range(60)]


def write(directory: Path, name: str) -> str:
    path = directory / name
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(ROWS), path, row_group_size=13)
    elif path.suffix == ".csv":
        path.write_text("id,text\n" + "".join(f"{r['id']},{r['text']}\n" for r in ROWS))
    else:
        lines = [json.dumps(row, ensure_ascii=False) for row in ROWS]
        path.write_text("".join(f"{line}\n" for line in lines))
    return str(path)


def pieces_of(path: str, piece_bytes: int) -> list[FilePiece]:
    [file] = find_inputs([path])
    count = count_pieces(file, InputOptions(), piece_bytes)
    return [FilePiece(number, file, number, count) for number in range(count)]


def read_piece(piece: FilePiece) -> list[Any]:
    start, end = piece_bounds(piece)
    task = ReadTask(piece.index, (ReadRange(piece.file, None, start, end),), InputOptions())
    return list(read_task(task))


@pytest.mark.parametrize("name", ["in.jsonl", "in.parquet", "in.csv"])
@settings(
    deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(piece_bytes=st.integers(1, 5000))
def test_every_record_is_in_exactly_one_piece_in_order(
    name: str, tmp_path: Path, piece_bytes: int
) -> None:
    pieces = pieces_of(write(tmp_path, name), piece_bytes)
    found = [record for piece in pieces for record in read_piece(piece)]
    assert [(d.doc_id, d.text) for d in found] == [(r["id"], r["text"]) for r in ROWS]
    bounds = [piece_bounds(piece) for piece in pieces]
    assert [start for start, _ in bounds] == [0, *(end for _, end in bounds[:-1])]
    assert bounds[-1][1] is None


def test_lines_and_rows_are_divided_and_quoted_fields_are_not(tmp_path: Path) -> None:
    sizes = {name: write(tmp_path, name) for name in ("in.jsonl", "in.parquet", "in.csv")}
    for name, path in sizes.items():
        expected = 1 if name == "in.csv" else -(-Path(path).stat().st_size // 200)
        assert len(pieces_of(path, 200)) == expected
    assert len(pieces_of(sizes["in.jsonl"], 1 << 20)) == 1


def test_chosen_records_are_read_again(tmp_path: Path) -> None:
    [whole] = pieces_of(write(tmp_path, "in.jsonl"), 1 << 20)
    chosen = [record for record in read_piece(whole) if record.doc_id in ("d3", "d50")]
    positions = tuple(record.position for record in chosen)
    task = ReadTask(7, (ReadRange(whole.file, positions),), InputOptions())
    assert list(read_task(task)) == chosen


def test_input_that_changes_meanwhile_is_an_error(write_jsonl: Any) -> None:
    source = write_jsonl([{"id": n, "text": f"Text {n}"} for n in range(3)])
    [file] = find_inputs([str(source)])
    source.write_bytes(b"x" * source.stat().st_size)
    task = ReadTask(0, (ReadRange(file, (0,)),), InputOptions())
    with pytest.raises(RuntimeError, match=r"changed while it was read: .*invalid-json.*again"):
        list(read_task(task))
