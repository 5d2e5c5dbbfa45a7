"""Input files as they really come: read as they are meant, or refused in words."""

import datetime
import decimal
import gzip
import io
import json
import os
import uuid
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from pipelines.errors import UsageError
from pipelines.reading.documents import Document, Reject
from pipelines.reading.fields import as_text
from pipelines.reading.input_files import find_inputs
from pipelines.reading.options import InputOptions
from pipelines.reading.records import check_columns, scan


def read(path: Path | str, **options: Any) -> list[Document | Reject]:
    [file] = find_inputs([str(path)])
    chosen = InputOptions(**options)
    check_columns(file, chosen)
    return list(scan(file, chosen))


def documents(path: Path | str, **options: Any) -> list[Document]:
    found = read(path, **options)
    assert all(isinstance(record, Document) for record in found), found
    return found  # type: ignore[return-value]


def write_table(path: Path, columns: dict[str, Any]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), path)
    return path


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, None),
        (b"\x89PNG", None),
        ("a", "a"),
        (datetime.date(2024, 1, 3), "2024-01-03"),
        (datetime.datetime(2024, 1, 3, 4, 5), "2024-01-03 04:05:00"),
        (decimal.Decimal("1.50"), "1.50"),
        (uuid.UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        (True, "true"),
        (3, "3"),
        ([1, b"x", "é"], '[1, "é"]'),
        ({"a": None, "b": b"x"}, '{"a": null}'),
    ],
)
def test_metadata_is_text_that_a_filter_names(value: Any, text: str | None) -> None:
    assert as_text(value) == text


def test_times_at_the_edges_are_text_and_bad_cells_one_reject(tmp_path: Path) -> None:
    far = pa.array([253402300799, -62135596800, 0, None], pa.int64()).cast(
        pa.timestamp("s", tz="America/New_York")
    )
    nano = pa.array([1, 2, 3, None], pa.int64()).cast(pa.timestamp("ns"))
    zone = pa.array([0, 0, 0, 0], pa.int64()).cast(pa.timestamp("s", tz="Mars/Olympus"))
    cells = pa.array([b"ok", b"ok", b"\xff", b"ok"], pa.binary()).view(pa.string())
    path = write_table(
        tmp_path / "t.parquet",
        {"text": ["a", "b", "c", "d"], "far": far, "nano": nano, "zone": zone, "note": cells},
    )
    first, second, third, fourth = read(path)
    assert isinstance(first, Document)
    assert first.metadata["far"] == "9999-12-31 23:59:59Z"
    assert first.metadata["nano"] == "1970-01-01 00:00:00.000000001"
    assert first.metadata["zone"] == "1970-01-01 00:00:00Z"
    assert isinstance(second, Document)
    assert second.metadata["far"].startswith("0001-01-01")
    assert isinstance(third, Reject)
    assert third.reason == "unreadable-value"
    assert third.position == 2
    assert "column 'note'" in third.detail
    assert isinstance(fourth, Document)
    assert set(fourth.metadata) == {"zone", "note"}


def test_ids_and_texts_of_tables_are_read_as_they_are_meant(tmp_path: Path) -> None:
    key = uuid.UUID(int=7)
    columns = {
        "binary": (pa.array([b"a1"], pa.binary()), "a1"),
        "float": (pa.array([12.0]), "12"),
        "decimal": (pa.array([decimal.Decimal("12")]), "12"),
        "uuid": (pa.array([str(key)]), str(key)),
        "large": (pa.array(["x"], pa.large_string()), "x"),
    }
    for name, (column, expected) in columns.items():
        path = write_table(tmp_path / f"{name}.parquet", {"id": column, "text": [b"by bytes"]})
        [document] = documents(path)
        assert (document.doc_id, document.text) == (expected, "by bytes")


def test_folders_of_a_data_set_are_metadata(tmp_path: Path) -> None:
    path = write_table(tmp_path / "lang=en" / "year=2024" / "p.parquet", {"text": ["a"]})
    assert documents(path)[0].metadata == {"lang": "en", "year": "2024"}


def test_two_columns_of_one_name_are_refused(tmp_path: Path) -> None:
    table = tmp_path / "t.csv"
    table.write_text("id,text,text\n1,a,b\n")
    with pytest.raises(UsageError, match="more than one column 'text'"):
        read(table)
    both = tmp_path / "t.parquet"
    pq.write_table(pa.Table.from_arrays([pa.array(["a"])] * 2, names=["text", "text"]), both)
    with pytest.raises(UsageError, match="more than one column 'text'"):
        read(both)


