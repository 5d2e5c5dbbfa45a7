"""Vacuum: remove old snapshots, and files that no snapshot names.

What goes is looked for, then given up in a snapshot of its own, then looked for again: a commit
that comes later cannot name it any more, and one that came between is seen the second time.
docs/commit-protocol.md says why nothing more is needed.
"""

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime

from pipelines.corpus.atomic_files import is_temporary
from pipelines.corpus.commits import Change, commit, committed_numbers
from pipelines.corpus.manifests import (
    read_segment,
    read_snapshot,
    segment_path,
    snapshot_numbers,
    snapshot_path,
)
from pipelines.corpus.number_ranges import contains
from pipelines.corpus.store import Store
from pipelines.corpus.view import CorpusView
from pipelines.corpus.writers import QUIET_SECONDS, Writer, highest_segment, writers_of
from pipelines.errors import CorpusError
from pipelines.index.format import manifest_path, read_manifest
from schemas import Snapshot

TOPS = ("segments", "snapshots", "tombstones", "indexes", "jobs", "streams", "writers")
# Whose files come and go together.
DIRECTORIES = ("segments", "indexes", "jobs")
# A job on an engine is at work as long as its workers write something to its directory.
JOB_QUIET_SECONDS = 86400.0


@dataclass(kw_only=True)
class VacuumReport:
    """What `vacuum` removed, or would.

    Attributes:
      files: how many.
      bytes: of these.
      snapshots: how many of the files were old snapshots.
      young: files that nothing names, but too young to go.
      writers: running writers: what they may need stayed.
    """

    files: int = 0
    bytes: int = 0
    snapshots: int = 0
    young: int = 0
    writers: list[Writer] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class _File:
    """A file of the corpus: its size, and when it was written, seconds since the epoch."""

    path: str
    bytes: int
    changed: float | None

    def is_younger(self, seconds: float, now: float) -> bool:
        return seconds > 0 and (self.changed is None or now - self.changed < seconds)


@dataclass(kw_only=True)
class _Survey:
    """What is there, and what of it may go.

    Attributes:
      doomed: files that nothing needs.
      young: files that nothing names, but that somebody may be writing.
      running: writers at work.
      gone: writers that ended without taking their file away.
    """

    doomed: dict[str, _File] = field(default_factory=dict)
    young: list[_File] = field(default_factory=list)
    running: list[Writer] = field(default_factory=list)
    gone: list[Writer] = field(default_factory=list)


def vacuum(
    corpus: CorpusView, *, older_than_seconds: float, keep_snapshots: int = 1, dry_run: bool = False
) -> VacuumReport:
    """Remove old snapshots and every file that no kept snapshot names.

    What a running writer made or may name stays, whatever its age.

    Args:
      corpus: what to clean.
      older_than_seconds: what was named within this time stays, and what was never named stays
        until it is as old.
      keep_snapshots: how many of the newest states stay readable at least.
      dry_run: only count.
    """
    store = corpus.store
    first = _survey(store, older_than_seconds, keep_snapshots)
    going = first.doomed
    if going and not dry_run:
        given_up = commit(corpus, _give_up(store, first))
        # The state before the commit is the same one.
        keep = keep_snapshots + (keep_snapshots > 1)
        second = _survey(store, older_than_seconds, keep)
        going = {
            path: file
            for path, file in first.doomed.items()
            if path in second.doomed and _may_go(path, given_up.snapshot)
        }
        for path in sorted(going, key=_order):
            store.remove(path)
        _remove_empty(store)
    return VacuumReport(
        files=len(going),
        bytes=sum(file.bytes for file in going.values()),
        snapshots=sum(path.startswith("snapshots/") for path in going),
        young=len(first.young),
        writers=first.running,
    )


def _give_up(store: Store, survey: _Survey) -> Change:
    """Return the change after which nothing can name what is doomed."""
    for writer_id in CorpusView.newest(store).snapshot.fenced:
        # Known by the snapshot until now; from here on its missing file tells it.
        store.remove(f"writers/{writer_id}.json")
    numbers = {n for path in survey.doomed if (n := _segment_number(path)) is not None}
    return Change(
        operation="vacuum",
        abandon=tuple(sorted(numbers)),
        fence=tuple(sorted(writer.writer_id for writer in survey.gone)),
    )


def _may_go(path: str, given_up: Snapshot) -> bool:
    """Say whether no commit after a snapshot can name a file."""
    number = _segment_number(path)
    if number is not None:
        return contains(committed_numbers(given_up), number) or contains(given_up.abandoned, number)
    top, _, name = path.partition("/")
    # A commit names tombstones of its own number only; of this one and those before, all are made.
    return top not in ("tombstones", "streams") or _leading_number(name) <= given_up.number


def _order(path: str) -> tuple[int, str]:
    """Snapshots go first, so that nothing names what is gone."""
    return (0 if path.startswith("snapshots/") else 1, path)


def _survey(store: Store, older_than_seconds: float, keep_snapshots: int) -> _Survey:
    now = time.time()
    files = [_File(path=p, bytes=b, changed=c) for p, b, c in list(store.files())]
    # Writers after files: a writer's file is there before its first segment is.
    running, gone = writers_of(store)
    survey = _Survey(running=running, gone=gone)
    numbers = snapshot_numbers(store)
    needed = set()
    for number in _kept(store, numbers, keep_snapshots, older_than_seconds, running, now):
        needed |= _named(store, number)
    newest = read_snapshot(store, numbers[-1]) if numbers else Snapshot(number=0)
    highest = f"segments/{highest_segment(store):08d}/reserved"
    fresh = _fresh_directories(store, files, survey, newest, older_than_seconds, now)
    for file in files:
        # The highest reservation stays, or its number could be given out again.
        if file.path in needed or file.path == highest or not _is_ours(file.path):
            continue
        if _is_fresh(file, fresh, survey, older_than_seconds, now):
            survey.young.append(file)
        else:
            survey.doomed[file.path] = file
    return survey


