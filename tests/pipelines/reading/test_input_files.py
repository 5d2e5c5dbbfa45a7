"""Which files an input names, and what is in them."""

from pathlib import Path
from typing import Any

import fsspec
import pytest

from pipelines.reading.input_files import InputFile, find_inputs
from pipelines.reading.options import InputOptions
from pipelines.reading.records import scan


def scanned(file: InputFile, options: InputOptions | None = None, **place: Any) -> list[Any]:
    return list(scan(file, options or InputOptions(), **place))


def test_globs_and_urls_are_found_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("b.jsonl", "a.jsonl", "c.txt.gz"):
        Path(name).write_bytes(b"")
    memory = fsspec.filesystem("memory")
    memory.pipe_file("/inputs/m1.jsonl", b'{"id": "m", "text": "From memory."}\n')
    memory.pipe_file("/inputs/m2.jsonl", b"")
    files = find_inputs(["c.txt.gz", "?.jsonl", "memory://inputs/m*.jsonl"])
    assert [file.given for file in files] == [
        "c.txt.gz",
        "a.jsonl",
        "b.jsonl",
        "memory:///inputs/m1.jsonl",
        "memory:///inputs/m2.jsonl",
    ]
    assert (files[0].format, files[0].compression) == ("txt", ".gz")
    assert [d.text for d in scanned(files[3])] == ["From memory."]
