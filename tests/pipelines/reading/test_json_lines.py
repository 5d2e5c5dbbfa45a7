"""JSON lines: what is a document, and the reason of what is not."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.reading import json_lines
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
        (b'{"text": "\xff"}', "invalid-utf8", "is not UTF-8"),
        (b"{broken", "invalid-json", "Expecting property name"),
        (b"[" * 100_000, "invalid-json", ""),
        (b"[1, 2]", "not-an-object", "found an array, expected a JSON object, as in {"),
        (b'"text"', "not-an-object", "found a string, expected a JSON object, as in {"),
        (b"5", "not-an-object", "found a number, expected"),
        (b"null", "not-an-object", "found null, expected"),
        (b"true", "not-an-object", "found true, expected"),
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


def test_record_that_is_mostly_structure_is_rejected_before_it_is_parsed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(json_lines, "MAX_STRUCTURE_BYTES", 100)
    text = rb"a \"bank\" [1], {x} \\" * 20
    assert isinstance(read(b'{"text": "' + text + b'"}'), Document)
    for line in (b'{"a": [' + b"[]," * 50 + b'[]], "text": "x"}', b'{"text": ' + b"1" * 120):
        found = read(line)
        assert isinstance(found, Reject)
        assert found.reason == "too-large"
        assert "more than 100 bytes of the record are outside of its strings" in found.detail


@given(st.lists(st.text('ab"\\,é', max_size=9), max_size=9), st.integers(1, 200))
def test_bytes_outside_of_strings_are_counted_right(texts: list[str], limit: int) -> None:
    line = json.dumps(texts, ensure_ascii=False).encode()
    outside = len(line) - sum(len(json.dumps(t, ensure_ascii=False).encode()) for t in texts)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_lines, "MAX_STRUCTURE_BYTES", limit)
        # The opening quote of a string counts too.
        rejected = isinstance(found := read(line), Reject) and found.reason == "too-large"
    assert rejected == (len(line) > limit and outside + len(texts) > limit)
