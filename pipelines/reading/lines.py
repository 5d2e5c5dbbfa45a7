"""Lines of a file with their byte offsets: those of a range, or those at given offsets."""

from collections.abc import Callable, Iterator, Sequence
from typing import IO, TypeVar

from pipelines.reading.documents import Reject
from pipelines.reading.fields import MAX_RECORD_BYTES, reject_too_large
from pipelines.reading.input_files import InputFile
from pipelines.reading.options import InputOptions

BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_PIECE_BYTES = 1 << 20

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
    for position, line, whole in numbered_lines(stream, start, end):
        if not whole:
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


def numbered_lines(
    stream: IO[bytes], start: int, end: int | None
) -> Iterator[tuple[int, bytes, bool]]:
    """Yield (offset, line, whole) of the lines that begin in [start, end).

    A byte-order mark is left out. Of a line beyond MAX_RECORD_BYTES only its beginning is there,
    and `whole` is false; no more of it than that limit was ever held. A range may begin anywhere:
    the line it cuts belongs to the range before.
    """
    position = start
    if start:
        stream.seek(start - 1)
        position += read_line(stream)[1] - 1
    while end is None or position < end:
        line, size = read_line(stream)
        if not size:
            return
        whole = len(line) == size
        first = 3 if position == 0 and line.startswith(BYTE_ORDER_MARK) else 0
        yield position, line[first:].rstrip(b"\r\n") if whole else line, whole
        position += size


def read_line(stream: IO[bytes], limit: int | None = None) -> tuple[bytes, int]:
    """Read to the end of a line.

    Args:
      stream: to read from.
      limit: bytes that the line may have; None takes MAX_RECORD_BYTES.

    Returns:
      The line with its line end, and its bytes; of a line that is too long, its beginning.
    """
    limit = MAX_RECORD_BYTES if limit is None else limit
    line = stream.readline(min(_PIECE_BYTES, limit + 1))
    if line.endswith(b"\n") or not line:
        return line, len(line)
    pieces, size = [line], len(line)
    while piece := stream.readline(_PIECE_BYTES):
        size += len(piece)
        if size <= limit:
            pieces.append(piece)
        else:
            del pieces[1:]
        if piece.endswith(b"\n"):
            break
    return (b"".join(pieces), size) if size <= limit else (pieces[0][:limit], size)


def what_bytes_are(data: bytes) -> str | None:
    """Say what bytes are that are no UTF-8 text, and what to do; None if that is not plain."""
    for magic, name, advice in _MAGIC:
        if data.startswith(magic):
            return f"this is {name}, although the file's name says text; {advice}"
    start = data[:200]
    if start and not start.strip(b"\0"):
        return "it holds only zero bytes: was the file written completely?"
    if start.count(b"\0") * 3 > len(start):
        wide = start.count(b"\0\0") > len(start) // 8
        name = f"UTF-{32 if wide else 16}"
        # A line after the first may begin with a zero that is left of the line end before.
        order = f"{name}LE" if start[0] else f"{name}BE (or {name}LE)"
        return (
            f"this looks like {name} without a byte-order mark, expected UTF-8; convert the file:"
            f" iconv -t UTF-8 FILE -f {order}"
        )
    return None


def not_utf8(error: UnicodeDecodeError, data: bytes) -> str:
    """Say what bytes are that cannot be decoded, and what to do."""
    return what_bytes_are(data) or (
        f"byte 0x{data[error.start]:02x} at {error.start} is not UTF-8; if the text is in another"
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
    (b"\xd0\xcf\x11\xe0", "an old Excel or Word document", "save it as CSV or text"),
    (b"7z\xbc\xaf", "a 7z archive", "unpack it"),
    (b"Rar!", "a RAR archive", "unpack it"),
    (b"\x04\x22\x4d\x18", "lz4", "unpack it, or compress it as .zst"),
    (b"ARROW1", "an Arrow file", "write it as Parquet"),
    (b"Obj\x01", "an Avro file", "write it as Parquet"),
    (b"\x93NUMPY", "a NumPy array", "give files of text"),
    (b"\x89HDF", "an HDF5 file", "give files of text"),
    (b"\x89PNG", "a picture", "give files of text"),
    (b"\xff\xd8\xff", "a picture", "give files of text"),
    (b"SQLite format 3", "an SQLite database", "export its rows as JSON lines or CSV"),
)
