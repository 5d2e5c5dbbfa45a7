"""Checksums of files, taken while they are written or by reading them again."""

import contextlib
import hashlib
import io
import os
from typing import IO

from pipelines.corpus.store import Store
from pipelines.errors import CorpusError
from schemas import Part


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


def check_part(store: Store, segment_id: str, part: Part) -> None:
    """Check the bytes of a segment's file, before what is read from it is written elsewhere.

    Raises:
      CorpusError: if it is missing, or not as it was written.
    """
    path = f"segments/{segment_id}/{part.path}"
    try:
        found = sha256_of(store, path)
    except FileNotFoundError as error:
        raise CorpusError(
            f"{path} of the corpus at {store.url} is missing; run: sensegrep verify --corpus"
            f" {store.url}"
        ) from error
    if found != part.sha256:
        raise CorpusError(
            f"{path} of the corpus at {store.url} has SHA-256 {found}, expected {part.sha256}: it"
            " was damaged or changed; it was not used; restore it from a backup"
        )
