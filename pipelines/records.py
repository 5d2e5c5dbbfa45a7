"""Bytes of an input file -> documents, or rejects with their reason and place. No Beam.

`scan` reads a file (or a range of it) from its beginning; `fetch` reads given records again.
A record's position is its byte offset in the decompressed file, or its row in Parquet.
"""

import csv
import json
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from typing import IO, Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.documents import READ, Document, Reject, raw_start
from pipelines.errors import UsageError
from pipelines.options import InputOptions
from pipelines.sources import DAMAGE, InputFile, open_bytes

MAX_RECORD_BYTES = 256 << 20
_BOM = b"\xef\xbb\xbf"
_PARQUET_ROWS = 256

Record = Document | Reject


class _Fault(Exception):
    """A record that cannot become a document: (reason, detail)."""

    def __init__(self, reason: str, detail: str, doc_id: str | None = None) -> None:
        super().__init__(reason, detail)
        self.reason, self.detail, self.doc_id = reason, detail, doc_id


def check_columns(file: InputFile, options: InputOptions) -> None:
    """Check before any work that a table has the columns it is to be read by.

    Raises:
      UsageError: if a column is missing; names those that are there.
      OSError: if the file cannot be read at all.
    """
    if file.uri == "-" or file.format not in ("csv", "tsv", "parquet"):
        return
    try:
        if file.format == "parquet":
            with open_bytes(file) as stream:
                names = pq.read_schema(stream).names
        else:
            with open_bytes(file) as stream:
                names, _ = _header(file, stream)
    except (*DAMAGE, pa.ArrowException) as error:
        raise OSError(f"input file {file.uri} cannot be read: {error}") from error
    wanted = [options.text_field, *([options.id_field] if options.id_field else [])]
    for name in wanted:
        if name not in names:
            raise UsageError(
                f"input {file.uri} has no column {name!r}; it has {', '.join(names) or 'none'};"
                " name yours with --text-field and --id-field"
            )


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
            for record in _SCANNERS[file.format](file, options, stream, start, end):
                position = record.position
                yield record
    except (*DAMAGE, pa.ArrowException) as error:
        yield Reject(
            file.uri,
            position,
            READ,
            "damaged-file",
            f"the file cannot be read beyond its record at {position}: {error}",
        )


def count_rows(file: InputFile) -> int:
    """Return how many rows a Parquet file has."""
    with open_bytes(file) as stream:
        return int(pq.read_metadata(stream).num_rows)


def fetch(file: InputFile, options: InputOptions, positions: Sequence[int]) -> Iterator[Record]:
    """Yield the records at given rising positions of a seekable file.

    Raises:
      OSError: if the file cannot be read; it could be when it was planned.
    """
    with open_bytes(file) as stream:
        if file.format == "parquet":
            yield from _parquet_rows(file, options, stream, positions)
            return
        names = _header(file, stream)[0] if file.format in _DELIMITERS else []
        for position in positions:
            stream.seek(position)
            if file.format in _DELIMITERS:
                rows = _CsvRows(file, stream, position)
                yield _from_row(file, options, names, position, *next(rows))
            elif file.format == "txt" and not options.lines:
                yield from _scan_text(file, options, stream, 0, None)
            else:
                yield from _scan_lines(file, options, stream, position, position + 1)


def _scan_lines(
    file: InputFile, options: InputOptions, stream: IO[bytes], start: int, end: int | None
) -> Iterator[Record]:
    make = _from_json if file.format == "jsonl" else _from_line
    for position, line in _lines(stream, start, end):
        if len(line) > MAX_RECORD_BYTES:
            yield _too_large(file, position, line)
        elif line and not line.isspace():
            yield make(file, options, position, line)


def _lines(stream: IO[bytes], start: int, end: int | None) -> Iterator[tuple[int, bytes]]:
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
        first = 3 if position == 0 and line.startswith(_BOM) else 0
        yield position, line[first:].rstrip(b"\r\n") if size <= MAX_RECORD_BYTES else line
        position += size


def _scan_text(
    file: InputFile,
    options: InputOptions,
    stream: IO[bytes],
    start: int,
    end: int | None,
) -> Iterator[Record]:
    if options.lines:
        yield from _scan_lines(file, options, stream, start, end)
        return
    if start:
        return
    data = stream.read(MAX_RECORD_BYTES + 1)
    if len(data) > MAX_RECORD_BYTES:
        yield _too_large(file, 0, data)
    else:
        yield _from_line(file, options, 0, data)


