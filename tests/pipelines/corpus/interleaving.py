"""Several writers on one corpus in memory, taking turns at every file operation.

A `Turns` runs each command in a thread of its own that stops before every operation on a file; the
test says whose turn it is. What is on the disk is looked at between the turns, against a
dictionary: which version of which document must be live.
"""

import hashlib
import io
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.corpus import writers
from pipelines.corpus.commits import (
    Change,
    CommitRefusedError,
    commit,
    commit_index,
    committed_numbers,
    reserve_segment,
)
from pipelines.corpus.number_ranges import add_numbers
from pipelines.corpus.segment_files import COUNTS, write_manifest
from pipelines.corpus.store import Store
from pipelines.corpus.view import CorpusView
from pipelines.errors import CorpusError
from pipelines.index.format import IndexFile, IndexManifest, manifest_path, read_manifest
from pipelines.maintenance.compact import LazyTable, compact, groups_to_compact
from pipelines.maintenance.delete import delete, find_documents, purge
from pipelines.maintenance.vacuum import vacuum
from schemas import Part, Segment, first_vector_id, table_schema

DIM = 2
TABLES = ("sentences", "tokens")
MEASURED: dict[str, Any] = {
    "factory": "SQfp16",
    "effort": 0,
    "rerank": 1,
    "rows": 0,
    "fitted_rows": 0,
    "held_out": {"share": 0.0, "seed": 0},
    "trained": None,
    "recall_at_10": 1.0,
    "recall_bound": 1.0,
    "recall_queries": 0,
}
Versions = dict[str, str]


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
            if "another writer committed" not in str(worker.error) and not worker.given_up:
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


def embed(documents: Mapping[str, str], slice_documents: int = 1) -> Any:
    """Embed as the local job does: planned once, committed slice after slice."""

    def run(worker: Worker, store: SteppedStore) -> None:
        with writers.running_writer(store, "embed") as writer:
            corpus = CorpusView.newest(store)
            known = committed_numbers(corpus.snapshot, corpus.segments)
            live = {
                row["doc_id"]: (segment.segment_id, row["sha256"])
                for segment in corpus.segments
                for batch in corpus.read("documents", ["doc_id", "sha256"], [segment.segment_id])
                for row in batch.to_pylist()
            }
            chosen = [i for i, v in documents.items() if live.get(i, ("", ""))[1] != v]
            for start in range(0, len(chosen), slice_documents):
                ids = chosen[start : start + slice_documents]
                supersede: dict[str, list[str]] = {}
                for doc_id in ids:
                    if doc_id in live:
                        supersede.setdefault(live[doc_id][0], []).append(doc_id)
                segment_id, number = reserve_segment(store, writer.writer_id)
                segment = write_segment(
                    store, segment_id, number, {doc_id: documents[doc_id] for doc_id in ids}
                )
                worker.expected = {i: (live.get(i, ("", None))[1], documents[i]) for i in ids}
                change = Change(
                    operation="embed",
                    add=(segment,),
                    supersede=supersede,
                    claims=frozenset(ids),
                    known=known,
                    writer=writer.writer_id,
                )
                corpus = commit(corpus, change)
                known = add_numbers(known, [number])

    return run


