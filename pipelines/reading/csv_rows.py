"""CSV and TSV: rows after a header; a record's position is the byte offset of its row."""

import csv
import re
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import IO

from pipelines.errors import UsageError
from pipelines.reading.decompression import compression_of
from pipelines.reading.fields import (
    Fault,
    Record,
    document_from_fields,
    reject_record,
)
from pipelines.reading.input_files import STDIN, InputFile, open_bytes
from pipelines.reading.lines import BYTE_ORDER_MARK, read_line, what_bytes_are
from pipelines.reading.options import InputOptions

# Python's csv module takes four to eight times the bytes of a field.
MAX_ROW_BYTES = 64 << 20
MAX_HEADER_BYTES = 1 << 20
_SNIFFED_BYTES = 1 << 16
_HEAD_BYTES = 1 << 12
# A field that begins with a quote, up to the quote before a tab or a line end.
_QUOTED_FIELD = re.compile(r'(?:(?<=\t)|(?<=\n)|\A)"(?:[^"]|"")*"(?=\t|\r?\n|\Z)')
_DELIMITERS = {"csv": ",", "tsv": "\t"}


def scan(
    file: InputFile, options: InputOptions, stream: IO[bytes], start: int, end: int | None
) -> Iterator[Record]:
    """Yield the records whose rows begin in [start, end)."""
    names, first = read_header(file, stream)
    if start > first:
        stream.seek(start)
    rows = _Rows(file, stream, max(start, first))
    while end is None or rows.position < end:
        position = rows.position
        try:
            values, fault = next(rows)
        except StopIteration:
            return
        if values or fault:  # an empty line is no record
            yield _record_from_row(file, options, names, position, values, fault)


def fetch(
    file: InputFile, options: InputOptions, stream: IO[bytes], positions: Sequence[int]
) -> Iterator[Record]:
    """Yield the records at given byte offsets."""
    names, _ = read_header(file, stream)
    for position in positions:
        stream.seek(position)
        values, fault = next(_Rows(file, stream, position))
        yield _record_from_row(file, options, names, position, values, fault)


def read_header(file: InputFile, stream: IO[bytes]) -> tuple[list[str], int]:
    """Return the names in the first row that is not blank, and the byte offset of the next one.

    An empty file has no names.

    Raises:
      UsageError: if the first row cannot be read.
    """
    _check_text(file, stream)
    rows = _Rows(file, stream, 0, MAX_HEADER_BYTES)
    names: list[str] = []
    fault: Fault | None = None
    while not names and not fault:
        try:
            names, fault = next(rows)
        except StopIteration:
            return [], rows.position
    if fault:
        raise UsageError(f"input {file.uri} has an unreadable first row: {fault.detail}")
    return names, rows.position


def _check_text(file: InputFile, stream: IO[bytes]) -> None:
    """Refuse what is no table of text.

    Raises:
      UsageError: if so; says what it is.
    """
    if not hasattr(stream, "peek"):
        start = stream.read(_HEAD_BYTES)
        stream.seek(0)
    else:
        start = stream.peek(_HEAD_BYTES)[:_HEAD_BYTES]
    known = what_bytes_are(start)
    if known is None and b"\r" in start.rstrip(b"\r") and b"\n" not in start:
        known = "its lines end in carriage returns only; convert it: tr '\\r' '\\n'"
    if known is not None:
        raise UsageError(f"input {file.uri} cannot be read: {known}")


class _RowTooLarge(Exception):
    """A row beyond the limit; nothing of it is held."""


