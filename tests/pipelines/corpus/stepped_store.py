"""A store in memory that asks before every operation on a file."""

import io
import time
from collections.abc import Callable, Iterator
from typing import Any

from pipelines.corpus.store import Store


class Killed(BaseException):
    """The process is gone: nothing after this reaches the disk."""


class SteppedStore(Store):
    """A store in memory that asks before every operation.

    Args:
      files: bytes and time of writing, by path; shared by all that see the same disk.
      turn: called with the operation and its path before it is carried out.
      created: called with a path after it was created exclusively.
    """

    def __init__(
        self,
        files: dict[str, tuple[bytes, float]],
        turn: Callable[[str, str], None] = lambda *_: None,
        created: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.url, self.single_writer, self.fs = "stepped://corpus", False, None
        self._files, self._stop, self._created = files, turn, created
        # Called with the operation before it is carried out, and after a file was created.
        self.before: Callable[[str], None] = lambda _: None
        self.after: Callable[[], None] = lambda: None

    def _turn(self, operation: str, path: str) -> None:
        self._stop(operation, path)
        self.before(operation)

    def _put(self, path: str, data: bytes) -> None:
        self._files[path] = data, time.time()

    def _get(self, path: str) -> bytes:
        if path not in self._files:
            raise FileNotFoundError(path)
        return self._files[path][0]

    def open(self, path: str, mode: str = "rb") -> Any:
        self._turn("open", path)
        if "r" in mode:
            return io.BytesIO(self._get(path))
        self._put(path, b"")
        return _Written(self, path)

    def closed(self, path: str, data: bytes) -> None:
        """Keep what was written to a file; as on a local disk, it was there empty before."""
        self._turn("close", path)
        if path in self._files:  # a file removed while it was open is gone
            self._put(path, data)

    def read(self, path: str) -> bytes:
        self._turn("read", path)
        return self._get(path)

    def exists(self, path: str) -> bool:
        self._turn("exists", path)
        return path in self._files or any(name.startswith(f"{path}/") for name in self._files)

    def size(self, path: str) -> int:
        self._turn("size", path)
        return len(self._get(path))

    def names(self, directory: str) -> list[str]:
        self._turn("names", directory)
        prefix = f"{directory}/"
        return sorted(
            {name.removeprefix(prefix).split("/")[0] for name in self._files if prefix in name}
        )

    def files(self, directory: str = "") -> Iterator[tuple[str, int, float | None]]:
        self._turn("files", directory)
        for path in sorted(self._files):
            if not directory or path.startswith(f"{directory}/"):
                yield path, len(self._files[path][0]), self._files[path][1]

    def create_exclusive(self, path: str, data: bytes) -> None:
        self._turn("create", path)
        if path in self._files:
            raise FileExistsError(path)
        self._put(path, data)
        self._created(path)
        self.after()

    def move(self, source: str, target: str) -> None:
        self._turn("move", target)
        self._put(target, self._get(source))
        del self._files[source]
        self._created(target)
        self.after()

    def remove(self, path: str) -> None:
        self._turn("remove", path)
        self._files.pop(path, None)

    def remove_tree(self, path: str) -> None:
        self._turn("remove", path)
        for name in [name for name in self._files if name.startswith(f"{path}/")]:
            del self._files[name]

    def remove_if_empty(self, path: str) -> None:
        """There are no directories here."""

    def check_can_commit(self) -> None:
        """It can."""


class _Written(io.BytesIO):
    def __init__(self, store: SteppedStore, path: str) -> None:
        super().__init__()
        self._store, self._path = store, path

    def close(self) -> None:
        if not self.closed:
            data = self.getvalue()
            super().close()
            self._store.closed(self._path, data)
