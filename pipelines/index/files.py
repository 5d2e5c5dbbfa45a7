"""Write the files of an index atomically, named by their content."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import IO, Any

from pipelines.corpus.atomic_files import temporary_name
from pipelines.corpus.checksums import HashingWriter
from pipelines.index.format import IndexFile
from pipelines.index.parts import Build, ShardFiles


@contextmanager
def writing(build: Build, path: str) -> Iterator[IO[bytes]]:
    """Write a file whole or not at all."""
    temporary = temporary_name(path)
    try:
        with build.corpus.store.open(temporary, "wb") as file:
            yield file
        build.corpus.store.move(temporary, path)
    except BaseException:
        build.corpus.store.remove(temporary)
        raise


class FinalFile:
    """A file of the index being written; its checksum becomes part of its name."""

    def __init__(self, build: Build, name: str) -> None:
        self._store = build.corpus.store
        self._directory, self._name = build.directory, name
        self._temporary = temporary_name(f"{build.directory}/{name}")
        self._file = self._store.open(self._temporary, "wb")
        self.writer: Any = HashingWriter(self._file)

    def finish(self) -> IndexFile:
        self.writer.close()
        return name_by_content(
            self._store,
            self._temporary,
            f"{self._directory}/{self._name}",
            self.writer.sha256,
            self.writer.tell(),
        )


def name_by_content(store: Any, temporary: str, path: str, sha256: str, size: int) -> IndexFile:
    """Move a file to a name with its checksum in it: two writers never undo each other's."""
    stem, dot, suffix = path.rpartition("/")[2].partition(".")
    final = f"{path.rpartition('/')[0]}/{stem}-{sha256[:12]}{dot}{suffix}"
    store.move(temporary, final)
    return IndexFile(path=final, bytes=size, sha256=sha256)


def merge_files(parts: Iterable[ShardFiles]) -> dict[str, dict[str, IndexFile]]:
    """Gather the files of each shard."""
    merged: dict[str, dict[str, IndexFile]] = {}
    for part in parts:
        merged.setdefault(part.shard, {}).update(part.files)
    return merged
