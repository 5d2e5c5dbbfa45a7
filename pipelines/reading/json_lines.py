"""JSON lines: one object per line; a record's position is the byte offset of its line."""

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import IO, Any

from pipelines.reading.fields import Fault, Record, document_from_fields, reject_record
from pipelines.reading.input_files import InputFile
from pipelines.reading.lines import fetch_lines, not_utf8, scan_lines, what_bytes_are
from pipelines.reading.options import InputOptions

EXPECTED_OBJECT = 'expected a JSON object, as in {"text": "..."}'
EXPECTED_ON_EACH_LINE = 'expected a JSON object on each line, as in {"text": "..."}'
MAX_STRUCTURE_BYTES = 4 << 20


def scan(
    file: InputFile, options: InputOptions, stream: IO[bytes], start: int, end: int | None
) -> Iterator[Record]:
    """Yield the records whose lines begin in [start, end)."""
    yield from scan_lines(file, options, stream, start, end, record_from_line)


def fetch(
    file: InputFile, options: InputOptions, stream: IO[bytes], positions: Sequence[int]
) -> Iterator[Record]:
    """Yield the records at given byte offsets."""
    yield from fetch_lines(file, options, stream, positions, record_from_line)


def record_from_line(file: InputFile, options: InputOptions, position: int, line: bytes) -> Record:
    """Parse one line."""
    if len(line) > MAX_STRUCTURE_BYTES and not _is_mostly_text(line):
        detail = (
            f"more than {MAX_STRUCTURE_BYTES} bytes of the record are outside of its strings;"
            " remove its lists of numbers"
        )
        return reject_record(file, position, Fault("too-large", detail), line)
    try:
        fields = parse_json(line)
    except Fault as fault:
        return reject_record(file, position, fault, line)
    except UnicodeDecodeError as error:
        detail = not_utf8(error, line)
        return reject_record(file, position, Fault("invalid-utf8", detail), line)
    except (ValueError, RecursionError) as error:
        detail = what_bytes_are(line) or f"{error}{_advice(line)}"
        return reject_record(file, position, Fault("invalid-json", detail), line)
    if not isinstance(fields, dict):
        detail = f"found {json_kind(fields)}, {EXPECTED_OBJECT}"
        advice = _advice(line)
        detail += "" if EXPECTED_ON_EACH_LINE in advice else advice
        return reject_record(file, position, Fault("not-an-object", detail), line)
    return document_from_fields(file, options, position, fields, line)


def json_kind(value: Any) -> str:
    """Return what kind of JSON a value is, in words."""
    names = {dict: "an object", list: "an array", str: "a string", type(None): "null"}
    return names.get(type(value), str(value).lower() if isinstance(value, bool) else "a number")


def parse_json(data: bytes) -> Any:
    """Parse UTF-8 JSON, in which no object may have two fields of one name.

    Raises:
      UnicodeDecodeError, ValueError, RecursionError: if it is none.
      Fault: if a name is there twice: which value is meant is not known.
    """
    return json.loads(data.decode("utf-8"), object_pairs_hook=_object)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) < len(pairs):
        twice = next(
            name for name, count in Counter(name for name, _ in pairs).items() if count > 1
        )
        raise Fault("duplicate-field", f"the object has the field {twice!r} twice; remove one")
    return fields


def _is_mostly_text(line: bytes) -> bool:
    """Say whether few bytes of a line of JSON are outside of strings.

    An empty list is two bytes there, and fifty in memory.
    """
    outside = position = 0
    while outside <= MAX_STRUCTURE_BYTES:
        start = line.find(b'"', position)
        if start < 0:
            return outside + len(line) - position <= MAX_STRUCTURE_BYTES
        outside += start + 1 - position
        position = _string_end(line, start + 1)
    return False


def _string_end(line: bytes, start: int) -> int:
    """Return where a string of JSON ends, its quote included; at the line's end if it is open."""
    end = line.find(b'"', start)
    while end >= 0:
        first = end
        while first > start and line[first - 1] == 0x5C:  # a backslash
            first -= 1
        if (end - first) % 2 == 0:
            return end + 1
        end = line.find(b'"', end + 1)
    return len(line)


def _advice(line: bytes) -> str:
    """Say what a line of another kind of JSON is."""
    bare = line.strip()
    start = bare[:1]
    if b"\r" in bare and bare.count(b"}\r") > 0:
        return "; the lines end in carriage returns only: convert the file (tr '\\r' '\\n')"
    if bare[:2] in (b"{'", b"{u"):
        return "; this looks like a Python dictionary: JSON has double quotes (json.dumps)"
    if start == b"{" and bare.endswith(b"},"):
        return "; a comma follows the object: remove it (jq -c . FILE)"
    if start not in (b"{", b"[", b"]", b"}") and line[:1] == start:
        return f"; {EXPECTED_ON_EACH_LINE}"
    if start == b"[":
        return "; this looks like a JSON array: write one object per line (jq -c '.[]' FILE)"
    if line.strip() in (b"{", b"}", b"},", b"]") or line[:1].isspace():
        return "; this looks like JSON over several lines: write one object per line (jq -c . FILE)"
    if b"}{" in bare or b"} {" in bare:
        return "; more than one object is on the line: write one object per line (jq -c . FILE)"
    return ""