@pytest.mark.parametrize("windowlog", [28, 31])
def test_zstd_with_a_long_window_is_read(tmp_path: Path, windowlog: int) -> None:
    parameters = zstandard.ZstdCompressionParameters(window_log=windowlog, enable_ldm=True)
    path = tmp_path / "a.jsonl.zst"
    compressor = zstandard.ZstdCompressor(compression_params=parameters)
    buffer = io.BytesIO()
    with compressor.stream_writer(buffer, closefd=False) as stream:
        stream.write(b'{"text": "long"}\n')
    path.write_bytes(buffer.getvalue())
    assert documents(path)[0].text == "long"


@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        ("a.jsonl", b'[{"text": "a"}, {"text": "b"}]\n', "looks like a JSON array"),
        ("a.jsonl", b'[\n{"text": "a"},\n]\n', "looks like a JSON array"),
        ("a.jsonl", b'{\n  "text": "a"\n}\n', "looks like JSON over several lines"),
        ("a.jsonl", b'{"text": "a"},\n{"text": "b"},\n', "a comma follows the object"),
        ("a.jsonl", b"{'text': 'a'}\n", "looks like a Python dictionary"),
        ("a.jsonl", b'{"text": "a"} {"text": "b"}\n', "more than one object is on the line"),
        ("a.jsonl", b'{"text": "a"}\r{"text": "b"}\r', "carriage returns only"),
        ("a.jsonl", b"id,text\n1,a\n", "expected a JSON object on each line"),
        ("a.jsonl", b'{"text": "a", "text": "b"}\n', "has the field 'text' twice"),
        ("a.jsonl", '{"text": "n\u00e9e"}'.encode("latin-1"), "iconv -f WINDOWS-1252"),
        ("a.txt", "n\u00e9e".encode("latin-1"), "byte 0xe9 at 1 is not UTF-8"),
        ("a.txt", b"%PDF-1.4 text", "this is a PDF document"),
        ("a.txt", b"PK\x03\x04 rest", "this is a zip archive"),
        ("a.jsonl.zst", b"plain", "it is not .zst data"),
        ("a.jsonl.bz2", gzip.compress(b"a", mtime=0), "it is not .bz2 data"),
        ("a.jsonl", '{"text": "a"}'.encode("utf-16-le"), "looks like UTF-16"),
        ("a.txt", "a text".encode("utf-16-le"), "looks like UTF-16"),
        ("a.jsonl", gzip.compress(b'{"text": "a"}', mtime=0), "this is gzip"),
        ("a.txt", gzip.compress(b"a", mtime=0), "this is gzip"),
        ("a.jsonl.gz", b'{"text": "a"}\n', "it is not .gz data: it begins with b'{"),
    ],
)
def test_what_a_file_is_is_said(tmp_path: Path, name: str, data: bytes, words: str) -> None:
    (tmp_path / name).write_bytes(data)
    [first, *_] = read(tmp_path / name)
    assert isinstance(first, Reject)
    assert words in first.detail


@pytest.mark.parametrize(
    ("data", "words"),
    [(gzip.compress(b"id,text\n1,a\n", mtime=0), "this is gzip"),
     (b"id,text\r1,a\r", "carriage returns only"),
     (b"PK\x03\x04\r rest", "zip archive"), (b"BZh91AY", "this is bzip2"),
     ("id,text\n1,a\n".encode("utf-16-le"), "UTF-16"),
     (b"id;text\n1;a\n", "separated by ';', but a .tsv file has tabs, a .csv file commas"),
     (b"id\ttext\n1\ta\n", "convert it, or rename it"),
     (b"id, text\n1, a\n", "no column 'text'; it has 'id', ' text'; give the name of yours")],
)  # fmt: skip
def test_a_table_that_is_none_is_refused(tmp_path: Path, data: bytes, words: str) -> None:
    (tmp_path / "a.csv").write_bytes(data)
    with pytest.raises(UsageError, match=words):
        read(tmp_path / "a.csv")


@pytest.mark.parametrize("name", ["a.csv", "a.tsv", "a.jsonl"])
@pytest.mark.parametrize("data", [b"", b"\n\n", b"\xef\xbb\xbf", b"\r\n"])
def test_an_empty_file_has_no_records_whatever_its_format(
    tmp_path: Path, name: str, data: bytes
) -> None:
    (tmp_path / name).write_bytes(data)
    assert read(tmp_path / name) == []


