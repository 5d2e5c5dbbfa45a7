"""JSON lines: one object per line; a record's position is the byte offset of its line."""

import json
from collections.abc import Iterator, Sequence
from typing import IO

from pipelines.reading.fields import Fault, Record, document_from_fields, reject_record
from pipelines.reading.input_files import InputFile
from pipelines.reading.lines import fetch_lines, scan_lines, what_bytes_are
from pipelines.reading.options import InputOptions


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
    try:
        fields = json.loads(line.decode("utf-8"))
    except UnicodeDecodeError as error:
        detail = what_bytes_are(line) or str(error)
        return reject_record(file, position, Fault("invalid-utf8", detail), line)
    except (ValueError, RecursionError) as error:
        detail = what_bytes_are(line) or f"{error}{_advice(line)}"
        return reject_record(file, position, Fault("invalid-json", detail), line)
    if not isinstance(fields, dict):
        found = type(fields).__name__
        detail = f"found a {found}, expected a JSON object with fields{_advice(line)}"
        fault = Fault("not-an-object", detail)
        return reject_record(file, position, fault, line)
    return document_from_fields(file, options, position, fields, line)


def _advice(line: bytes) -> str:
    """Say what a line of another kind of JSON is."""
    start = line.strip()[:1]
    if start == b"[":
        return "; this looks like a JSON array: write an object a line (jq -c '.[]' FILE)"
    if line.strip() in (b"{", b"}", b"},", b"]") or line[:1].isspace():
        return "; this looks like JSON over several lines: write an object a line (jq -c . FILE)"
    return ""
