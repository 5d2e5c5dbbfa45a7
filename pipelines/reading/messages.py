"""Messages of a stream: a JSON object -> a document, a deletion, or a reject with its reason.

A message is what a line of JSON lines is. `{"id": ..., "deleted": true}` deletes a document.
"""

from dataclasses import dataclass
from typing import Any

from pipelines.reading.documents import Document, Reject
from pipelines.reading.fields import Fault, document_from_fields, reject_record
from pipelines.reading.input_files import InputFile
from pipelines.reading.json_lines import EXPECTED_OBJECT, json_kind, parse_json
from pipelines.reading.options import InputOptions

# Ids stand in every row of a document's sentences and tokens.
MAX_ID_BYTES = 4096


@dataclass(frozen=True, slots=True)
class Deletion:
    """A message that a document is to be deleted.

    Attributes:
      doc_id: of the document.
      uri: where the message came from.
      position: of the message there.
    """

    doc_id: str
    uri: str
    position: int


Message = Document | Deletion | Reject


def message_from_line(
    file: InputFile, options: InputOptions, position: int, line: bytes
) -> Message:
    """Read a line of a JSON lines file; without an id a document is named by its place."""
    return _read(file, options, position, line, line, None)


def message_from_payload(
    file: InputFile, options: InputOptions, position: int, payload: bytes | None, key: bytes | None
) -> Message:
    """Read a message of a broker; its key is the id where the object has none.

    Args:
      file: names the topic and partition, for rejects.
      options: which field is the id, which the text.
      position: offset of the message.
      payload: a JSON object; None (with a key) deletes, as compacted topics have it.
      key: UTF-8, or None.
    """
    raw = payload if payload is not None else key or b""
    try:
        key_id = _key_id(key)
    except Fault as fault:
        return reject_record(file, position, fault, raw)
    if payload is None:
        if not key_id:
            nameless = Fault("missing-id", "the message has neither a payload nor a key")
            return reject_record(file, position, nameless, raw)
        return Deletion(key_id, file.uri, position)
    return _read(file, options, position, payload, raw, key_id or "")


def _key_id(key: bytes | None) -> str:
    try:
        doc_id = (key or b"").decode("utf-8")
    except UnicodeDecodeError as error:
        raise Fault("invalid-utf8", f"the message's key is not UTF-8: {error}") from None
    _check_length(doc_id)
    return doc_id


def _read(
    file: InputFile,
    options: InputOptions,
    position: int,
    payload: bytes,
    raw: bytes,
    key_id: str | None,
) -> Message:
    """Read a payload; `key_id` is the id where there is none, and None names it by its place."""
    try:
        fields = _object(payload)
        id_field = options.id_field or "id"
        if key_id is not None and fields.get(id_field) in (None, ""):
            if not key_id:
                detail = f"the message has no field {id_field!r} and no key; give it one of the two"
                raise Fault("missing-id", detail)
            fields[id_field] = key_id
        if fields.get("deleted") is True:
            return _deletion(file, options, position, fields, raw)
    except Fault as fault:
        return reject_record(file, position, fault, raw)
    record = document_from_fields(file, options, position, fields, raw)
    return _within_limits(file, record, raw)


def _object(payload: bytes) -> dict[str, Any]:
    try:
        fields = parse_json(payload)
    except UnicodeDecodeError as error:
        raise Fault("invalid-utf8", str(error)) from None
    except (ValueError, RecursionError) as error:
        raise Fault("invalid-json", str(error)) from None
    if not isinstance(fields, dict):
        raise Fault("not-an-object", f"found {json_kind(fields)}, {EXPECTED_OBJECT}")
    return fields


def _deletion(
    file: InputFile, options: InputOptions, position: int, fields: dict[str, Any], raw: bytes
) -> Message:
    # The same rules for ids as a document's; the text is there to pass them.
    probe = {**fields, options.text_field: "deleted"}
    record = _within_limits(file, document_from_fields(file, options, position, probe, raw), raw)
    if isinstance(record, Reject):
        return record
    if fields.get(options.id_field or "id") in (None, ""):
        fault = Fault("missing-id", "a deletion must name the id of the document")
        return reject_record(file, position, fault, raw)
    return Deletion(record.doc_id, file.uri, position)


def _within_limits(file: InputFile, record: Document | Reject, raw: bytes) -> Document | Reject:
    if isinstance(record, Document):
        try:
            _check_length(record.doc_id)
        except Fault as fault:
            return reject_record(file, record.position, fault, raw)
    return record


def _check_length(doc_id: str) -> None:
    size = len(doc_id.encode("utf-8", errors="replace"))
    if size > MAX_ID_BYTES:
        detail = f"the id has {size} bytes, more than {MAX_ID_BYTES}; give a shorter one"
        raise Fault("id-too-long", detail)
