"""A folder as the source of a stream: files that appear or change.

A file is taken when it has not changed for QUIET_SECONDS, and looked at again after reading: what
was read of a version that is there no more is dropped, and the new one is read from its beginning.
A large file is committed in pieces; a removed file deletes nothing.
"""

import glob
import itertools
import logging
import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
from fsspec.core import url_to_fs

from pipelines.errors import UsageError
from pipelines.reading.decompression import DAMAGE, compression_of
from pipelines.reading.documents import READ, Reject, record_place
from pipelines.reading.input_files import FORMATS, InputFile, open_bytes
from pipelines.reading.lines import scan_lines
from pipelines.reading.messages import Message, message_from_line
from pipelines.reading.options import InputOptions
from pipelines.reading.records import scan
from pipelines.reading.stream_batch import (
    BatchLimits,
    Lag,
    Mark,
    SourceUnavailable,
    StreamBatch,
    size_of,
)

logger = logging.getLogger(__name__)

FILES = "files"  # the one partition: a position is a piece of a file
QUIET_SECONDS = 2.0
WHOLE = -1  # the position in the mark of a file that was read to its end
LIST_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class _Version:
    file: InputFile
    version: str
    changed: float  # modification time, seconds since the epoch; for order and age


@dataclass(slots=True)
class _Reading:
    version: _Version
    messages: Iterator[Message]


class WatchedFiles:
    """Files that match a glob, now or later.

    Args:
      pattern: path or URL with * in it.
      options: how records become documents.

    Raises:
      UsageError: if the glob is none.
      SourceUnavailable: if the folder does not exist, or cannot be listed.
    """

    acknowledges = False

    def __init__(self, pattern: str, options: InputOptions) -> None:
        self._pattern = pattern if "://" in pattern else os.path.abspath(pattern)
        self._options = options
        self.source_id = f"watch:{self._pattern}"
        self._filesystem, self._glob = _open(self._pattern)
        self._folder = _fixed_part(self._glob)
        if not pattern or not glob.has_magic(self._glob):
            hint = os.path.join(pattern, "*.jsonl")
            raise UsageError(
                f"source watch:{pattern} has no * in it; name the files of a folder by a glob, such"
                f" as 'watch:{hint}'"
            )
        self._check_folder()
        self._marks: dict[str, Mark] = {}
        self._forgotten: set[str] = set()
        self._next = 0
        self._seen: dict[str, tuple[str, float]] = {}  # version, and since when it is known
        self._waiting: list[_Version] = []
        self._listed = float("-inf")
        self._list_seconds = 0.0
        self._reading: _Reading | None = None
        self._warned: set[str] = set()

    def _check_folder(self) -> None:
        try:
            found = self._filesystem.isdir(self._folder)
        except Exception as error:  # clients of stores have errors of their own
            raise SourceUnavailable(
                f"source {self.source_id}: its folder {self._folder} cannot be listed: {error};"
                " check the URL, the credentials and the network"
            ) from error
        if not found:
            raise SourceUnavailable(
                f"source {self.source_id}: its folder {self._folder} does not exist; create it,"
                " or check the path and the quotes"
            )

    def start(self, positions: Mapping[str, int], marks: Mapping[str, Mark]) -> dict[str, int]:
        """Go on after the files that are marked."""
        self._marks = dict(marks)
        self._next = positions.get(FILES, 0)
        return {FILES: self._next}

    def fill(self, batch: StreamBatch, limits: BatchLimits, seconds: float) -> bool:
        """Add the records of files that are ready within so many seconds."""
        until = time.monotonic() + seconds
        came = False
        while not batch.is_full(limits):
            if self._reading is None and not self._begin():
                left = until - time.monotonic()
                if came or left <= 0:
                    break
                time.sleep(min(left, 0.1))
                continue
            came |= self._read_piece(batch, limits)
            if time.monotonic() >= until:
                break
        return came

    def committed(self) -> None:
        """There is nothing to tell a folder."""

    def lag(self) -> Lag:
        """Count the files that wait, the one being read included."""
        waiting = [*self._waiting, *([self._reading.version] if self._reading else [])]
        if not waiting:
            return Lag()
        oldest = min(version.changed for version in waiting)
        return Lag(len(waiting), max(0.0, time.time() - oldest))

    def close(self) -> None:
        """Close the file being read."""
        self._reading = None

    def _begin(self) -> bool:
        """Open the next file that is ready; returns whether there is one."""
        now = time.monotonic()
        if now - self._listed >= max(LIST_SECONDS, 10 * self._list_seconds):
            self._list(now)
        for version in self._waiting:
            known, since = self._seen[version.file.uri]
            # Not the file's own time: clocks jump, and other machines have others.
            if known == version.version and now - since >= QUIET_SECONDS:
                self._waiting.remove(version)
                mark = self._marks.get(version.file.uri)
                start = mark.position if mark and mark.value == version.version else 0
                self._reading = _Reading(version, _messages(version.file, self._options, start))
                return True
        return False

    def _list(self, now: float) -> None:
        self._check_folder()
        found = {version.file.uri: version for version in self._versions()}
        self._listed = time.monotonic()
        self._list_seconds = self._listed - now
        for uri, version in found.items():
            if self._seen.get(uri, ("",))[0] != version.version:
                self._seen[uri] = (version.version, now)
        for uri in self._seen.keys() - found.keys():
            del self._seen[uri]
        self._forgotten = self._marks.keys() - found.keys()
        current = self._reading.version.file.uri if self._reading else None
        self._waiting = sorted(
            (v for uri, v in found.items() if uri != current and not self._is_read(v)),
            # Of what was seen together the older first; else as it was seen: clocks jump.
            key=lambda v: (self._seen[v.file.uri][1], v.changed, v.file.uri),
        )

    def _is_read(self, version: _Version) -> bool:
        mark = self._marks.get(version.file.uri)
        return mark is not None and mark.value == version.version and mark.position == WHOLE

    def _versions(self) -> Iterator[_Version]:
        if "://" in self._pattern:
            self._filesystem.invalidate_cache()
            names = self._filesystem.glob(self._glob)
            uris = [self._filesystem.unstrip_protocol(name) for name in names]
        else:
            uris = glob.glob(self._glob, recursive=True)
        for uri in uris:
            version = self._version_of(uri)
            if version is not None:
                yield version

    def _version_of(self, uri: str) -> _Version | None:
        file_format = _format_of(uri)
        try:
            info = self._filesystem.info(_path(self._filesystem, uri))
            stamp = _stamp(uri, info)
        except FileNotFoundError:  # removed since it was listed
            return None
        if info.get("type") == "directory":
            return None
        if file_format is None:
            self._warn(uri, f"its name does not say what it is ({', '.join(FORMATS)})")
            return None
        if "://" not in uri and not os.access(uri, os.R_OK):
            self._warn(uri, "it cannot be read; check its permissions")
            return None
        size = info.get("size")
        file = InputFile(uri, file_format, compression_of(uri), None if size is None else int(size))
        return _Version(file, *stamp)

    def _warn(self, uri: str, why: str) -> None:
        if uri not in self._warned:
            self._warned.add(uri)
            logger.warning("file %s is skipped: %s", uri, why)

    def _read_piece(self, batch: StreamBatch, limits: BatchLimits) -> bool:
        """Read from the open file until the batch is full; returns whether anything counts."""
        reading = self._reading
        assert reading is not None
        uri, version = reading.version.file.uri, reading.version.version
        piece: list[tuple[Message, int]] = []
        records, size = len(batch.records), batch.bytes
        position, ended = WHOLE, True
        for message in reading.messages:
            piece.append((message, size_of(message)))
            position = message.position + 1
            size += piece[-1][1]
            if records + len(piece) >= limits.records or size >= limits.bytes:
                ended = False
                break
        if ended:
            position, self._reading = WHOLE, None
        now = self._version_of(uri)
        if now is None or now.version != version:
            self._reading = None
            self._seen.pop(uri, None)
            self._listed = float("-inf")
            logger.info("file %s changed while it was read; it is read again", uri)
            return False
        for message, size in piece:
            batch.add(message, size)
        batch.cover(FILES, self._next, self._next + 1)
        self._next += 1
        self._marks[uri] = batch.marks[uri] = Mark(version, position)
        for gone in self._forgotten:
            self._marks.pop(gone, None)
            batch.marks[gone] = Mark("")
        self._forgotten = set()
        return True


