"""Every input format gives the same documents; positions find them again."""

import bz2
import gzip
import io
import json
import lzma
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from pipelines.reading.documents import Document, Reject
from pipelines.reading.input_files import InputFile, find_inputs
from pipelines.reading.options import InputOptions
from pipelines.reading.records import fetch, scan

ROWS = [
    {"id": f"d{n}", "text": f"Text {n}, with a comma,\nand a line.", "tag": f'say "{n}"'}
    for n in range(600)
]
COMPRESSORS = {
    "": lambda data: data,
    ".gz": gzip.compress,
    ".zst": zstandard.compress,
    ".xz": lzma.compress,
    ".bz2": bz2.compress,
}


def as_jsonl() -> bytes:
    return "".join(json.dumps(row) + "\n" for row in ROWS).encode()


def as_csv() -> bytes:
    import csv

    text = io.StringIO()
    writer = csv.DictWriter(text, ["id", "text", "tag"])
    writer.writeheader()
    writer.writerows(ROWS)
    return text.getvalue().encode()


def as_tsv() -> bytes:
    lines = ["id\ttext\ttag", *("\t".join(row.values()).replace("\n", " ") for row in ROWS)]
    return "\n".join(lines).encode()


def as_parquet() -> bytes:
    buffer = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(ROWS), buffer, row_group_size=77)
    return buffer.getvalue()


MAKERS: dict[str, Callable[[], bytes]] = {
    ".jsonl": as_jsonl,
    ".csv": as_csv,
    ".tsv": as_tsv,
    ".parquet": as_parquet,
}


def write(tmp_path: Path, suffix: str, compression: str = "") -> InputFile:
    path = tmp_path / f"in{suffix}{compression}"
    path.write_bytes(COMPRESSORS[compression](MAKERS[suffix]()))
    [file] = find_inputs([str(path)])
    return file


def scanned(file: InputFile, options: InputOptions | None = None, **place: Any) -> list[Any]:
    return list(scan(file, options or InputOptions(), **place))


@pytest.mark.parametrize("compression", COMPRESSORS)
@pytest.mark.parametrize("suffix", [".jsonl", ".csv", ".tsv"])
def test_formats_and_compressions_give_the_same_documents(
    suffix: str, compression: str, tmp_path: Path
) -> None:
    documents = scanned(write(tmp_path, suffix, compression))
    blank = " " if suffix == ".tsv" else "\n"
    assert [d.doc_id for d in documents] == [row["id"] for row in ROWS]
    assert documents[3].text == f"Text 3, with a comma,{blank}and a line."
    assert documents[3].metadata == {"tag": 'say "3"'}


@pytest.mark.parametrize("suffix", MAKERS)
def test_fetch_finds_records_at_their_positions(suffix: str, tmp_path: Path) -> None:
    file = write(tmp_path, suffix)
    documents = scanned(file)
    chosen = [documents[n] for n in (0, 1, 76, 77, 78, 300, 599)]
    assert list(fetch(file, InputOptions(), [d.position for d in chosen])) == chosen


@pytest.mark.parametrize("suffix", [".jsonl", ".parquet"])
@pytest.mark.parametrize("cuts", [[100], [1, 50, 51, 599], [257, 20_000]])
def test_every_record_is_in_exactly_one_range(suffix: str, cuts: list[int], tmp_path: Path) -> None:
    file = write(tmp_path, suffix)
    edges = [0, *cuts, None]
    parts = [scanned(file, start=a, end=b) for a, b in pairwise(edges)]
    assert [d for part in parts for d in part] == scanned(file)


@pytest.mark.parametrize("compression", [".gz", ".zst", ".xz", ".bz2"])
def test_several_streams_in_a_file_are_read_as_one(compression: str, tmp_path: Path) -> None:
    halves = as_jsonl()[:5000], as_jsonl()[5000:]
    path = tmp_path / f"in.jsonl{compression}"
    path.write_bytes(b"".join(COMPRESSORS[compression](half) for half in halves))
    [file] = find_inputs([str(path)])
    assert len(scanned(file)) == len(ROWS)


@pytest.mark.parametrize("compression", [".gz", ".zst", ".xz", ".bz2"])
def test_truncated_compression_is_told(compression: str, tmp_path: Path) -> None:
    file = write(tmp_path, ".jsonl", compression)
    path = Path(file.uri)
    path.write_bytes(path.read_bytes()[:-9])
    *good, last = scanned(file)
    assert isinstance(last, Reject)
    assert last.reason == "damaged-file"
    assert all(isinstance(record, Document) for record in good)


def test_text_file_is_one_document_or_a_document_a_line(tmp_path: Path) -> None:
    path = tmp_path / "poem.txt"
    path.write_bytes("\ufeffFirst line.\r\n\r\nZweite Zeile ä.\n".encode())
    [file] = find_inputs([str(path)])
    [whole] = scanned(file)
    assert (whole.doc_id, whole.text) == (f"{path}#0", "First line.\r\n\r\nZweite Zeile ä.\n")
    lines = scanned(file, InputOptions(lines=True))
    assert [d.text for d in lines] == ["First line.", "Zweite Zeile ä."]
    assert [d.doc_id for d in lines] == [f"{path}#0", f"{path}#18"]


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


def test_metadata_that_is_no_string_is_kept_as_json(tmp_path: Path) -> None:
    path = tmp_path / "in.jsonl"
    path.write_text('{"text": "x", "n": 1, "list": [1, "é"], "none": null, "s": "as is"}\n')
    [document] = scanned(find_inputs([str(path)])[0])
    assert document.metadata == {"n": "1", "list": '[1, "é"]', "none": "null", "s": "as is"}


def test_typed_parquet_columns_become_metadata(tmp_path: Path) -> None:
    path = tmp_path / "in.parquet"
    table = pa.table({"id": [1, 2], "text": ["x", None], "score": [0.5, 1.5]})
    pq.write_table(table, path)
    good, bad = scanned(find_inputs([str(path)])[0])
    assert (good.doc_id, good.metadata) == ("1", {"score": "0.5"})
    assert (bad.position, bad.reason, bad.doc_id) == (1, "missing-text", "2")


def test_globs_and_urls_are_found_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("b.jsonl", "a.jsonl", "c.txt.gz"):
        Path(name).write_bytes(b"")
    memory = fsspec.filesystem("memory")
    memory.pipe_file("/inputs/m1.jsonl", b'{"id": "m", "text": "From memory."}\n')
    memory.pipe_file("/inputs/m2.jsonl", b"")
    files = find_inputs(["c.txt.gz", "?.jsonl", "memory://inputs/m*.jsonl"])
    assert [file.uri for file in files] == [
        "c.txt.gz",
        "a.jsonl",
        "b.jsonl",
        "memory:///inputs/m1.jsonl",
        "memory:///inputs/m2.jsonl",
    ]
    assert (files[0].format, files[0].compression) == ("txt", ".gz")
    assert [d.text for d in scanned(files[3])] == ["From memory."]