def _scan_csv(
    file: InputFile, options: InputOptions, stream: IO[bytes], start: int, end: int | None
) -> Iterator[Record]:
    names, first = _header(file, stream)
    if start > first:
        stream.seek(start)
    rows = _CsvRows(file, stream, max(start, first))
    while end is None or rows.position < end:
        position = rows.position
        try:
            values, fault = next(rows)
        except StopIteration:
            return
        if values or fault:  # a blank line is no record
            yield _from_row(file, options, names, position, values, fault)


class _CsvRows:
    """Rows of a CSV or TSV stream with the byte offset at which each begins."""

    def __init__(self, file: InputFile, stream: IO[bytes], position: int) -> None:
        csv.field_size_limit(MAX_RECORD_BYTES)
        self.position = position
        self._stream = stream
        lines, delimiter = self._decoded(), _DELIMITERS[file.format]
        # TSV as registered with IANA knows no quotes.
        self._rows = (
            csv.reader(lines, delimiter=delimiter, quoting=csv.QUOTE_NONE)
            if file.format == "tsv"
            else csv.reader(lines, delimiter=delimiter, strict=True)
        )

    def _decoded(self) -> Iterator[str]:
        for line in self._stream:
            first = 3 if self.position == 0 and line.startswith(_BOM) else 0
            self.position += len(line)
            # Bytes that are no UTF-8 come out as lone surrogates, which are rejected by name.
            yield line[first:].decode("utf-8", errors="surrogateescape")

    def __next__(self) -> tuple[list[str], str]:
        try:
            return next(self._rows), ""
        except csv.Error as error:
            return [], str(error)


def _header(file: InputFile, stream: IO[bytes]) -> tuple[list[str], int]:
    """Return the names in the first row, and where the second begins."""
    rows = _CsvRows(file, stream, 0)
    try:
        names, fault = next(rows)
    except StopIteration:
        return [], 0
    if fault:
        raise UsageError(f"input {file.uri} has an unreadable first row: {fault}")
    return names, rows.position


def _scan_parquet(
    file: InputFile, options: InputOptions, stream: IO[bytes], start: int, end: int | None
) -> Iterator[Record]:
    with pq.ParquetFile(stream) as parquet:
        first = 0
        for group in range(parquet.num_row_groups):
            last = first + parquet.metadata.row_group(group).num_rows
            if last > start and (end is None or first < end):
                row = first
                for batch in parquet.iter_batches(_PARQUET_ROWS, row_groups=[group]):
                    for values in batch.to_pylist():
                        if row >= start and (end is None or row < end):
                            yield _from_fields(file, options, row, values, str(values))
                        row += 1
            first = last


def _parquet_rows(
    file: InputFile, options: InputOptions, stream: IO[bytes], positions: Sequence[int]
) -> Iterator[Record]:
    with pq.ParquetFile(stream) as parquet:
        sizes = [parquet.metadata.row_group(g).num_rows for g in range(parquet.num_row_groups)]
        ends = [sum(sizes[: i + 1]) for i in range(len(sizes))]
        groups: dict[int, list[int]] = {}
        for position in positions:
            groups.setdefault(bisect_right(ends, position), []).append(position)
        for group, rows in groups.items():
            first = ends[group] - sizes[group]
            for batch in parquet.iter_batches(_PARQUET_ROWS, row_groups=[group]):
                chosen = [row for row in rows if first <= row < first + batch.num_rows]
                for row in chosen:
                    values = batch.slice(row - first, 1).to_pylist()[0]
                    yield _from_fields(file, options, row, values, str(values))
                first += batch.num_rows


def _from_json(file: InputFile, options: InputOptions, position: int, line: bytes) -> Record:
    try:
        fields = json.loads(line.decode("utf-8"))
    except UnicodeDecodeError as error:
        return _reject(file, position, _Fault("invalid-utf8", str(error)), line)
    except (ValueError, RecursionError) as error:
        return _reject(file, position, _Fault("invalid-json", str(error)), line)
    if not isinstance(fields, dict):
        found = type(fields).__name__
        fault = _Fault("not-an-object", f"found a {found}, expected a JSON object with fields")
        return _reject(file, position, fault, line)
    return _from_fields(file, options, position, fields, line)


