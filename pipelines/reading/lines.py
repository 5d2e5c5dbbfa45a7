"""Lines of a file with their byte offsets: those of a range, or those at given offsets."""

from collections.abc import Callable, Iterator, Sequence
from typing import IO, TypeVar

from pipelines.reading.documents import Reject
from pipelines.reading.fields import MAX_RECORD_BYTES, reject_too_large
from pipelines.reading.input_files import InputFile
from pipelines.reading.options import InputOptions

BYTE_ORDER_MARK = b"\xef\xbb\xbf"

Made = TypeVar("Made")
MakeRecord = Callable[[InputFile, InputOptions, int, bytes], Made]


def scan_lines(
    file: InputFile,
    options: InputOptions,
    stream: IO[bytes],
    start: int,
    end: int | None,
    make: MakeRecord[Made],
) -> Iterator[Made | Reject]:
    """Yield a record for each line that begins in [start, end) and is not blank."""
    for position, line in numbered_lines(stream, start, end):
        if len(line) > MAX_RECORD_BYTES:
            yield reject_too_large(file, position, line)
        elif line and not line.isspace():
            yield make(file, options, position, line)


def fetch_lines(
    file: InputFile,
    options: InputOptions,
    stream: IO[bytes],
    positions: Sequence[int],
    make: MakeRecord[Made],
) -> Iterator[Made | Reject]:
    """Yield the records of the lines at given byte offsets."""
    for position in positions:
        yield from scan_lines(file, options, stream, position, position + 1, make)


def numbered_lines(stream: IO[bytes], start: int, end: int | None) -> Iterator[tuple[int, bytes]]:
    """Yield (offset, line) of the lines that begin in [start, end); a byte-order mark is left out.

    A range may begin anywhere: the line it cuts belongs to the range before.
    """
    position = start
    if start:
        stream.seek(start - 1)
        position += len(stream.readline()) - 1
    while end is None or position < end:
        line = stream.readline(MAX_RECORD_BYTES + 1)
        if not line:
            return
        size = len(line)
        while size > MAX_RECORD_BYTES and not line.endswith(b"\n"):
            rest = stream.readline(MAX_RECORD_BYTES)
            size += len(rest)
            if not rest or rest.endswith(b"\n"):
                break
        first = 3 if position == 0 and line.startswith(BYTE_ORDER_MARK) else 0
        yield position, line[first:].rstrip(b"\r\n") if size <= MAX_RECORD_BYTES else line
        position += size


def what_bytes_are(data: bytes) -> str | None:
    """Say what bytes are that are no UTF-8 text, and what to do; None if that is not plain."""
    for magic, name, advice in _MAGIC:
        if data.startswith(magic):
            return f"this is {name}, whatever the name says; {advice}"
    if data[:200].count(b"\0") * 3 > len(data[:200]):
        return (
            "this looks like UTF-16 without a byte-order mark, expected UTF-8; convert the file:"
            " iconv -f UTF-16LE -t UTF-8 FILE"
        )
    return None


def not_utf8(error: UnicodeDecodeError, data: bytes) -> str:
    """Say what bytes are that cannot be decoded, and what to do."""
    return what_bytes_are(data) or (
        f"byte 0x{data[error.start]:02x} at {error.start} is no UTF-8; if the text is in another"
        " encoding, convert the file, as in: iconv -f WINDOWS-1252 -t UTF-8 FILE"
    )


_MAGIC = (
    (b"\x1f\x8b", "gzip", "give the file the suffix .gz"),
    (b"\x28\xb5\x2f\xfd", "zstd", "give the file the suffix .zst"),
    (b"\xfd7zXZ", "xz", "give the file the suffix .xz"),
    (b"BZh", "bzip2", "give the file the suffix .bz2"),
    (b"PAR1", "Parquet", "give the file the suffix .parquet"),
    (b"PK\x03\x04", "a zip archive (as .xlsx and .docx are)", "unpack it, or save it as text"),
    (b"%PDF-", "a PDF document", "take its text out first, as pdftotext does"),
    (b"\x7fELF", "a program", "give the path of a text"),
    (b"SQLite format 3", "an SQLite database", "export its rows as JSON lines or CSV"),
)