def _messages(file: InputFile, options: InputOptions, start: int) -> Iterator[Message]:
    """Yield the records of a file from a position on."""
    if file.format == "jsonl":
        return json_messages(file, options, start)
    if file.format == "parquet":
        return scan(file, options, start)
    # Where rows of CSV begin is known only from the beginning.
    return itertools.dropwhile(lambda record: record.position < start, scan(file, options))


def json_messages(file: InputFile, options: InputOptions, start: int) -> Iterator[Message]:
    position = start
    try:
        with open_bytes(file) as stream:
            first = 0 if file.compression else start
            for message in scan_lines(file, options, stream, first, None, message_from_line):
                position = message.position
                if position >= start:
                    yield message
    except (*DAMAGE, pa.ArrowException) as error:
        detail = f"the file cannot be read beyond {record_place(file.uri, position)}: {error}"
        yield Reject(file.uri, position, READ, "damaged-file", detail)


def _stamp(uri: str, info: Mapping[str, Any]) -> tuple[str, float]:
    """Return what tells one version of a file from the next, and when it was made."""
    changed = info.get("mtime", info.get("LastModified", info.get("updated", info.get("created"))))
    seconds = changed.timestamp() if hasattr(changed, "timestamp") else _number(changed)
    for name in ("ETag", "etag", "generation", "md5Hash"):
        if info.get(name):
            return str(info[name]), seconds
    if "://" not in uri:
        status = os.stat(uri)
        return f"{status.st_mtime_ns}-{status.st_size}-{status.st_ino}", status.st_mtime
    return f"{changed}-{info.get('size')}", seconds


def _number(value: Any) -> float:
    return float(value) if isinstance(value, int | float) else 0.0


def _format_of(uri: str) -> str | None:
    bare = uri.lower().partition("?")[0] if "://" in uri else uri.lower()
    compression = compression_of(uri)
    suffix = os.path.splitext(bare.removesuffix(compression))[1]
    return None if suffix == ".parquet" and compression else FORMATS.get(suffix)


def _open(pattern: str) -> tuple[Any, str]:
    try:
        return url_to_fs(pattern) if "://" in pattern else url_to_fs(f"file://{pattern}")
    except (ImportError, ValueError) as error:
        raise UsageError(f"source watch:{pattern} cannot be opened: {error}") from error


def _path(filesystem: Any, uri: str) -> str:
    return filesystem._strip_protocol(uri) if "://" in uri else uri


def _fixed_part(pattern: str) -> str:
    """Return the folder above the first part of a path that has a * in it."""
    parts = pattern.split("/")
    fixed = list(itertools.takewhile(lambda part: not glob.has_magic(part), parts))
    return "/".join(fixed[: len(parts) - 1]) or "/"
