"""Text in UTF-16 or UTF-32 with its mark is read as the UTF-8 it means."""

import gzip
import itertools
from pathlib import Path
from typing import Any

import pytest

from pipelines.reading.documents import Document, Reject
from pipelines.reading.input_files import find_inputs
from pipelines.reading.options import InputOptions
from pipelines.reading.records import check_columns, fetch, scan


def read(path: Path, **options: Any) -> list[Document | Reject]:
    [file] = find_inputs([str(path)])
    chosen = InputOptions(**options)
    check_columns(file, chosen)
    return list(scan(file, chosen))


@pytest.mark.parametrize("encoding", ["utf-16", "utf-32", "utf-16-be", "utf-8-sig"])
@pytest.mark.parametrize(
    ("name", "text", "options"),
    [
        ("a.txt", "née\n", {}),
        ("a.txt", "née\nbank\n", {"lines": True}),
        ("a.jsonl", '{"text": "née"}\n{"text": "bank"}\n', {}),
        ("a.csv", "id,text\n1,née\n2,bank\n", {}),
        ("a.tsv", 'id\ttext\n1\t"née"\n2\tbank\n', {}),
        ("a.jsonl.gz", '{"text": "née"}\n', {}),
    ],
)
def test_text_of_any_encoding_with_its_mark_is_read_as_utf_8(
    tmp_path: Path, encoding: str, name: str, text: str, options: dict[str, Any]
) -> None:
    if encoding == "utf-16-be":
        text = "\ufeff" + text
    data = text.encode(encoding)
    (tmp_path / name).write_bytes(gzip.compress(data, mtime=0) if ".gz" in name else data)
    found = read(tmp_path / name, **options)
    texts = [document.text for document in found]  # type: ignore[union-attr]
    assert texts[0].strip() == "née"
    assert set(texts[1:]) <= {"bank"}


def test_utf_16_is_read_in_pieces_and_from_places(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text("".join(f'{{"id": "é{i}", "text": "银行 {i}"}}\n' for i in range(50)), "utf-16")
    [file] = find_inputs([str(path)])
    options = InputOptions()
    whole = list(scan(file, options))
    assert [record.text for record in whole] == [f"银行 {i}" for i in range(50)]  # type: ignore[union-attr]
    cuts = [0, 100, 101, 500, 1000, None]
    pieces = [scan(file, options, a or 0, b) for a, b in itertools.pairwise(cuts)]
    assert [record for piece in pieces for record in piece] == whole
    assert list(fetch(file, options, [r.position for r in whole[::7]])) == whole[::7]


def test_utf_16_that_ends_in_a_character_is_damaged(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes('{"text": "a"}\n'.encode("utf-16") + b"x")
    [first, last] = read(tmp_path / "a.jsonl")
    assert isinstance(first, Document)
    assert isinstance(last, Reject)
    assert last.reason == "damaged-file"
    assert "the UTF-16 text is damaged" in last.detail
