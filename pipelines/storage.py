"""Files of a corpus on any fsspec URL: listing, reading, and the atomic creation of a file.

`create_exclusive` is the one primitive that commits rest on: of several writers exactly one
creates a given path, and nobody ever sees a part of it. How each store does it:

  local     write a temporary file, fsync, hard-link it to the final name (link refuses to replace)
  memory    a lock and an existence check; one process only, as the store itself is
  s3, gs    a conditional put (If-None-Match: *, ifGenerationMatch=0)
  others    refused, unless the caller promises to be the only writer (single_writer)
"""

import contextlib
import errno
import hashlib
import inspect
import io
import os
import posixpath
import threading
import uuid
from collections.abc import Iterator
from typing import IO, Any

import fsspec
from fsspec.core import url_to_fs

from pipelines.errors import CorpusError

LOCAL_PROTOCOLS = frozenset({"file", "local"})
CONDITIONAL_PUT_PROTOCOLS = frozenset({"s3", "s3a", "gs", "gcs"})
_memory_lock = threading.Lock()


class Store:
    """A directory on an fsspec URL; every path given to it is relative to that directory.

    It may be pickled to workers; the filesystem is opened again there.

    Args:
      url: a path or an fsspec URL.
      single_writer: the caller promises that nobody else writes, so that stores without an
        atomic creation may be written too.
    """

    def __init__(self, url: str | os.PathLike[str], *, single_writer: bool = False) -> None:
        self.url = os.fspath(url)
        self.single_writer = single_writer
        self._open()

    def _open(self) -> None:
        try:
            self.fs, base = url_to_fs(self.url)
        except (ImportError, ValueError, OSError) as error:
            raise CorpusError(f"cannot open {self.url}: {error}") from error
        self.base = base.rstrip("/") or "/"

    def __getstate__(self) -> dict[str, Any]:
        return {"url": self.url, "single_writer": self.single_writer}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._open()

    def __repr__(self) -> str:
        return f"Store({self.url!r})"

    def full(self, path: str) -> str:
        """Return the filesystem's own name of a relative path."""
        return posixpath.join(self.base, path) if path else self.base

    def open(self, path: str, mode: str = "rb") -> IO[bytes]:
        """Open a file; parents are made when writing."""
        full = self.full(path)
        if "r" not in mode:
            self.fs.makedirs(posixpath.dirname(full), exist_ok=True)
        return self.fs.open(full, mode)

    def read(self, path: str) -> bytes:
        """Return the bytes of a small file."""
        return bytes(self.fs.cat_file(self.full(path)))

    def exists(self, path: str) -> bool:
        """Say whether a file or directory is there now."""
        self.fs.invalidate_cache()
        return bool(self.fs.exists(self.full(path)))

    def size(self, path: str) -> int:
        """Return a file's size in bytes."""
        self.fs.invalidate_cache()
        return int(self.fs.info(self.full(path))["size"])

    def names(self, directory: str) -> list[str]:
        """Return the sorted names of what is directly in a directory; none if it is missing."""
        self.fs.invalidate_cache()
        try:
            entries = self.fs.ls(self.full(directory), detail=False)
        except FileNotFoundError:
            return []
        except NotADirectoryError as error:
            raise CorpusError(f"{self.url} is a file; a corpus is a directory") from error
        return sorted(posixpath.basename(entry.rstrip("/")) for entry in entries)

    def files(self, directory: str = "") -> Iterator[tuple[str, int, float | None]]:
        """Yield (path, bytes, modification time in seconds or None) of every file below."""
        self.fs.invalidate_cache()
        prefix = self.full("").rstrip("/") + "/"
        for full, info in sorted(self.fs.find(self.full(directory), detail=True).items()):
            changed = info.get("mtime", info.get("LastModified", info.get("created")))
            if changed is not None and not isinstance(changed, int | float):
                changed = changed.timestamp()
            path = full[len(prefix) :] if full.startswith(prefix) else full
            yield path, int(info["size"]), changed

    def create_exclusive(self, path: str, data: bytes) -> None:
        """Create a file at once and whole, or raise FileExistsError and change nothing."""
        create_exclusive(self.fs, self.full(path), data, single_writer=self.single_writer)

    def move(self, source: str, target: str) -> None:
        """Rename a file, replacing the target; atomic on a local disk."""
        full = self.full(target)
        self.fs.makedirs(posixpath.dirname(full), exist_ok=True)
        if is_local(self.fs):
            os.replace(self.full(source), full)
        else:
            self.fs.mv(self.full(source), full)

    def remove(self, path: str) -> None:
        """Remove a file if it is there."""
        with contextlib.suppress(FileNotFoundError):
            self.fs.rm_file(self.full(path))

    def remove_tree(self, path: str) -> None:
        """Remove a directory and all below it, if it is there."""
        with contextlib.suppress(FileNotFoundError):
            self.fs.rm(self.full(path), recursive=True)

    def check_can_commit(self) -> None:
        """Raise CorpusError if this store has no atomic creation that commits could rest on."""
        if not self.single_writer:
            atomic_primitive(self.fs)


def is_local(fs: fsspec.AbstractFileSystem) -> bool:
    """Say whether a filesystem is this machine's own."""
    return not LOCAL_PROTOCOLS.isdisjoint(_protocols(fs))