def _from_line(file: InputFile, options: InputOptions, position: int, line: bytes) -> Record:
    try:
        text = line.decode("utf-8")
    except UnicodeDecodeError as error:
        return _reject(file, position, _Fault("invalid-utf8", str(error)), line)
    fields = {options.text_field: text}
    return _from_fields(file, InputOptions(text_field=options.text_field), position, fields, line)


def _from_row(
    file: InputFile,
    options: InputOptions,
    names: list[str],
    position: int,
    values: list[str],
    fault: str,
) -> Record:
    raw = ",".join(values)
    if fault:
        return _reject(file, position, _Fault("invalid-csv", fault), raw)
    if len(values) != len(names):
        detail = f"found {len(values)} fields, expected {len(names)} as in the first row"
        return _reject(file, position, _Fault("wrong-field-count", detail), raw)
    if any("\udc80" <= character <= "\udcff" for value in values for character in value):
        return _reject(file, position, _Fault("invalid-utf8", "a field is not UTF-8"), raw)
    return _from_fields(file, options, position, dict(zip(names, values, strict=True)), raw)


def _from_fields(
    file: InputFile,
    options: InputOptions,
    position: int,
    fields: dict[str, Any],
    raw: bytes | str,
) -> Record:
    try:
        id_field = options.id_field or "id"
        doc_id = _doc_id(file, options, position, fields)
        try:
            text = _text(fields, options.text_field)
            metadata = {
                name: value if isinstance(value, str) else _as_json(value)
                for name, value in fields.items()
                if name not in (id_field, options.text_field)
            }
            _check_unicode(doc_id, *metadata, *metadata.values())
        except _Fault as fault:
            fault.doc_id = doc_id
            raise
        return Document(doc_id, text, metadata, file.uri, position)
    except _Fault as fault:
        return _reject(file, position, fault, raw)


def _doc_id(file: InputFile, options: InputOptions, position: int, fields: dict[str, Any]) -> str:
    field = options.id_field or "id"
    value = fields.get(field)
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if isinstance(value, str) and value:
        _check_unicode(value)
        return value
    if value is None or value == "":
        if options.id_field is not None:
            raise _Fault("missing-id", f"the record has no field {field!r}")
        return f"{file.uri}#{position}"
    detail = f"field {field!r} is a {type(value).__name__}, expected a string or an integer"
    raise _Fault("wrong-type", detail)


def _text(fields: dict[str, Any], field: str) -> str:
    text = fields.get(field)
    if text is None:
        found = ", ".join(map(str, fields)) or "none"
        raise _Fault("missing-text", f"the record has no field {field!r}; it has {found}"[:500])
    if not isinstance(text, str):
        detail = f"field {field!r} is a {type(text).__name__}, expected a string"
        raise _Fault("wrong-type", detail)
    text = text.removeprefix("\ufeff")
    if not text or text.isspace():
        raise _Fault("empty-document", "the text is empty or only blanks")
    _check_unicode(text)
    return text


def _check_unicode(*texts: str) -> None:
    for text in texts:
        try:
            text.encode()
        except UnicodeEncodeError as error:
            detail = f"a lone surrogate at character {error.start}, which is no text"
            raise _Fault("lone-surrogate", detail) from None


def _as_json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, default=str)


def _reject(file: InputFile, position: int, fault: _Fault, raw: bytes | str) -> Reject:
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


def _too_large(file: InputFile, position: int, start: bytes) -> Reject:
    detail = f"the record is longer than {MAX_RECORD_BYTES} bytes; split it"
    return _reject(file, position, _Fault("too-large", detail), start)


def spool_document(document: Document, file: IO[bytes]) -> None:
    """Append a document to a file of planned documents, which `read_spool` reads."""
    fields = [document.doc_id, document.text, document.metadata, document.uri, document.position]
    file.write(json.dumps(fields).encode() + b"\n")


def read_spool(stream: IO[bytes], positions: Iterable[int]) -> Iterator[Document]:
    """Yield documents that `spool_document` wrote at given byte offsets."""
    for position in positions:
        stream.seek(position)
        yield Document(*json.loads(stream.readline()))


_DELIMITERS = {"csv": ",", "tsv": "\t"}
_SCANNERS = {
    "jsonl": _scan_lines,
    "txt": _scan_text,
    "csv": _scan_csv,
    "tsv": _scan_csv,
    "parquet": _scan_parquet,
}