def test_blank_lines_before_the_names_are_passed_over(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(b"\n\r\nid,text\n1,a\n\n2,b\n")
    assert [(d.doc_id, d.text) for d in documents(tmp_path / "a.csv")] == [("1", "a"), ("2", "b")]


def test_one_line_of_carriage_returns_is_told(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"one bank\rtwo banks\r")
    [reject] = read(tmp_path / "a.txt", lines=True)
    assert isinstance(reject, Reject)
    assert "carriage returns only" in reject.detail


def test_cells_inside_lists_are_text_too(tmp_path: Path) -> None:
    nano = pa.array([[1], [0]], pa.list_(pa.int64())).cast(pa.list_(pa.timestamp("ns")))
    zone = pa.array([{"t": 0}, {"t": 1}]).cast(
        pa.struct([("t", pa.timestamp("s", tz="Mars/Olympus"))])
    )
    columns = {"text": ["a", "b"], "nano": nano, "zone": zone, "gap": [1.5, float("nan")]}
    first, second = documents(write_table(tmp_path / "t.parquet", columns))
    assert first.metadata["nano"] == '["1970-01-01 00:00:00.000000001"]'
    assert first.metadata["zone"] == '{"t": "1970-01-01 00:00:00Z"}'
    assert "gap" not in second.metadata


@pytest.mark.parametrize(
    ("unit", "number", "text"),
    [
        ("ns", 1, "0:00:00.000000001"),
        ("ns", -1, "-1 day, 23:59:59.999999999"),
        ("ns", 90_000_000_000, "0:01:30"),
        ("us", 1_500_000, "0:00:01.500000"),
        ("s", 5, "0:00:05"),
        ("s", 2**62, f"{2**62} s"),
    ],
)
def test_durations_are_text(tmp_path: Path, unit: str, number: int, text: str) -> None:
    column = pa.array([number], pa.duration(unit))
    [document] = documents(write_table(tmp_path / "t.parquet", {"text": ["a"], "d": column}))
    assert document.metadata == {"d": text}


def test_binary_fields_are_named_not_kept(tmp_path: Path) -> None:
    columns = {"text": ["a"], "image": [b"\xff\xd8"], "page": [{"bytes": b"\xff", "n": 1}]}
    [document] = documents(write_table(tmp_path / "t.parquet", columns))
    assert document.left_out == ("image", "page")
    assert document.metadata == {"page": '{"n": 1}'}


@pytest.mark.parametrize(
    "name", ["a::b.jsonl", "100%.jsonl", "a b.jsonl", "a#1.jsonl", "[x].jsonl"]
)
def test_a_file_may_have_any_name(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text('{"text": "a"}\n')
    assert documents(tmp_path / name)[0].doc_id == f"{os.path.realpath(tmp_path / name)}#0"
    assert documents(f"file://{tmp_path}/{name}")[0].text == "a"


def test_rows_that_an_open_quote_swallows_are_counted(tmp_path: Path) -> None:
    rows = [f"{i},text {i}" for i in range(200)]
    rows[10] = '10,"text without an end'
    (tmp_path / "a.csv").write_text("id,text\n" + "\n".join(rows) + "\n")
    found = read(tmp_path / "a.csv")
    assert len(found) == 11
    last = found[-1]
    assert isinstance(last, Reject)
    assert last.reason == "invalid-csv"
    assert "190 lines were swallowed" in last.detail


def test_tsv_is_read_with_quotes_only_where_it_has_them(tmp_path: Path) -> None:
    quoted, plain = tmp_path / "q.tsv", tmp_path / "p.tsv"
    quoted.write_text('id\ttext\n1\t"He said ""no""\tthen left"\n2\tplain\n')
    plain.write_text('id\ttext\n1\t"No," he said\n2\tfive " wide\n')
    assert [d.text for d in documents(quoted)] == ['He said "no"\tthen left', "plain"]
    assert [d.text for d in documents(plain)] == ['"No," he said', 'five " wide']


def test_a_file_has_one_name_however_it_is_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a").mkdir()
    path = tmp_path / "a" / "n b.txt"
    path.write_text("text")
    (tmp_path / "link.txt").symlink_to(path)
    monkeypatch.chdir(tmp_path)
    url = f"file://{path}"
    given = ["a/n b.txt", "./a/n b.txt", str(path), url, url.replace(" ", "%20"), "link.txt",
             "a/../a/n b.txt", "a/*.txt"]  # fmt: skip
    ids = {documents(name)[0].doc_id for name in given}
    assert ids == {f"{os.path.realpath(path)}#0"}


def test_a_url_with_brackets_is_a_file_if_there_is_one(tmp_path: Path) -> None:
    (tmp_path / "dir [x]").mkdir()
    (tmp_path / "dir [x]" / "b.jsonl").write_text(json.dumps({"text": "a"}) + "\n")
    assert len(documents(f"file://{tmp_path}/dir [x]/b.jsonl")) == 1
