"""List the input files, and open them.

A file's name says its format (.txt .jsonl .ndjson .csv .tsv .parquet) and its compression
(.gz .zst .xz .bz2). `-` is JSON lines from standard input.
"""

import glob
import os
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from typing import IO, Any
from urllib.parse import unquote

from fsspec.core import url_to_fs
from fsspec.implementations.local import LocalFileSystem

from pipelines.errors import UsageError
from pipelines.reading.decompression import compression_of, decompressed
from pipelines.reading.encodings import as_utf8

STDIN = "-"
FORMATS = {
    ".txt": "txt",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".csv": "csv",
    ".tsv": "tsv",
    ".parquet": "parquet",
}


@dataclass(frozen=True, slots=True)
class InputFile:
    """One file of the input.

    Attributes:
      uri: its one name, however it was given: of a local file the absolute path, links followed;
        part of ids that records lack.
      format: one of the values of FORMATS.
      compression: suffix such as .gz, or empty.
      size: bytes as stored, None where unknown (standard input).
      given: as the user gave it, or as the glob found it.
    """

    uri: str
    format: str
    compression: str = ""
    size: int | None = None
    given: str = ""

    @property
    def seekable(self) -> bool:
        """Whether records can be read again from their positions."""
        return not self.compression and self.uri != STDIN


def find_inputs(patterns: Iterable[str]) -> list[InputFile]:
    """Return the files that paths, globs and fsspec URLs name, in the order given.

    Raises:
      UsageError: if there is no input, a file's name does not say its format, or it is a directory.
      FileNotFoundError: if a file is not there or a glob matches nothing.
    """
    found = [file for pattern in patterns for file in _find(pattern)]
    if not found:
        raise UsageError("no input was given; name files, globs or URLs, or - for standard input")
    if sum(file.uri == STDIN for file in found) > 1:
        raise UsageError("standard input (-) is given twice, but can be read only once")
    return found


def open_bytes(file: InputFile) -> IO[bytes]:
    """Open a file for buffered reading, decompressed; text in UTF-16 with its mark as UTF-8.

    Raises:
      OSError: if it cannot be opened.
    """
    if file.uri == STDIN:
        return as_utf8(sys.stdin.buffer)
    filesystem, path = _filesystem(file.uri)
    raw = filesystem.open(path, "rb")
    stream = decompressed(raw, file.compression) if file.compression else raw
    return stream if file.format == "parquet" else as_utf8(stream)


def _find(pattern: str) -> list[InputFile]:
    if pattern == STDIN:
        return [InputFile(STDIN, "jsonl")]
    pattern = _local_path(pattern)
    if not glob.has_magic(pattern) or _is_file(pattern) or _is_there(pattern):
        return [_describe(pattern)]
    if "://" in pattern:
        filesystem, path = _filesystem(pattern)
        matches = [filesystem.unstrip_protocol(match) for match in filesystem.glob(path)]
    else:
        matches = [match for match in glob.glob(pattern, recursive=True) if os.path.isfile(match)]
    if not matches:
        raise FileNotFoundError(
            f"no file matches {pattern!r}; check the path, and that the quotes are around the"
            " whole pattern"
        )
    return [_describe(match) for match in sorted(matches)]


def _local_path(uri: str) -> str:
    """Return the path that a file:// URL names, with %20 and the like as they are meant."""
    if not uri.lower().startswith("file://"):
        return uri
    path = uri[len("file://") :]
    path = path.removeprefix("localhost") if path.startswith("localhost/") else path
    decoded = unquote(path)
    return decoded if os.path.exists(decoded) or not os.path.exists(path) else path


def _is_there(uri: str) -> bool:
    """Say whether a URL that looks like a glob names a file as it is."""
    if "://" not in uri:
        return False
    filesystem, path = _filesystem(uri)
    return bool(filesystem.exists(path))


def _is_file(uri: str) -> bool:
    return "://" not in uri and os.path.isfile(uri)


def _describe(uri: str) -> InputFile:
    bare = uri.lower().partition("?")[0] if "://" in uri else uri.lower()
    compression = compression_of(uri)
    suffix = os.path.splitext(bare.removesuffix(compression))[1]
    filesystem, path = _filesystem(uri)
    try:
        info = filesystem.info(path)
    except FileNotFoundError as error:
        reason = error.__cause__
        if reason is None or isinstance(reason, FileNotFoundError) or "://" not in uri:
            raise FileNotFoundError(f"input file {uri} does not exist; check the path") from None
        # fsspec's HTTP says this of a host that does not answer, too.
        raise OSError(f"input file {uri} cannot be reached: {reason}") from error
    except OSError as error:
        raise OSError(f"input file {uri} cannot be read: {error}") from error
    if info.get("type") == "directory":
        raise UsageError(f"input {uri} is a directory; name its files, as in '{uri}/*.jsonl'")
    if _is_file(uri) and not os.access(uri, os.R_OK):
        raise PermissionError(f"input file {uri} cannot be read; check its permissions")
    if suffix not in FORMATS:
        raise UsageError(
            f"input {uri} has a name without a known suffix; expected one of"
            f" {', '.join(FORMATS)}, each also with .gz, .zst, .xz or .bz2"
        )
    if suffix == ".parquet" and compression:
        raise UsageError(
            f"input {uri}: Parquet files have their own compression; decompress the"
            f" {compression} first"
        )
    size = info.get("size")
    name = uri if "://" in uri else os.path.realpath(uri)
    return InputFile(
        name, FORMATS[suffix], compression, None if size is None else int(size), given=uri
    )


def _filesystem(uri: str) -> tuple[Any, str]:
    if "://" not in uri:  # a path, though it may have the :: in it that joins fsspec's URLs
        return LocalFileSystem(), uri
    try:
        return url_to_fs(uri)
    except Exception as error:  # each store's client has its own
        words = (str(error).splitlines() or [type(error).__name__])[0]
        raise UsageError(f"input {uri} cannot be opened: {words}") from error
