"""Register running writers, so that `vacuum` and `purge` keep what they need.

A writer says in `writers/<id>.json` which snapshot it began with, and takes the file away when it
ends. While it runs, nothing goes that this snapshot or a later one names, nor a segment that was
reserved for it. A writer that was killed leaves its file behind: on the same machine its process is
seen to be gone; elsewhere a file that nobody renewed for QUIET_SECONDS tells it.
"""

import json
import os
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from typing import Any

from pipelines.corpus.manifests import snapshot_numbers
from pipelines.corpus.processes import start_of, this_machine
from pipelines.corpus.store import Store, write_then_commit

RENEW_SECONDS = 60.0
QUIET_SECONDS = 900.0


@dataclass(frozen=True, kw_only=True)
class Writer:
    """A command that is changing the corpus.

    Attributes:
      writer_id: its name.
      operation: the command.
      snapshot: number of the newest snapshot before it said so; it reads none that is older.
      machine: names the machine and its processes; empty where the system cannot say.
      process: its id on that machine.
      started: when that process started, in the machine's own count: ids are used again.
    """

    writer_id: str
    operation: str
    snapshot: int
    machine: str = ""
    process: int = 0
    started: str = ""

    @property
    def path(self) -> str:
        """Its file."""
        return f"writers/{self.writer_id}.json"

    def __str__(self) -> str:
        place = self.machine.split("/")[0]
        return f"{self.operation} (process {self.process} on {place or 'another machine'})"


@contextmanager
def running_writer(store: Store, operation: str) -> Iterator[Writer]:
    """Say, while the block runs, that a command is changing the corpus.

    The corpus must be opened after this: what was read before is not kept for it.

    Raises:
      CorpusError: if the store has no atomic creation.
      OSError: if it cannot be written.
    """
    writer = Writer(
        writer_id=uuid.uuid4().hex,
        operation=operation,
        snapshot=max(snapshot_numbers(store), default=0),
        machine=this_machine(),
        process=os.getpid(),
        started=start_of(os.getpid()),
    )
    try:
        store.create_exclusive(writer.path, _to_json(writer))
    except BaseException:
        with suppress(OSError):  # a store whose answer was lost may have made it
            store.remove(writer.path)
        raise
    ended = threading.Event()
    renewal = threading.Thread(target=_renew, args=(store, writer, ended), daemon=True)
    renewal.start()
    try:
        yield writer
    finally:
        ended.set()
        renewal.join()
        store.remove(writer.path)


def highest_segment(store: Store) -> int:
    """Return the highest segment number that was ever reserved; 0 if none was."""
    return max((int(name) for name in store.names("segments") if name.isdecimal()), default=0)


def writers_of(store: Store) -> tuple[list[Writer], list[Writer]]:
    """Return the writers that run, and those that ended without taking their file away."""
    running: list[Writer] = []
    gone: list[Writer] = []
    for path, _, changed in list(store.files("writers")):
        if not path.endswith(".json") or "/.tmp-" in path:
            continue
        try:
            writer = _from_json(store.read(path), path)
        except FileNotFoundError:  # it ended just now
            continue
        (running if is_running(writer, changed) else gone).append(writer)
    return running, gone


def is_running(writer: Writer, renewed: float | None) -> bool:
    """Say whether a writer is still at work.

    Args:
      writer: which.
      renewed: when its file was written last, seconds since the epoch; None if not known.
    """
    if writer.machine and writer.machine == this_machine():
        return start_of(writer.process) == writer.started != ""
    return renewed is None or time.time() - renewed < QUIET_SECONDS


def _renew(store: Store, writer: Writer, ended: threading.Event) -> None:
    while not ended.wait(RENEW_SECONDS):
        with suppress(OSError):  # a store that is away for a minute: the next one will do
            write_then_commit(store, writer.path, _to_json(writer))


def _to_json(writer: Writer) -> bytes:
    return (json.dumps(asdict(writer), indent=1, sort_keys=True) + "\n").encode()


def _from_json(data: bytes, path: str) -> Writer:
    """Read a writer's file; of one that cannot be understood nothing is known but that it is."""
    try:
        fields: dict[str, Any] = json.loads(data)
        known = {name: fields[name] for name in Writer.__dataclass_fields__ if name in fields}
        writer = Writer(**known)
        if isinstance(writer.snapshot, int):
            return writer
    except (ValueError, TypeError, AttributeError):
        pass
    name = path.rpartition("/")[2].removesuffix(".json")
    return Writer(writer_id=name, operation="an unknown command", snapshot=0)
