"""JSON lines: what is a document, and the reason of what is not."""

import json

import pytest

from pipelines.reading.documents import RAW_CHARACTERS, Document, Reject
from pipelines.reading.input_files import InputFile
from pipelines.reading.json_lines import record_from_line
from pipelines.reading.options import InputOptions

FILE = InputFile("dir/in.jsonl", "jsonl")


def read(line: bytes, **options: str) -> Document | Reject:
    return record_from_line(FILE, InputOptions(**options), 42, line)


@pytest.mark.parametrize(
    ("line", "reason", "words"),
    [
        (b'{"text": "\xff"}', "invalid-utf8", "is no UTF-8"),
        (b"{broken", "invalid-json", "Expecting property name"),
        (b"[" * 100_000, "invalid-json", ""),
        (b"[1, 2]", "not-an-object", "found a list, expected a JSON object with fields"),
        (b'"text"', "not-an-object", "found a str"),
        (b"{}", "missing-text", "has no field 'text'; it has none"),
        (b'{"body": "x"}', "missing-text", "it has body"),
    ],
)
def test_line_that_is_no_document_is_rejected_with_its_place(
    line: bytes, reason: str, words: str
) -> None:
    found = read(line)
    assert isinstance(found, Reject)
    assert (found.reason, found.uri, found.position) == (reason, "dir/in.jsonl", 42)
    assert words in found.detail
    assert len(found.raw) <= RAW_CHARACTERS
    assert found.raw.startswith(line[:6].decode("utf-8", "replace"))


def test_fields_become_id_text_and_metadata() -> None:
    line = json.dumps({"key": 7, "body": "Ünter", "year": 1999, "tags": ["a"]}).encode()
    found = read(line, id_field="key", text_field="body")
    assert found == Document("7", "Ünter", {"year": "1999", "tags": '["a"]'}, "dir/in.jsonl", 42)


def test_record_without_an_id_is_named_by_its_place() -> None:
    found = read(b'{"text": "x"}')
    assert isinstance(found, Document)
    assert found.doc_id == "dir/in.jsonl#42"
