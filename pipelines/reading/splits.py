"""Divide the input into splits: the records that one task reads.

A planner that has read the input names the records it chose (`ReadTask`). Without reading it,
`count_pieces` and `piece_bounds` divide files by their bytes (`FilePiece`).
"""

from collections.abc import Iterator
from dataclasses import dataclass

from pipelines.reading.documents import Document, Reject, record_place
from pipelines.reading.input_files import InputFile
from pipelines.reading.options import InputOptions
from pipelines.reading.parquet_rows import count_rows
from pipelines.reading.records import fetch, scan
from pipelines.reading.spool import SPOOL, read_spool


@dataclass(frozen=True, slots=True)
class ReadRange:
    """Records of one file.

    Attributes:
      file: which.
      positions: rising positions of the chosen records; None for all that begin in the range.
      start: of the range.
      end: of the range, exclusive; None for the end of the file.
    """

    file: InputFile
    positions: tuple[int, ...] | None = None
    start: int = 0
    end: int | None = None


@dataclass(frozen=True, slots=True)
class ReadTask:
    """What one worker reads and writes as one part.

    Attributes:
      part: number of the part.
      ranges: what to read, in order.
      options: how records become documents.
    """

    part: int
    ranges: tuple[ReadRange, ...]
    options: InputOptions


@dataclass(frozen=True, slots=True)
class FilePiece:
    """One of the pieces that a file is divided into, without reading it.

    Attributes:
      index: of the piece in the whole input; pieces follow one another in input order.
      file: that it is a piece of.
      piece: of the file, from 0.
      pieces: that the file has.
    """

    index: int
    file: InputFile
    piece: int = 0
    pieces: int = 1


def count_pieces(file: InputFile, options: InputOptions, piece_bytes: int) -> int:
    """Return how many pieces of about so many bytes a file has; it is not opened.

    Lines are divided by byte range, Parquet by rows; what is compressed, CSV (a quoted field may
    hold line breaks) and whole texts are one piece each.
    """
    lines = file.format == "jsonl" or (file.format == "txt" and options.lines)
    if not file.seekable or not (lines or file.format == "parquet"):
        return 1
    return max(1, -(-(file.size or 0) // piece_bytes))


def piece_bounds(piece: FilePiece) -> tuple[int, int | None]:
    """Return [start, end) of the records that begin in a piece; None is the end of the file."""
    if piece.pieces == 1:
        return 0, None
    whole = count_rows(piece.file) if piece.file.format == "parquet" else piece.file.size or 0
    start = whole * piece.piece // piece.pieces
    last = piece.piece == piece.pieces - 1
    return start, None if last else whole * (piece.piece + 1) // piece.pieces


def read_task(task: ReadTask) -> Iterator[Document | Reject]:
    """Yield the records of a task, in order.

    Raises:
      RuntimeError: if a chosen record is no document any more: the input changed meanwhile.
    """
    for part in task.ranges:
        if part.positions is None:
            yield from scan(part.file, task.options, part.start, part.end)
        elif part.file.format == SPOOL:
            with open(part.file.uri, "rb") as stream:
                yield from read_spool(stream, part.positions)
        else:
            for record in fetch(part.file, task.options, part.positions):
                yield _still_a_document(record)


def _still_a_document(record: Document | Reject) -> Document:
    if isinstance(record, Reject):
        place = record_place(record.uri, record.position)
        raise RuntimeError(
            f"input {record.uri} changed while it was read: the record at {place} was a document"
            f" and is now rejected ({record.reason}); run the command again"
        )
    return record
