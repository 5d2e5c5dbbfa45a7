"""Compressed input: streams one after another, and files that end too early."""

import bz2
import gzip
import json
import lzma
from pathlib import Path
from typing import Any

import pytest
import zstandard

from pipelines.reading.documents import Document, Reject
from pipelines.reading.input_files import find_inputs
from pipelines.reading.options import InputOptions
from pipelines.reading.records import scan

COMPRESSORS = {
    ".gz": gzip.compress,
    ".zst": zstandard.compress,
    ".xz": lzma.compress,
    ".bz2": bz2.compress,
}
DATA = "".join(
    json.dumps({"id": f"d{n}", "text": f"Text {n}, with a comma,\nand a line."}) + "\n"
    for n in range(600)
).encode()


def scanned(path: Path) -> list[Any]:
    [file] = find_inputs([str(path)])
    return list(scan(file, InputOptions()))


@pytest.mark.parametrize("compression", COMPRESSORS)
def test_several_streams_in_a_file_are_read_as_one(compression: str, tmp_path: Path) -> None:
    path = tmp_path / f"in.jsonl{compression}"
    path.write_bytes(
        b"".join(COMPRESSORS[compression](half) for half in (DATA[:5000], DATA[5000:]))
    )
    assert [d.doc_id for d in scanned(path)] == [f"d{n}" for n in range(600)]


@pytest.mark.parametrize("compression", COMPRESSORS)
def test_truncated_compression_is_told(compression: str, tmp_path: Path) -> None:
    path = tmp_path / f"in.jsonl{compression}"
    path.write_bytes(COMPRESSORS[compression](DATA)[:-9])
    *good, last = scanned(path)
    assert isinstance(last, Reject)
    assert last.reason == "damaged-file"
    assert all(isinstance(record, Document) for record in good)
