"""Several writers on one corpus in memory, taking turns at every file operation.

A `Turns` runs each command in a thread of its own that stops before every operation on a file; the
test says whose turn it is. What is on the disk is looked at between the turns, against a
dictionary: which version of which document must be live.
"""

import io
import threading
from collections.abc import Callable
from dataclasses import dataclass, field

import pyarrow.parquet as pq

from pipelines.corpus import writers
from pipelines.corpus.commits import (
    CommitRefusedError,
)
from pipelines.corpus.view import CorpusView
from pipelines.index.format import read_manifest
from tests.pipelines.corpus.stepped_store import Killed, SteppedStore

Versions = dict[str, str]


@dataclass(eq=False)
class Worker:
    """A command under way.

    Attributes:
      name: what it does.
      expected: what its next commit does to documents: the version that must be live before (it
        may have been deleted since), and the one after; None if no commit is due.
      writers: ids under which it said that it runs.
    """

    name: str
    run: Callable[["Worker", SteppedStore], None]
    expected: dict[str, tuple[str | None, str | None]] | None = None
    writers: set[str] = field(default_factory=set)
    error: BaseException | None = None
    done: bool = False
    killed: bool = False
    given_up: bool = False

    def __post_init__(self) -> None:
        self._next = ("", "")
        self._go, self._stopped = threading.Semaphore(0), threading.Semaphore(0)

    def start(self, store: SteppedStore) -> None:
        """Begin; the first operation waits for its turn."""

        def body() -> None:
            try:
                self._wait()
                self.run(self, store)
            except BaseException as error:
                self.error = error
            finally:
                self.done = True
                self._stopped.release()

        threading.Thread(target=body, daemon=True).start()
        self._stopped.acquire()

    def _wait(self) -> None:
        self._stopped.release()
        self._go.acquire()
        if self.killed:
            raise Killed

    def turn(self, operation: str, path: str) -> None:
        """Stop before an operation until it is our turn."""
        if self.killed:
            raise Killed
        self._next = operation, path
        self._wait()

    def is_before(self, operation: str, top: str) -> bool:
        """Say whether the next operation is of a kind, on a path that begins so."""
        return self._next[0] == operation and self._next[1].startswith(top)

    def step(self, operations: int = 1) -> None:
        """Carry out so many operations."""
        for _ in range(operations):
            if self.done:
                return
            self._go.release()
            self._stopped.acquire()

    def kill(self) -> None:
        """End it; nothing it does from now on reaches the disk."""
        if not self.done:
            self.killed = True
            self.step()


class Turns:
    """A corpus, the writers at work on it, and what must be live in it.

    Attributes:
      live: the dictionary: the version of each document that must be live.
      buried: versions that were live and are not.
      workers: all that ever began.
    """

    def __init__(self) -> None:
        self._files: dict[str, tuple[bytes, float]] = {}
        self.live: Versions = {}
        self.buried: set[tuple[str, str]] = set()
        self.workers: list[Worker] = []
        self.faults: list[str] = []
        self._seen = 0
        self._is_running = writers.is_running
        writers.is_running = self._tell_running

    def close(self) -> None:
        """End all that is under way."""
        for worker in self.workers:
            worker.kill()
        writers.is_running = self._is_running

    def _tell_running(self, writer: writers.Writer, _: float | None) -> bool:
        owners = [w for w in self.workers if writer.writer_id in w.writers]
        return any(not (w.killed or w.given_up or w.done) for w in owners)

    def begin(self, name: str, run: Callable[[Worker, SteppedStore], None]) -> Worker:
        """Begin a command."""
        worker = Worker(name, run)
        self.workers.append(worker)

        def created(path: str) -> None:
            if path.startswith("snapshots/"):
                self._committed(worker, int(path[10:18]))
            if path.startswith("writers/"):
                worker.writers.add(path.rpartition("/")[2].removesuffix(".json"))

        worker.start(SteppedStore(self._files, worker.turn, created))
        return worker

    def finish(self, worker: Worker) -> None:
        """Let a command go on to its end."""
        while not worker.done:
            self.step(worker, 1)

    def step(self, worker: Worker, operations: int) -> None:
        """Let a command carry out some operations; what is on the disk is checked in between."""
        for _ in range(operations):
            if worker.done:
                break
            before = self._files.keys() - set()
            worker.step()
            if any(_matters(path) for path in before ^ self._files.keys()):
                self.check()
        if worker.done:
            self._check_end(worker)

    def go_to(self, worker: Worker, operation: str, top: str) -> None:
        """Let a command go on until it is about to do something; to its end if it never does."""
        self.step(worker, 1)
        while not worker.done and not worker.is_before(operation, top):
            self.step(worker, 1)

    def run(self, name: str, run: Callable[[Worker, SteppedStore], None]) -> Worker:
        """Run a command from beginning to end."""
        worker = self.begin(name, run)
        self.finish(worker)
        return worker

    def _committed(self, worker: Worker, number: int) -> None:
        if number <= self._seen:
            return  # into a hole that a vacuum left: it is not the newest
        self._seen = number
        for doc_id, (known, version) in (worker.expected or {}).items():
            before = self.live.pop(doc_id, None)
            if before not in (None, known) and version is not None:
                self.faults.append(f"{worker.name} overwrote {doc_id} {before}, but knew {known}")
            if before is not None:
                self.buried.add((doc_id, before))
            if version is not None:
                self.live[doc_id] = version
        worker.expected = None

    def _check_end(self, worker: Worker) -> None:
        if worker.killed:
            return
        if worker.error is not None:
            allowed = isinstance(worker.error, CommitRefusedError) or worker.given_up
            if not allowed:
                raise AssertionError(f"{worker.name} failed: {worker.error!r}") from worker.error
            if "another writer has committed" not in str(worker.error) and not worker.given_up:
                raise AssertionError(f"{worker.name}: {worker.error}") from worker.error
        elif worker.expected:
            raise AssertionError(f"{worker.name} ended well, but {worker.expected} is lost")

    def check(self) -> None:
        """Check that what the newest snapshot names is there, and that the right rows are live."""
        assert not self.faults, self.faults
        corpus = CorpusView.newest(SteppedStore(self._files))
        found: dict[str, list[str]] = {}
        for segment in corpus.segments:
            for parts in segment.parts.values():
                for part in parts:
                    path = f"segments/{segment.segment_id}/{part.path}"
                    assert path in self._files, f"{path} is lost"
            for batch in corpus.read("documents", ["doc_id", "sha256"], [segment.segment_id]):
                for row in batch.to_pylist():
                    found.setdefault(row["doc_id"], []).append(row["sha256"])
        assert found == {doc_id: [version] for doc_id, version in self.live.items()}
        if corpus.snapshot.index is not None:
            for file in read_manifest(corpus.store, corpus.snapshot.index).files():
                assert file.path in self._files, f"{file.path} is lost"

    def on_disk(self) -> set[tuple[str, str]]:
        """Return (doc_id, version) of every row of documents in any file."""
        found: set[tuple[str, str]] = set()
        for path, (data, _) in self._files.items():
            if "/documents/part-" in path and data:
                table = pq.read_table(io.BytesIO(data), columns=["doc_id", "sha256"])
                found |= {(row["doc_id"], row["sha256"]) for row in table.to_pylist()}
        return found

    def paths(self) -> list[str]:
        """Return the paths of all files."""
        return sorted(self._files)


def _matters(path: str) -> bool:
    return ".tmp-" not in path and not path.startswith("writers/")


# --- commands ----------------------------------------------------------------------------------
