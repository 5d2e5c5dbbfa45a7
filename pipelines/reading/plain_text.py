"""Plain text: one document per file, or one per line; positions are byte offsets."""

from collections.abc import Iterator, Sequence
from typing import IO

from pipelines.reading.fields import (
    MAX_RECORD_BYTES,
    Fault,
    Record,
    document_from_fields,
    reject_record,
    reject_too_large,
)
from pipelines.reading.input_files import InputFile
from pipelines.reading.lines import fetch_lines, not_utf8, scan_lines, what_bytes_are
from pipelines.reading.options import InputOptions

_PIECE_BYTES = 1 << 20


def scan(
    file: InputFile, options: InputOptions, stream: IO[bytes], start: int, end: int | None
) -> Iterator[Record]:
    """Yield the documents that begin in [start, end)."""
    if options.lines:
        yield from scan_lines(file, options, stream, start, end, record_from_text)
    elif start == 0:
        yield _whole_file(file, options, stream)


def fetch(
    file: InputFile, options: InputOptions, stream: IO[bytes], positions: Sequence[int]
) -> Iterator[Record]:
    """Yield the documents at given byte offsets."""
    if options.lines:
        yield from fetch_lines(file, options, stream, positions, record_from_text)
    elif positions:
        yield _whole_file(file, options, stream)


def _whole_file(file: InputFile, options: InputOptions, stream: IO[bytes]) -> Record:
    data = bytearray()
    while piece := stream.read(_PIECE_BYTES):
        if len(data) + len(piece) > MAX_RECORD_BYTES:
            return reject_too_large(file, 0, bytes(data[:_PIECE_BYTES]) or piece)
        data += piece
    return record_from_text(file, options, 0, bytes(data))


def record_from_text(file: InputFile, options: InputOptions, position: int, data: bytes) -> Record:
    """Decode one text; it has no field but the text."""
    try:
        text = data.decode("utf-8")
        known = what_bytes_are(data)
        if known is None and options.lines and _is_one_line(file, position, data):
            known = "the lines end in carriage returns only; convert the file: tr '\\r' '\\n'"
        if known is not None:
            return reject_record(file, position, Fault("not-text", known), data)
    except UnicodeDecodeError as error:
        detail = not_utf8(error, data)
        return reject_record(file, position, Fault("invalid-utf8", detail), data)
    fields = {options.text_field: text}
    only_text = InputOptions(text_field=options.text_field)
    return document_from_fields(file, only_text, position, fields, data)


def _is_one_line(file: InputFile, position: int, line: bytes) -> bool:
    """Say whether a file of lines is a single one, for its lines end in carriage returns."""
    whole = position == 0 and file.size is not None and len(line) + 2 >= file.size
    return whole and not file.compression and b"\r" in line
