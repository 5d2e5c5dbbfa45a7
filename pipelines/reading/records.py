"""Bytes of an input file -> documents, or rejects with their reason and place.

`scan` reads a file (or a range of it) from its beginning; `fetch` reads given records again.
A record's position is its byte offset in the decompressed file, or its row in Parquet.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import IO, Protocol

import pyarrow as pa

from pipelines.errors import UsageError
from pipelines.reading import csv_rows, json_lines, parquet_rows, plain_text
from pipelines.reading.decompression import DAMAGE
from pipelines.reading.documents import READ, Reject, record_place
from pipelines.reading.fields import Record
from pipelines.reading.input_files import STDIN, InputFile, open_bytes
from pipelines.reading.options import InputOptions


class _Format(Protocol):
    """What a module of a format offers."""

    def scan(
        self,
        file: InputFile,
        options: InputOptions,
        stream: IO[bytes],
        start: int,
        end: int | None,
    ) -> Iterator[Record]: ...

    def fetch(
        self,
        file: InputFile,
        options: InputOptions,
        stream: IO[bytes],
        positions: Sequence[int],
    ) -> Iterator[Record]: ...


_FORMATS: dict[str, _Format] = {
    "jsonl": json_lines,
    "txt": plain_text,
    "csv": csv_rows,
    "tsv": csv_rows,
    "parquet": parquet_rows,
}


def check_columns(file: InputFile, options: InputOptions) -> None:
    """Check before any work that a table has the columns it is to be read by.

    Raises:
      UsageError: if a column is missing; names those that are there.
      OSError: if the file cannot be read at all.
    """
    if file.uri == STDIN or file.format not in ("csv", "tsv", "parquet"):
        return
    try:
        with open_bytes(file) as stream:
            if file.format == "parquet":
                names = parquet_rows.column_names(stream)
            else:
                names, _ = csv_rows.read_header(file, stream)
    except (*DAMAGE, pa.ArrowException) as error:
        raise OSError(f"input file {file.uri} cannot be read: {error}") from error
    if not names and file.format != "parquet":
        return  # an empty file has no records, as an empty one of JSON lines has none
    twice = sorted(name for name, count in Counter(names).items() if count > 1)
    if twice:
        raise UsageError(
            f"input {file.uri} has more than one column {', '.join(map(repr, twice))}; give each"
            " column its own name"
        )
    wanted = [options.text_field, *([options.id_field] if options.id_field else [])]
    for name in wanted:
        if name not in names:
            flag = "--text-field" if name == options.text_field else "--id-field"
            raise UsageError(
                f"input {file.uri} has no column {name!r}; it has"
                f" {', '.join(map(repr, names)) or 'none'}; {_column_advice(file, names, flag)}"
            )


def _column_advice(file: InputFile, names: list[str], flag: str) -> str:
    """Say what to do about a table without the column that is asked for."""
    for mark, wanted in ((";", "csv"), ("\t", "csv"), ("|", "csv"), (",", "tsv")):
        if file.format == wanted and len(names) == 1 and mark in names[0]:
            kind = "a .tsv file has tabs, a .csv file commas"
            return f"its fields are separated by {mark!r}, but {kind}; convert it, or rename it"
    if not names:
        return "the first row of a table must hold the names of its columns"
    return f"give the name of yours: {flag} NAME"


def scan(
    file: InputFile, options: InputOptions, start: int = 0, end: int | None = None
) -> Iterator[Record]:
    """Yield every record of a file, in order.

    Args:
      file: what to read.
      options: which fields mean what.
      start: only records that begin at this position or after it.
      end: and before this one.

    Yields:
      Document or Reject. A file that turns out damaged ends with a Reject of reason
      `damaged-file` that says where; what came before it is good.
    """
    position = start
    try:
        with open_bytes(file) as stream:
            for record in _FORMATS[file.format].scan(file, options, stream, start, end):
                position = record.position
                yield record
    except (*DAMAGE, pa.ArrowException) as error:
        yield Reject(
            file.uri,
            position,
            READ,
            "damaged-file",
            f"the file cannot be read beyond {record_place(file.uri, position)}: {error}",
        )


def fetch(file: InputFile, options: InputOptions, positions: Sequence[int]) -> Iterator[Record]:
    """Yield the records at given rising positions of a seekable file.

    Raises:
      OSError: if the file cannot be read; it could be when it was planned.
    """
    with open_bytes(file) as stream:
        yield from _FORMATS[file.format].fetch(file, options, stream, positions)
