"""Rows of CSV and TSV, good and faulty."""

from pathlib import Path
from typing import Any

import pytest

from pipelines.errors import UsageError
from pipelines.reading import csv_rows
from pipelines.reading.documents import Reject
from pipelines.reading.input_files import InputFile, find_inputs
from pipelines.reading.options import InputOptions
from pipelines.reading.records import scan


def scanned(file: InputFile, options: InputOptions | None = None, **place: Any) -> list[Any]:
    return list(scan(file, options or InputOptions(), **place))


def test_faulty_csv_rows_are_rejected_and_the_rest_is_read(tmp_path: Path) -> None:
    path = tmp_path / "in.csv"
    path.write_bytes(
        b'id,text\n1,good\n2,too,many\n3\n\n"4"x,strict\n5,"two\nlines"\n6,\xff\n7,last\n'
    )
    records = scanned(find_inputs([str(path)])[0])
    assert [(r.doc_id, r.reason) if isinstance(r, Reject) else r.text for r in records] == [
        "good",
        (None, "wrong-field-count"),
        (None, "wrong-field-count"),
        (None, "invalid-csv"),
        "two\nlines",
        (None, "invalid-utf8"),
        "last",
    ]


def rejected(path: Path) -> list[Any]:
    records = scanned(find_inputs([str(path)])[0])
    return [(r.reason, r.detail) if isinstance(r, Reject) else r.doc_id for r in records]


def test_rows_too_large_are_rejected_and_the_next_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(csv_rows, "MAX_ROW_BYTES", 50)
    path = tmp_path / "in.csv"
    many_lines = "\n".join(["a line of text"] * 6)
    path.write_text(f'id,text\n1,good\n2,{"x" * 60}\n3,"{many_lines}"\n4,good\n')
    first, large, swallowed, *_, last = rejected(path)
    assert (first, last) == ("1", "4")
    assert large == ("too-large", "the row is longer than 50 bytes; split it")
    assert swallowed[0] == "invalid-csv"
    assert "4 lines were swallowed with it" in swallowed[1]


def test_header_too_large_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "in.csv"
    path.write_text(f"id,{'x' * csv_rows.MAX_HEADER_BYTES}\n1,2\n")
    with pytest.raises(UsageError, match="unreadable first row: the row is longer than 1048576"):
        scanned(find_inputs([str(path)])[0])
