"""Rows of CSV and TSV, good and faulty."""

from pathlib import Path
from typing import Any

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
