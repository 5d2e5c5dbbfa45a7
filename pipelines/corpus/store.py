"""A directory at any fsspec URL: list, read, write and rename the files of a corpus."""

import contextlib
import os
import posixpath
from collections.abc import Iterator
from typing import IO, Any

from fsspec.core import url_to_fs

from pipelines.corpus.atomic_files import (
    atomic_primitive,
    create_exclusive,
    is_local,
    temporary_name,
)
from pipelines.errors import CorpusError


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
        except Exception as error:  # each store's client has its own
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
        """Return the filesystem's own name of a relative path.

        Raises:
          CorpusError: if it leads, or a link in it leads, out of the corpus.
        """
        if not path:
            return self.base
        if {"", ".", ".."} & set(path.split("/")) or "\0" in path:
            raise CorpusError(
                f"a manifest of {self.url} names the file {path!r}; expected a path inside the"
                " corpus"
            )
        full = posixpath.join(self.base, path)
        if is_local(self.fs):
            real, base = os.path.realpath(full), os.path.realpath(self.base)
            if not real.startswith(base.rstrip("/") + "/"):
                raise CorpusError(
                    f"{full} is a link to {real}, outside of the corpus; put the file itself in"
                    " place of the link"
                )
        return full

    def _file_to_read(self, path: str) -> str:
        full = self.full(path)
        # A pipe or a device would never end.
        if is_local(self.fs) and os.path.exists(full) and not os.path.isfile(full):
            raise CorpusError(f"{full} is not a regular file; a corpus holds only regular files")
        return full

    def open(self, path: str, mode: str = "rb") -> IO[bytes]:
        """Open a file; parents are made when writing."""
        if "r" in mode:
            return self.fs.open(self._file_to_read(path), mode)
        full = self.full(path)
        self.fs.makedirs(posixpath.dirname(full), exist_ok=True)
        return self.fs.open(full, mode)

    def read(self, path: str) -> bytes:
        """Return the bytes of a small file."""
        return bytes(self.fs.cat_file(self._file_to_read(path)))

    def exists(self, path: str) -> bool:
        """Say whether a file or directory is there now."""
        self.fs.invalidate_cache()
        return bool(self.fs.exists(self.full(path)))

    def size(self, path: str) -> int:
        """Return a file's size in bytes."""
        self.fs.invalidate_cache()
        return int(self.fs.info(self.full(path))["size"])

    def names(self, directory: str) -> list[str]:
        """Return the sorted names of what is directly in a directory; none if it is missing.

        Raises:
          CorpusError: if it is a file, or may not be listed.
        """
        self.fs.invalidate_cache()
        try:
            entries = self.fs.ls(self.full(directory), detail=False)
        except FileNotFoundError:
            return []
        except NotADirectoryError as error:
            raise CorpusError(f"{self.url} is a file; a corpus is a directory") from error
        except PermissionError as error:
            raise self._denied("be listed", error) from error
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
        """Create a file at once and whole, or raise FileExistsError and change nothing.

        Raises:
          CorpusError: if the corpus may not be written.
        """
        try:
            create_exclusive(self.fs, self.full(path), data, single_writer=self.single_writer)
        except PermissionError as error:
            raise self._denied("be written", error) from error

    def _denied(self, what: str, error: PermissionError) -> CorpusError:
        """Return an error that says which rights a corpus needs; the store's own names nothing."""
        need = (
            "this user needs to read, write and remove files there"
            if is_local(self.fs)
            else "these credentials need to list the bucket, and to read, create and delete objects"
            " below that URL (roles/storage.objectAdmin; s3:ListBucket, GetObject, PutObject,"
            " DeleteObject)"
        )
        return CorpusError(f"the corpus at {self.url} cannot {what} ({error}); {need}")

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

    def remove_if_empty(self, path: str) -> None:
        """Remove a directory below which there is no file; what is put there meanwhile stays."""
        if is_local(self.fs):
            for directory, _, _ in os.walk(self.full(path), topdown=False):
                with contextlib.suppress(OSError):
                    os.rmdir(directory)

    def check_can_commit(self) -> None:
        """Raise CorpusError if this store has no atomic creation that commits could rest on."""
        if not self.single_writer:
            atomic_primitive(self.fs)


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
