"""The input cut into splits: which records one task reads.

A planner names the records it chose; `range_tasks` divides whole files without reading them.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from pipelines.reading.documents import Document, Reject
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


def range_tasks(
    files: Iterable[InputFile], options: InputOptions, range_bytes: int
) -> list[ReadTask]:
    """Divide whole files into tasks of about so many bytes, without reading them.

    Lines are divided by byte range, Parquet by rows; what is compressed, CSV (a quoted field may
    hold line breaks) and whole texts are one task each.
    """
    ranges: list[ReadRange] = []
    for file in files:
        edges = _edges(file, options, range_bytes)
        ends = [*edges[1:], None]
        ranges += [
            ReadRange(file, None, start, end) for start, end in zip(edges, ends, strict=True)
        ]
    return [ReadTask(part, (found,), options) for part, found in enumerate(ranges)]


def _edges(file: InputFile, options: InputOptions, range_bytes: int) -> list[int]:
    """Return where ranges of a file begin."""
    size = file.size or 0
    if not file.seekable or size <= range_bytes:
        return [0]
    if file.format == "parquet":
        rows = count_rows(file)
        step = max(1, rows * range_bytes // size)
        return list(range(0, rows, step)) or [0]
    if file.format == "jsonl" or (file.format == "txt" and options.lines):
        return list(range(0, size, range_bytes))
    return [0]


def read_task(task: ReadTask) -> Iterator[Document | Reject]:
    """Yield the records of a task, in order.

    Raises:
      RuntimeError: if a chosen record is no document any more: the input changed meanwhile.
    """
    for part in task.ranges:
        if part.positions is None:
            for record in scan(part.file, task.options, part.start, part.end):
                yield record if isinstance(record, Reject) else _of_part(record, task.part)
        elif part.file.format == SPOOL:
            with open(part.file.uri, "rb") as stream:
                for document in read_spool(stream, part.positions):
                    yield _of_part(document, task.part)
        else:
            for record in fetch(part.file, task.options, part.positions):
                yield _still_a_document(record, task.part)


def _still_a_document(record: Document | Reject, part: int) -> Document:
    if isinstance(record, Reject):
        raise RuntimeError(
            f"input {record.uri} changed while it was read: the record at {record.position}"
            f" was a document and is now rejected ({record.reason}); run the command again"
        )
    return _of_part(record, part)


def _of_part(document: Document, part: int) -> Document:
    # dataclasses.replace takes four times as long, for each document.
    return Document(
        document.doc_id,
        document.text,
        document.metadata,
        document.uri,
        document.position,
        part,
    )
