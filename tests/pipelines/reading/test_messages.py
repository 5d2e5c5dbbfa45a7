"""Messages: documents, deletions and rejects, with the reasons a user reads."""

import json
from typing import Any

import pytest

from pipelines.reading.documents import Document, Reject
from pipelines.reading.input_files import InputFile
from pipelines.reading.messages import (
    MAX_ID_BYTES,
    Deletion,
    Message,
    message_from_line,
    message_from_payload,
)
from pipelines.reading.options import InputOptions

TOPIC = InputFile("kafka:topic/0", "jsonl")


def read(fields: Any, key: bytes | None = None, options: InputOptions | None = None) -> Message:
    payload = fields if isinstance(fields, bytes) or fields is None else json.dumps(fields).encode()
    return message_from_payload(TOPIC, options or InputOptions(), 7, payload, key)


def reason(message: Message) -> tuple[str, str]:
    assert isinstance(message, Reject)
    assert (message.uri, message.position) == ("kafka:topic/0", 7)
    return message.reason, message.detail


def test_an_object_is_a_document_with_metadata() -> None:
    found = read({"id": "a", "text": "Hi.", "lang": "en"})
    assert found == Document("a", "Hi.", {"lang": "en"}, "kafka:topic/0", 7)


def test_the_key_is_the_id_only_where_the_object_has_none() -> None:
    assert read({"text": "Hi."}, b"k").doc_id == "k"
    assert read({"id": "a", "text": "Hi."}, b"k").doc_id == "a"
    assert read({"id": "", "text": "Hi."}, b"k").doc_id == "k"


def test_a_message_without_an_id_and_a_key_is_rejected() -> None:
    assert reason(read({"text": "Hi."})) == (
        "missing-id",
        "the message has no field 'id' and no key; give it one of the two",
    )


def test_a_line_without_an_id_is_named_by_its_place() -> None:
    found = message_from_line(InputFile("in.jsonl", "jsonl"), InputOptions(), 9, b'{"text": "Hi"}')
    assert found.doc_id == "in.jsonl#9"


@pytest.mark.parametrize("key", [None, b"other"])
def test_deleted_true_deletes(key: bytes | None) -> None:
    assert read({"id": 12, "deleted": True}, key) == Deletion("12", "kafka:topic/0", 7)


def test_deleted_is_true_or_it_is_metadata() -> None:
    found = read({"id": "a", "text": "Hi.", "deleted": "no"})
    assert isinstance(found, Document)
    assert found.metadata == {"deleted": "no"}


def test_a_key_without_a_payload_deletes() -> None:
    assert read(None, b"a") == Deletion("a", "kafka:topic/0", 7)
    assert reason(read(None))[0] == "missing-id"


def test_a_deletion_in_a_file_must_name_its_document() -> None:
    found = message_from_line(TOPIC, InputOptions(), 7, b'{"deleted": true}')
    assert reason(found) == ("missing-id", "a deletion must name the id of the document")


def test_the_id_field_asked_for_is_the_one_used() -> None:
    options = InputOptions(id_field="key")
    assert read({"key": "a", "deleted": True}, None, options).doc_id == "a"
    assert read({"text": "Hi."}, b"k", options).doc_id == "k"


@pytest.mark.parametrize(
    ("payload", "key", "expected"),
    [
        (b"{oops", b"k", "invalid-json"),
        (b"\xff", b"k", "invalid-utf8"),
        (b"[1]", b"k", "not-an-object"),
        (b'{"text": "Hi."}', b"\xff", "invalid-utf8"),
        (b'{"text": "Hi.", "id": "' + b"x" * (MAX_ID_BYTES + 1) + b'"}', None, "id-too-long"),
        (b'{"text": "Hi."}', b"x" * (MAX_ID_BYTES + 1), "id-too-long"),
        (b'{"deleted": true, "id": "' + b"x" * (MAX_ID_BYTES + 1) + b'"}', None, "id-too-long"),
        (b'{"id": "a"}', None, "missing-text"),
        (b'{"id": ["a"], "deleted": true}', None, "wrong-type"),
        (b'{"id": "a", "text": " "}', None, "empty-document"),
    ],
)
def test_what_is_no_message_is_rejected(payload: bytes, key: bytes | None, expected: str) -> None:
    assert reason(read(payload, key))[0] == expected


def test_an_id_of_the_longest_length_is_taken() -> None:
    assert isinstance(read({"id": "x" * MAX_ID_BYTES, "text": "Hi."}), Document)