def _kept(
    store: Store,
    numbers: list[int],
    keep_snapshots: int,
    seconds: float,
    running: list[Writer],
    now: float,
) -> list[int]:
    """Return which snapshots stay: the newest, those current lately, those that writers read."""
    first = len(numbers) - max(keep_snapshots, 1)
    # A state is as old as the commit that ended it.
    while first > 0 and seconds > 0 and now - _created(store, numbers[first]) < seconds:
        first -= 1
    oldest = min((writer.snapshot for writer in running), default=None)
    return [
        number
        for place, number in enumerate(numbers)
        if place >= first or (oldest is not None and number >= oldest)
    ]


def _created(store: Store, number: int) -> float:
    """Return when a snapshot was made, seconds since the epoch; 0 where that cannot be read."""
    try:
        created = datetime.fromisoformat(read_snapshot(store, number).created)
    except (FileNotFoundError, CorpusError, ValueError):
        return 0.0
    return created.replace(tzinfo=created.tzinfo or UTC).timestamp()


def _named(store: Store, number: int) -> set[str]:
    """Return the files that a snapshot needs, its own included; none if it is gone."""
    try:
        snapshot = read_snapshot(store, number)
    except FileNotFoundError:
        return set()
    named = {snapshot_path(number), *snapshot.tombstones}
    named.update(snapshot.stream.marks if snapshot.stream else ())
    for segment_id in snapshot.segments:
        directory = f"segments/{segment_id}"
        named |= {segment_path(segment_id), f"{directory}/reserved"}
        parts = read_segment(store, segment_id).parts.values()
        named |= {f"{directory}/{part.path}" for files in parts for part in files}
    if snapshot.index:
        from pipelines.senses.store import senses_directory  # faiss, only where needed

        named.add(manifest_path(snapshot.index))
        named |= {file.path for file in read_manifest(store, snapshot.index).files()}
        named |= {path for path, _, _ in store.files(senses_directory(snapshot.index))}
    return named


def _fresh_directories(
    store: Store,
    files: list[_File],
    survey: _Survey,
    newest: Snapshot,
    seconds: float,
    now: float,
) -> set[str]:
    """Return the directories of segments and indexes that somebody may still be writing."""
    committed = committed_numbers(newest)
    fresh = set()
    for directory, mine in _by_directory(files):
        number = _segment_number(f"{directory}/")
        if number is not None and contains(committed, number):
            continue  # it was live, so it is finished: its age is that of the kept snapshots
        young = any(file.is_younger(seconds, now) for file in mine)
        if young or _is_being_written(store, directory, mine, survey, now):
            fresh.add(directory)
    return fresh


def _by_directory(files: list[_File]) -> Iterator[tuple[str, list[_File]]]:
    found: dict[str, list[_File]] = {}
    for file in files:
        if _directory(file.path):
            found.setdefault(_directory(file.path), []).append(file)
    yield from found.items()


def _directory(path: str) -> str:
    """Return the directory of the segment, index or job that a file belongs to, or nothing."""
    names = path.split("/")
    return "/".join(names[:2]) if names[0] in DIRECTORIES and len(names) > 2 else ""


def _is_being_written(
    store: Store, directory: str, files: Iterable[_File], survey: _Survey, now: float
) -> bool:
    if directory.startswith("jobs/"):
        at_work = not any(file.path == f"{directory}/report.json" for file in files)
        return at_work and any(file.is_younger(JOB_QUIET_SECONDS, now) for file in files)
    if directory.startswith("indexes/"):
        return any(writer.operation == "index" for writer in survey.running)
    reserved = f"{directory}/reserved"
    if reserved not in {file.path for file in files}:
        return False
    try:
        writer_id = store.read(reserved).decode(errors="replace")
    except FileNotFoundError:
        return False
    if writer_id:
        return any(writer.writer_id == writer_id for writer in survey.running)
    # Nobody says for whom it is, as for workers elsewhere: its files tell.
    return any(file.is_younger(QUIET_SECONDS, now) for file in files)


def _is_fresh(file: _File, fresh: set[str], survey: _Survey, seconds: float, now: float) -> bool:
    directory = _directory(file.path)
    if directory:
        return directory in fresh
    # Of a commit, or of a writer that begins; a stream tries again with the marks it wrote.
    if is_temporary(file.path) or file.path.startswith("streams/"):
        return file.is_younger(max(seconds, QUIET_SECONDS), now)
    if file.path.startswith("writers/"):
        return file.path not in {writer.path for writer in survey.gone}
    # An old snapshot is as old as the one after it, which decided that it is not kept.
    return not file.path.startswith("snapshots/") and file.is_younger(seconds, now)


def _segment_number(path: str) -> int | None:
    names = path.split("/")
    in_segment = names[0] == "segments" and len(names) > 2 and names[1].isdecimal()
    return int(names[1]) if in_segment else None


def _leading_number(name: str) -> int:
    """Return the number that the name of a file of tombstones begins with; 0 for older ones."""
    head, dash, _ = name.partition("-")
    return int(head) if dash and head.isdecimal() else 0


def _is_ours(path: str) -> bool:
    return path.split("/", 1)[0] in TOPS or is_temporary(path)


def _remove_empty(store: Store) -> None:
    for top in ("segments", "indexes", "jobs"):
        for name in store.names(top):
            if not any(True for _ in store.files(f"{top}/{name}")):
                store.remove_if_empty(f"{top}/{name}")
