"""Fields of a record: its id, its text, its metadata."""

from pathlib import Path
from typing import Any

from pipelines.reading.input_files import InputFile, find_inputs
from pipelines.reading.options import InputOptions
from pipelines.reading.records import scan


def scanned(file: InputFile, options: InputOptions | None = None, **place: Any) -> list[Any]:
    return list(scan(file, options or InputOptions(), **place))


def test_metadata_that_is_no_string_is_kept_as_json(tmp_path: Path) -> None:
    path = tmp_path / "in.jsonl"
    path.write_text('{"text": "x", "n": 1, "list": [1, "é"], "none": null, "s": "as is"}\n')
    [document] = scanned(find_inputs([str(path)])[0])
    assert document.metadata == {"n": "1", "list": '[1, "é"]', "s": "as is"}
