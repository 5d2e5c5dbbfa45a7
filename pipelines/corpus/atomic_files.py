"""Create files atomically on any store; commits rely on this.

Of several writers exactly one creates a given path, and nobody ever sees a part of it. How each
store does it:

  local     write a temporary file, fsync, hard-link it to the final name (link refuses to replace)
  memory    a lock and an existence check; one process only, as the store itself is
  s3, gs    a conditional put (If-None-Match: *, ifGenerationMatch=0)
  others    refused, unless the caller promises to be the only writer (single_writer)
"""

import contextlib
import errno
import inspect
import os
import posixpath
import threading
import uuid

import fsspec

from pipelines.errors import CorpusError

LOCAL_PROTOCOLS = frozenset({"file", "local"})


CONDITIONAL_PUT_PROTOCOLS = frozenset({"s3", "s3a", "gs", "gcs"})

# What systems answer where a filesystem has no hard links.
NO_LINKS = frozenset(
    {errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EACCES}
)


_memory_lock = threading.Lock()


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


def temporary_name(path: str) -> str:
    """Return a name beside `path` that no other attempt uses; `is_temporary` knows it again."""
    directory, name = posixpath.split(path)
    return posixpath.join(directory, f".tmp-{uuid.uuid4().hex}-{name}")


def is_temporary(path: str) -> bool:
    """Say whether a path was made by `temporary_name`."""
    return posixpath.basename(path).startswith(".tmp-")


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
            if error.errno not in NO_LINKS:
                raise  # the disk is full or broken, which no option mends
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