class _Lines:
    """Decoded lines of a stream, those of one row within a limit.

    Attributes:
      position: byte offset of the next line.
      row_bytes: of the row so far; whoever begins a row sets it to 0.
    """

    def __init__(self, stream: IO[bytes], position: int, limit: int) -> None:
        self._stream, self.position, self._limit = stream, position, limit
        self.row_bytes = 0

    def __iter__(self) -> "_Lines":
        return self

    def __next__(self) -> str:
        line, size = read_line(self._stream, self._limit)
        if not size:
            raise StopIteration
        first = 3 if self.position == 0 and line.startswith(BYTE_ORDER_MARK) else 0
        self.position += size
        self.row_bytes += size
        if self.row_bytes > self._limit:
            raise _RowTooLarge
        # Bytes that are not UTF-8 come out as lone surrogates, which are rejected by name.
        return line[first:].decode("utf-8", errors="surrogateescape")


class _Rows:
    """Rows of a CSV or TSV stream with the byte offset at which each begins."""

    def __init__(
        self, file: InputFile, stream: IO[bytes], position: int, limit: int | None = None
    ) -> None:
        self._limit = MAX_ROW_BYTES if limit is None else limit
        csv.field_size_limit(MAX_ROW_BYTES)
        self._lines = _Lines(stream, position, self._limit)
        delimiter = _DELIMITERS[file.format]
        self._rows = (
            csv.reader(self._lines, delimiter=delimiter, quoting=csv.QUOTE_NONE)
            if file.format == "tsv" and not quotes_fields(file.uri)
            else csv.reader(self._lines, delimiter=delimiter, strict=True)
        )

    @property
    def position(self) -> int:
        """Byte offset of the next row."""
        return self._lines.position

    def __next__(self) -> tuple[list[str], Fault | None]:
        first, start = self._rows.line_num, self.position
        self._lines.row_bytes = 0
        try:
            return next(self._rows), None
        except (csv.Error, _RowTooLarge) as error:
            large = isinstance(error, _RowTooLarge)
            lines = self._rows.line_num - first + large
            detail = f"the row is longer than {self._limit} bytes; split it" if large else error
            reason = "too-large" if large else "invalid-csv"
            if lines > 1:
                reason = "invalid-csv"
                advice = (
                    f"a quote in the row at byte {start} is not closed, and {lines} lines were"
                    " swallowed with it"
                )
            elif "unexpected end" in str(error):
                advice = f"a quote in the row at byte {start} is not closed"
            else:
                advice = "" if large else "inside a quoted field, write each quote twice"
            return [], Fault(reason, f"{detail}; {advice}" if advice else str(detail))


def _record_from_row(
    file: InputFile,
    options: InputOptions,
    names: list[str],
    position: int,
    values: list[str],
    fault: Fault | None,
) -> Record:
    raw = ",".join(values)
    if fault:
        return reject_record(file, position, fault, raw)
    if len(values) != len(names):
        detail = f"found {len(values)} fields, expected {len(names)} as in the first row"
        lines = max((value.count("\n") for value in values), default=0)
        if lines:
            detail += f"; a field has {lines + 1} lines: is a quote not closed?"
            return reject_record(file, position, Fault("invalid-csv", detail), raw)
        return reject_record(file, position, Fault("wrong-field-count", detail), raw)
    if any("\udc80" <= character <= "\udcff" for value in values for character in value):
        detail = (
            "a field is not UTF-8; if the table is in another encoding, convert the file, as in:"
            " iconv -f WINDOWS-1252 -t UTF-8 FILE"
        )
        return reject_record(file, position, Fault("invalid-utf8", detail), raw)
    return document_from_fields(file, options, position, dict(zip(names, values, strict=True)), raw)


@lru_cache(maxsize=64)
def quotes_fields(uri: str) -> bool:
    """Say whether a TSV file quotes fields as pandas and spreadsheets do.

    TSV as registered with IANA knows no quotes, so `"` is a letter, unless in the file's beginning
    every field that has one is a quoted field from end to end.
    """
    if uri == STDIN:
        return False
    with open_bytes(InputFile(uri, "tsv", compression_of(uri))) as stream:
        sample = stream.read(_SNIFFED_BYTES).decode("utf-8", errors="replace")
    bare, quoted = _QUOTED_FIELD.subn("", sample)
    return quoted > 0 and '"' not in bare
