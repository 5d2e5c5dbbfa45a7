"""Text files: one document, or a document a line."""

from pathlib import Path
from typing import Any

import pytest

from pipelines.reading import plain_text
from pipelines.reading.input_files import InputFile, find_inputs
from pipelines.reading.options import InputOptions
from pipelines.reading.records import scan


def scanned(file: InputFile, options: InputOptions | None = None, **place: Any) -> list[Any]:
    return list(scan(file, options or InputOptions(), **place))


def test_text_file_is_one_document_or_a_document_a_line(tmp_path: Path) -> None:
    path = tmp_path / "poem.txt"
    path.write_bytes("\ufeffFirst line.\r\n\r\nZweite Zeile ä.\n".encode())
    [file] = find_inputs([str(path)])
    [whole] = scanned(file)
    assert (whole.doc_id, whole.text) == (f"{path}#0", "First line.\r\n\r\nZweite Zeile ä.\n")
    lines = scanned(file, InputOptions(lines=True))
    assert [d.text for d in lines] == ["First line.", "Zweite Zeile ä."]
    assert [d.doc_id for d in lines] == [f"{path}#0", f"{path}#18"]


def test_text_file_too_large_is_rejected(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plain_text, "MAX_RECORD_BYTES", 100)
    path = tmp_path / "large.txt"
    path.write_text("word " * 21)
    [reject] = scanned(find_inputs([str(path)])[0])
    assert (reject.reason, reject.raw[:9]) == ("too-large", "word word")
