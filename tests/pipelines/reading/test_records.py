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

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from pipelines.reading.documents import record_place
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


@pytest.mark.parametrize(
    ("uri", "words"),
    [
        ("dir/in.jsonl.gz", "dir/in.jsonl.gz, byte 14"),
        ("in.csv", "in.csv, byte 14"),
        ("in.parquet", "in.parquet, row 14"),
        ("kafka:articles/0", "kafka:articles/0, offset 14"),
        ("pubsub:projects/p/subscriptions/s/77", "pubsub:projects/p/subscriptions/s/77"),
    ],
)
def test_place_of_a_record_is_told_with_its_unit(uri: str, words: str) -> None:
    assert record_place(uri, 14) == words
