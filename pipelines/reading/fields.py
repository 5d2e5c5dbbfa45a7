"""The fields of a record -> a document, or a reject with its reason."""

import json
from collections.abc import Mapping
from decimal import Decimal
from functools import lru_cache
from typing import Any
from urllib.parse import unquote
from uuid import UUID

from pipelines.reading.documents import READ, Document, Reject, raw_start
from pipelines.reading.input_files import STDIN, InputFile
from pipelines.reading.options import InputOptions

# A record takes up to ten times its bytes: docs/input.md has what was measured.
MAX_RECORD_BYTES = 256 << 20

Record = Document | Reject


class Fault(Exception):
    """A record that cannot become a document: (reason, detail)."""

    def __init__(self, reason: str, detail: str, doc_id: str | None = None) -> None:
        super().__init__(reason, detail)
        self.reason, self.detail, self.doc_id = reason, detail, doc_id


def document_from_fields(
    file: InputFile,
    options: InputOptions,
    position: int,
    fields: dict[str, Any],
    raw: bytes | str | Mapping[str, Any],
) -> Record:
    """Make a document of a record's fields.

    Args:
      file: that the record is in.
      options: which field is the id, which the text; all others become metadata.
      position: of the record.
      fields: of the record.
      raw: the record as read, for the reject.
    """
    try:
        id_field = options.id_field or "id"
        doc_id = _doc_id(file, options, position, fields)
        try:
            text = _text(fields, options.text_field)
            rest = {k: v for k, v in fields.items() if k not in (id_field, options.text_field)}
            written = {name: as_text(value) for name, value in rest.items()}
            metadata = {
                **folder_keys(file.uri),
                **{name: text for name, text in written.items() if text is not None},
            }
            left_out = tuple(name for name, value in rest.items() if _has_bytes(value))
            _check_unicode(doc_id, *metadata, *metadata.values())
        except Fault as fault:
            fault.doc_id = doc_id
            raise
        return Document(doc_id, text, metadata, file.uri, position, left_out)
    except Fault as fault:
        return reject_record(file, position, fault, raw)


def _doc_id(file: InputFile, options: InputOptions, position: int, fields: dict[str, Any]) -> str:
    field = options.id_field or "id"
    value = fields.get(field)
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if isinstance(value, str) and value:
        _check_unicode(value)
        return value
    if isinstance(value, float | Decimal) and value == value and value % 1 == 0:
        return str(int(value))  # integers with gaps are floats in a table
    if isinstance(value, float) and value != value:
        value = None
    if isinstance(value, UUID):
        return str(value)
    if isinstance(value, bytes) and value:
        try:
            return value.decode()
        except UnicodeDecodeError:
            return value.hex()
    if value is None or value == "":
        if options.id_field is not None:
            raise Fault("missing-id", f"the record has no field {field!r}, which --id-field names")
        if file.uri == STDIN:
            detail = (
                "the record has no id, and records from standard input need one: without it a"
                " later run cannot recognise the document; give each record a field id, or name"
                " its field with --id-field"
            )
            raise Fault("missing-id", detail)
        return f"{file.uri}#{position}"
    detail = f"field {field!r} is a {type(value).__name__}, expected a string or an integer"
    raise Fault("wrong-type", detail)


def _text(fields: dict[str, Any], field: str) -> str:
    text = fields.get(field)
    if text is None and field in fields:
        raise Fault("missing-text", f"field {field!r} is null")
    if text is None:
        found = ", ".join(map(str, fields)) or "none"
        raise Fault("missing-text", f"the record has no field {field!r}; it has {found}"[:500])
    if isinstance(text, bytes):
        try:
            text = text.decode()
        except UnicodeDecodeError as error:
            raise Fault("invalid-utf8", f"field {field!r} is not UTF-8: {error}") from None
    if not isinstance(text, str):
        detail = f"field {field!r} is a {type(text).__name__}, expected a string"
        raise Fault("wrong-type", detail)
    text = text.removeprefix("\ufeff")
    if not text or text.isspace():
        raise Fault(
            "empty-document", "the text is empty or only white space; expected at least one word"
        )
    _check_unicode(text)
    return text


def _check_unicode(*texts: str) -> None:
    for text in texts:
        try:
            text.encode()
        except UnicodeEncodeError as error:
            detail = f"character {error.start} is a lone surrogate, which is not valid Unicode"
            raise Fault("lone-surrogate", detail) from None


def as_text(value: Any) -> str | None:
    """Return a value of metadata as the text that a filter names; None if it has none.

    Dates, times, decimals and uuids are as they print; numbers, lists and objects are JSON; binary
    values (images), null and what is no number (NaN) are left out.
    """
    if value is None or value != value or isinstance(value, bytes | bytearray | memoryview):
        return None
    if isinstance(value, str):
        return value
    if isinstance(value, bool | int | float | list | tuple | dict):
        return json.dumps(_without_bytes(value), ensure_ascii=False, default=str)
    return str(value)


def _has_bytes(value: Any) -> bool:
    if isinstance(value, dict):
        return any(map(_has_bytes, value.values()))
    if isinstance(value, list | tuple):
        return any(map(_has_bytes, value))
    return isinstance(value, bytes | bytearray | memoryview)


def _without_bytes(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(k): _without_bytes(v) for k, v in value.items() if not isinstance(v, bytes)}
    if isinstance(value, list | tuple):
        return [_without_bytes(item) for item in value if not isinstance(item, bytes)]
    return value


@lru_cache(maxsize=64)
def folder_keys(uri: str) -> dict[str, str]:
    """Return the keys that folders of a data set name, as in `lang=en/part-0.parquet`."""
    folders = uri.partition("?")[0].split("/")[:-1]
    pairs = (folder.partition("=") for folder in folders if "=" in folder)
    return {
        key: unquote(value)
        for key, _, value in pairs
        if key and value and value != "__HIVE_DEFAULT_PARTITION__"
    }


def reject_record(
    file: InputFile, position: int, fault: Fault, raw: bytes | str | Mapping[str, Any]
) -> Reject:
    """Return the reject of a record that is at fault; `raw` is the record, or its fields."""
    if isinstance(raw, Mapping):
        raw = ", ".join(f"{name}: {_start(value)}" for name, value in raw.items())
    doc_id = fault.doc_id
    if doc_id is not None:
        doc_id = doc_id.encode("utf-8", errors="replace").decode()
    return Reject(
        uri=file.uri,
        position=position,
        stage=READ,
        reason=fault.reason,
        detail=raw_start(fault.detail),
        doc_id=doc_id,
        raw=raw_start(raw),
    )


def _start(value: Any) -> str:
    return str(value[:80] if isinstance(value, str | bytes) else value)[:80]


def too_large() -> Fault:
    """Return the fault of a record beyond the limit."""
    return Fault("too-large", f"the record is longer than {MAX_RECORD_BYTES} bytes; split it")


def reject_too_large(file: InputFile, position: int, start: bytes) -> Reject:
    """Return the reject of a record beyond the limit, by its first bytes."""
    return reject_record(file, position, too_large(), start)