def write_segment(
    store: Store, segment_id: str, number: int, documents: Mapping[str, str]
) -> Segment:
    """Write a segment of documents with one sentence each; the version stands as sha256."""
    rows: dict[str, list[dict[str, Any]]] = {"documents": [], "sentences": []}
    for place, (doc_id, version) in enumerate(documents.items()):
        common = {"doc_id": doc_id, "sentence_index": 0, "start": 0, "end": 1, "cut": False}
        rows["sentences"].append(
            {
                **common,
                "vector_id": first_vector_id(number, "sentences", 0) + place,
                "text": "x",
                "tokens": ["x"],
                "token_starts": [0],
                "attention": [1.0],
                "vector": [0.0] * DIM,
            }
        )
        rows["documents"].append(
            {
                "doc_id": doc_id,
                "sha256": version,
                "uri": "in",
                "position": place,
                "metadata": [],
                "characters": 1,
                "sentences": 1,
                "tokens": 1,
                "rejected_sentences": 0,
            }
        )
    parts: dict[str, tuple[Part, ...]] = {}
    for table, found in rows.items():
        schema = table_schema(table, dtype="float32", dim=DIM)
        path = f"segments/{segment_id}/{table}/part-00000.parquet"
        with LazyTable(store, path, schema) as writer:
            writer.write(pa.RecordBatch.from_pylist(found, schema=schema))
        assert writer.part is not None
        parts[table] = (writer.part,)
    counts = dict.fromkeys(COUNTS, 0)
    counts.update(documents=len(documents), sentences=len(documents), tokens=len(documents))
    segment = Segment(
        segment_id=segment_id,
        number=number,
        fingerprint="f",
        recipe="r",
        model={"name": "none", "fingerprint": "f", "layers": 1},
        options={
            "vector_dtype": "float32",
            "tokens": "none",
            "layer_weights": [1.0],
            "pooling": "mean",
            "initial_state": "zero",
            "tokenizer": {
                "name": "spacy",
                "language": "en",
                "rules": 1,
                "max_sentence_tokens": 256,
            },
        },
        dim=DIM,
        counts=counts,
        parts=parts,
    )
    write_manifest(store, segment)
    return segment


def remove(doc_ids: Sequence[str], *, purged: bool = False) -> Any:
    """Delete documents as the command does, and purge if asked; it does not wait for others."""

    def run(worker: Worker, store: SteppedStore) -> None:
        corpus = CorpusView.newest(store)
        found, _ = find_documents(corpus, doc_ids)
        ids = [doc_id for ids in found.values() for doc_id in ids]
        worker.expected = dict.fromkeys(ids, (None, None)) if ids else None
        corpus = delete(corpus, found, purge=purged)
        if purged:
            purge(corpus)

    return run


def merge(worker: Worker, store: SteppedStore) -> None:
    """Compact as the command does."""
    del worker
    corpus = CorpusView.newest(store)
    for group in groups_to_compact(corpus, 100):
        if set(group) <= set(corpus.snapshot.segments):
            corpus = compact(corpus, group)


def clean(worker: Worker, store: SteppedStore) -> None:
    """Vacuum, whatever the age."""
    del worker
    vacuum(CorpusView.newest(store), older_than_seconds=0.0)


def index(worker: Worker, store: SteppedStore) -> None:
    """Build an index: read the segments, write two files, commit."""
    del worker
    with writers.running_writer(store, "index") as writer:
        corpus = CorpusView.newest(store)
        ids = [
            i for batch in corpus.read("documents", ["doc_id"]) for i in batch["doc_id"].to_pylist()
        ]
        data = repr((corpus.snapshot.segments, sorted(ids))).encode()
        index_id = hashlib.sha256(data).hexdigest()[:16]
        path = f"indexes/{index_id}/forms.parquet"
        with store.open(path, "wb") as file:
            file.write(data)
        manifest = IndexManifest(
            index_id=index_id,
            fingerprint="f",
            dim=DIM,
            dtype="float32",
            centering={key: {"mean": [0.0] * DIM, "components": []} for key in TABLES},
            settings={
                "word_center": False,
                "sentence_weight": 0.0,
                "center": False,
                "remove_components": 0,
                "factory": None,
            },
            tables=dict.fromkeys(TABLES, MEASURED),
            shards=(),
            forms=IndexFile(path=path, bytes=len(data), sha256=hashlib.sha256(data).hexdigest()),
        )
        with store.open(manifest_path(index_id), "wb") as file:
            file.write(manifest.to_json().encode())
        commit_index(corpus, index_id, writer.writer_id)


__all__ = ["CorpusError", "Turns", "clean", "embed", "index", "merge", "remove"]