def atomic_primitive(fs: fsspec.AbstractFileSystem) -> str:
    """Name the atomic creation of a store: link, lock or conditional-put.

    Raises:
      CorpusError: if the store offers none; the message says what to do.
    """
    protocols = _protocols(fs)
    if is_local(fs):
        return "link"
    if "memory" in protocols:
        return "lock"
    # An s3fs or gcsfs without the argument would ignore it and overwrite.
    put = getattr(fs, "_pipe_file", fs.pipe_file)
    if not CONDITIONAL_PUT_PROTOCOLS.isdisjoint(protocols):
        if "mode" in inspect.signature(put).parameters:
            return "conditional-put"
        raise CorpusError(
            f"this version of the {protocols[0]} filesystem has no conditional put, so two writers"
            " could overwrite each other; upgrade s3fs or gcsfs to 2025.3 or newer, or give"
            " --single-writer if nobody else writes to this corpus"
        )
    raise CorpusError(
        f"a corpus on {protocols[0]}:// cannot be written safely: the store has no atomic creation,"
        " so two writers could overwrite each other; give --single-writer if nobody else writes"
        " to this corpus"
    )


def create_exclusive(
    fs: fsspec.AbstractFileSystem, path: str, data: bytes, *, single_writer: bool = False
) -> None:
    """Create `path` with `data`, whole and at once.

    Raises:
      FileExistsError: if the path is there already, whoever made it.
      CorpusError: if the store has no atomic creation and single_writer was not promised.
    """
    primitive = "none" if single_writer and not is_local(fs) else atomic_primitive(fs)
    if primitive == "link":
        _link_exclusive(path, data, single_writer)
    elif primitive == "lock":
        with _memory_lock:
            _put_if_absent(fs, path, data)
    elif primitive == "conditional-put":
        try:
            fs.pipe_file(path, data, mode="create")
        except OSError as error:
            # What S3 says while another conditional put of the same name is under way.
            if "ConditionalRequestConflict" in str(error.__cause__):
                raise FileExistsError(errno.EEXIST, "is being created", path) from error
            raise
    else:
        _put_if_absent(fs, path, data)


def write_then_commit(store: Store, path: str, data: bytes) -> None:
    """Write a file under a temporary name and rename it, so that readers see all or nothing."""
    temporary = temporary_name(path)
    try:
        with store.open(temporary, "wb") as file:
            file.write(data)
        store.move(temporary, path)
    except BaseException:
        store.remove(temporary)
        raise


def temporary_name(path: str) -> str:
    """Return a name beside `path` that no other attempt uses; `is_temporary` knows it again."""
    directory, name = posixpath.split(path)
    return posixpath.join(directory, f".tmp-{uuid.uuid4().hex}-{name}")


def is_temporary(path: str) -> bool:
    """Say whether a path was made by `temporary_name`."""
    return posixpath.basename(path).startswith(".tmp-")


class HashingWriter:
    """A binary file that counts and hashes what passes through it to another one."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._hash = hashlib.sha256()
        self._bytes = 0

    @property
    def closed(self) -> bool:
        """Whether the file beneath is closed."""
        return self._file.closed

    @property
    def sha256(self) -> str:
        """The hash of everything written, hex."""
        return self._hash.hexdigest()

    def write(self, data: bytes) -> int:
        """Write, count and hash."""
        self._hash.update(data)
        self._bytes += memoryview(data).nbytes
        self._file.write(data)
        return memoryview(data).nbytes

    def tell(self) -> int:
        """Return the number of bytes written."""
        return self._bytes

    def flush(self) -> None:
        """Flush the file beneath."""
        self._file.flush()

    def close(self) -> None:
        """Close the file beneath; on a local disk its bytes are on the disk afterwards."""
        if self._file.closed:
            return
        self._file.flush()
        with contextlib.suppress(AttributeError, io.UnsupportedOperation):  # not a local file
            os.fsync(self._file.fileno())
        self._file.close()


def sha256_of(store: Store, path: str) -> str:
    """Return the hex SHA-256 of a file's bytes."""
    digest = hashlib.sha256()
    with store.open(path) as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _protocols(fs: fsspec.AbstractFileSystem) -> tuple[str, ...]:
    protocol = fs.protocol
    return (protocol,) if isinstance(protocol, str) else tuple(protocol)


def _put_if_absent(fs: fsspec.AbstractFileSystem, path: str, data: bytes) -> None:
    fs.invalidate_cache()
    if fs.exists(path):
        raise FileExistsError(errno.EEXIST, "already exists", path)
    fs.makedirs(posixpath.dirname(path), exist_ok=True)
    fs.pipe_file(path, data)


def _link_exclusive(path: str, data: bytes, single_writer: bool) -> None:
    directory = os.path.dirname(path)
    os.makedirs(directory, exist_ok=True)
    temporary = temporary_name(path)
    try:
        with open(temporary, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(temporary, path)
        except FileExistsError:
            raise
        except OSError as error:
            if os.path.exists(path):
                raise FileExistsError(errno.EEXIST, "already exists", path) from error
            if not single_writer:
                raise CorpusError(
                    f"cannot create {path} atomically: this filesystem has no hard links ({error});"
                    " give --single-writer if nobody else writes to this corpus"
                ) from error
            os.replace(temporary, path)
        _sync_directory(directory)
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)


def _sync_directory(directory: str) -> None:
    # Without this a power cut can forget the new name although the bytes are on the disk.
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
