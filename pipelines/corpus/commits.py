"""Commits: a change becomes the next snapshot, after what other writers committed meanwhile.

docs/commit-protocol.md says what a commit reads, checks and creates, and why that is safe.
"""

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import sha256
from typing import TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.corpus.manifests import (
    read_snapshot,
    segment_path,
    snapshot_numbers,
    snapshot_path,
    written_by,
)
from pipelines.corpus.number_ranges import Ranges, add_numbers, contains
from pipelines.corpus.rebase import (
    AlreadyReplacedError,
    CommitRefusedError,
    Plan,
    committed_numbers,
    rebase,
)
from pipelines.corpus.scan import read_tombstones
from pipelines.corpus.segment_files import mark_committed
from pipelines.corpus.store import Store, write_then_commit
from pipelines.corpus.view import CorpusView
from pipelines.corpus.writers import highest_segment
from pipelines.errors import CorpusError
from schemas import TOMBSTONES, Segment, Snapshot, StreamEntry

__all__ = [
    "AlreadyReplacedError",
    "Change",
    "CommitRefusedError",
    "StreamMoved",
    "commit",
    "commit_index",
    "committed_numbers",
    "reserve_segment",
]

MAX_COMMIT_ATTEMPTS = 100
# So many files of tombstones are put together into one.
MAX_TOMBSTONE_FILES = 16

View = TypeVar("View", bound=CorpusView)


@dataclass(frozen=True, kw_only=True)
class Change:
    """What a commit does to the corpus.

    Attributes:
      operation: the command, for the snapshot.
      add: segments that become live; a segment that was committed once is not committed again.
      remove: ids of segments that `add` replaces, row for row (compact).
      supersede: for each segment the documents in it of which a version was seen that must not
        stay; it is found again where a segment was compacted meanwhile.
      delete: documents that must not stay, whatever their version and wherever they are.
      index: id of the index that becomes current; None keeps the current one.
      drop_index: no index is current after it (purge: the index still has what must go).
      claims: ids of the documents that `add` brings; another writer's must not overlap. Where none
        are given, those of `add` are read.
      stream: how far a stream was read with this change; None keeps the entry in place.
      stream_before: the entry that `stream` was made from; with another one in place the change
        is refused.
      known: numbers of the segments whose documents were taken into account when this was planned:
        those of the corpus then (`committed_numbers`), and the job's own. None: those of `base`.
      writer: id of the running writer; one that a vacuum gave up cannot commit.
      abandon: numbers of segments that are given up, unless they are live or were (vacuum).
      fence: ids of writers that are given up (vacuum).
      purge: what `Snapshot.purge` becomes; None keeps it, an empty tuple with `purged` ends it.
      purged: the purge is done.
    """

    operation: str
    add: tuple[Segment, ...] = ()
    remove: tuple[str, ...] = ()
    supersede: Mapping[str, Sequence[str]] = field(default_factory=dict)
    delete: frozenset[str] = frozenset()
    index: str | None = None
    drop_index: bool = False
    claims: frozenset[str] = frozenset()
    stream: StreamEntry | None = None
    stream_before: StreamEntry | None = None
    known: Ranges | None = None
    writer: str = ""
    abandon: tuple[int, ...] = ()
    fence: tuple[str, ...] = ()
    purge: tuple[str, ...] | None = None
    purged: bool = False


class StreamMoved(CommitRefusedError):
    """The stream's entry is not the one that a change was made on; nothing was committed."""


def reserve_segment(store: Store, writer: str = "") -> tuple[str, int]:
    """Reserve the next segment number, for ever; returns (segment_id, number).

    Args:
      store: of the corpus.
      writer: id of the running writer that it is for. Without one, `vacuum` takes the segment for
        being written as long as some file of it is new.

    Raises:
      CorpusError: if the store has no atomic creation.
    """
    number = highest_segment(store) + 1
    while True:
        segment_id = f"{number:08d}"
        try:
            store.create_exclusive(f"segments/{segment_id}/reserved", writer.encode())
        except FileExistsError:
            number += 1
        else:
            return segment_id, number


def commit(base: View, change: Change) -> View:
    """Make a change visible by the atomic creation of the next snapshot.

    If another writer committed since the change was planned, it is put on top of theirs, unless
    both brought the same documents.

    Args:
      base: the corpus that the change was made on.
      change: what to do.

    Returns:
      The corpus after the change.

    Raises:
      AlreadyReplacedError: if another writer replaced the segments that were to be replaced.
      CommitRefusedError: if another writer's documents overlap, what is to be added is not there,
        or a vacuum gave this writer up.
      CorpusError: if the corpus is damaged, or others commit without a pause; after this and after
        an error of the store the commit may have been made or not, and may be tried again.
    """
    store = base.store
    for _ in range(MAX_COMMIT_ATTEMPTS):
        current = base.refresh()
        if _is_committed(current.snapshot, change):
            return current
        snapshot = next_snapshot(base, current, change)
        data = snapshot.to_json().encode()
        if _create(store, snapshot.number, data):
            for segment in change.add:
                mark_committed(store, segment.segment_id)
            return type(base).newest(store, (*current.segments, *change.add))
    raise CorpusError(
        f"could not commit to {base.root}: other writers committed first, {MAX_COMMIT_ATTEMPTS}"
        " times in a row; run the command again"
    )


def commit_index(base: View, index_id: str, writer: str = "") -> View:
    """Make an index under indexes/ the current one; returns the corpus after that.

    Raises:
      CorpusError: if the index has no manifest yet, or a vacuum gave its writer up.
    """
    return commit(base, Change(operation="index", index=index_id, writer=writer))


def _is_committed(snapshot: Snapshot, change: Change) -> bool:
    """Say whether all that a change adds was committed by an earlier attempt."""
    done = committed_numbers(snapshot)
    return bool(change.add) and all(contains(done, segment.number) for segment in change.add)


def _create(store: Store, number: int, data: bytes) -> bool:
    """Create a snapshot; returns False if another writer's has its place."""
    path = snapshot_path(number)
    try:
        store.create_exclusive(path, data)
    except FileExistsError:
        try:
            # A put whose answer was lost is sent again, and then finds what it made itself.
            if store.read(path) != data:
                return False
        except FileNotFoundError:
            return False
    # A writer that slept may find its number free again, because a vacuum took the snapshot away
    # that had it. Then newer ones are there, and the next one is not built on this one.
    newest = snapshot_numbers(store)[-1]
    if newest == number:
        return True
    try:
        following = read_snapshot(store, number + 1)
    except (FileNotFoundError, CorpusError):
        return False
    return following.parent == sha256(data).hexdigest()


def next_snapshot(base: CorpusView, current: CorpusView, change: Change) -> Snapshot:
    """Return the snapshot that a change makes of the current one; writes its tombstones.

    Args:
      base: the corpus that the change was made on.
      current: the corpus as it is now; another writer may have committed meanwhile.
      change: what to do.

    Raises:
      AlreadyReplacedError, CorpusError: as `commit` does.
    """
    store, before = current.store, current.snapshot
    _check_writer(store, before, change)
    if change.stream is not None and before.stream != change.stream_before:
        raise StreamMoved(
            f"another stream has committed to {current.root}; this batch was not committed"
        )
    supersede = rebase(base, current, _plan(base, current, change))
    segments = _segments_after(before, change)
    manifests = {segment.segment_id: segment for segment in (*current.segments, *change.add)}
    number = before.number + 1
    tombstones = list(before.tombstones)
    checksums = dict(before.checksums)
    if any(supersede.values()):
        path, checksums[path] = _write_tombstones(store, number, supersede)
        tombstones.append(path)
    live, tombstones = _without_deleted(
        store, [manifests[segment_id] for segment_id in segments], tombstones, checksums
    )
    if len(tombstones) > MAX_TOMBSTONE_FILES:
        path, checksum = _merge_tombstones(store, number, tombstones, live, checksums)
        tombstones, checksums[path] = [path], checksum
    index = None if change.drop_index else change.index or before.index
    stream = change.stream or before.stream
    marks = stream.marks if stream else ()
    gone = [manifests[segment_id].number for segment_id in manifests.keys() - set(live)]
    retired = add_numbers(committed_numbers(before, current.segments), gone)
    numbers = {manifests[segment_id].number for segment_id in live}
    return Snapshot(
        number=number,
        segments=tuple(live),
        tombstones=tuple(tombstones),
        index=index,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        operation=change.operation,
        stream=stream,
        checksums=_checksums(store, current, change, live, (*tombstones, *marks), index, checksums),
        parent=_parent(store, before),
        retired=_without(retired, numbers),
        abandoned=add_numbers(
            before.abandoned,
            [n for n in change.abandon if n not in numbers and not contains(retired, n)],
        ),
        fenced=change.fence if change.operation == "vacuum" else before.fenced,
        purge=None if change.purged else before.purge if change.purge is None else change.purge,
        more=before.more,
        written_by=written_by(),
    )


def _check_writer(store: Store, before: Snapshot, change: Change) -> None:
    """Check that no vacuum gave this writer or its segments up.

    A fenced writer is named by the snapshot until its file is gone, so one of the two tells it.
    """
    given_up = [s.segment_id for s in change.add if contains(before.abandoned, s.number)]
    fenced = change.writer in before.fenced if change.writer else False
    missing = change.writer and not store.exists(f"writers/{change.writer}.json")
    if given_up or fenced or missing:
        raise CommitRefusedError(
            f"a vacuum removed the files of this {change.operation}: it had shown no activity"
            " for so long that it was taken for a process that had died. Nothing was committed;"
            " run the command again"
        )


def _plan(base: CorpusView, current: CorpusView, change: Change) -> Plan:
    known = change.known
    if known is None:
        known = committed_numbers(base.snapshot, base.segments)
    claims = change.claims
    strange = any(not contains(known, segment.number) for segment in current.segments)
    if strange and not claims and not change.remove:
        added = CorpusView(current.store, Snapshot(number=0), change.add)
        claims = frozenset(
            doc_id
            for batch in added.read("documents", ["doc_id"])
            for doc_id in batch.column("doc_id").to_pylist()
        )
    return Plan(
        add=change.add,
        remove=change.remove,
        claims=claims,
        supersede=change.supersede,
        delete=change.delete,
        known=known,
    )


def _segments_after(before: Snapshot, change: Change) -> list[str]:
    gone = set(change.remove)
    segments = [s for s in before.segments if s not in gone]
    # What replaces segments takes the place of the first: compacting keeps the order of rows.
    places = [i for i, s in enumerate(before.segments) if s in gone]
    place = places[0] if places else len(segments)
    segments[place:place] = [segment.segment_id for segment in change.add]
    return segments


def _without(ranges: Ranges, numbers: set[int]) -> Ranges:
    """Return the ranges without some numbers."""
    found: list[tuple[int, int]] = []
    for first, last in ranges:
        start = first
        for number in sorted(n for n in numbers if first <= n <= last):
            found += [(start, number - 1)] if start < number else []
            start = number + 1
        found += [(start, last)] if start <= last else []
    return tuple(found)


def _parent(store: Store, before: Snapshot) -> str:
    if before.number == 0:
        return ""
    return sha256(store.read(snapshot_path(before.number))).hexdigest()


def _checksums(
    store: Store,
    current: CorpusView,
    change: Change,
    live: Sequence[str],
    files: Sequence[str],
    index: str | None,
    known: Mapping[str, str],
) -> dict[str, str]:
    """Return the checksums of all that the snapshot names; checks that what is added is there."""
    added = {segment.segment_id: segment for segment in change.add}
    found = {path: known.get(path) or _sum_of(store, path) for path in files}
    for segment_id in live:
        path = segment_path(segment_id)
        found[path] = known.get(path) or _sum_of(store, path)
        if segment_id in added:
            _check_parts(store, added[segment_id])
    if index is not None:
        path = f"indexes/{index}/index.json"
        kept = index == current.snapshot.index and change.index is None
        found[path] = (kept and known.get(path)) or _sum_of(store, path)
    return found


def _sum_of(store: Store, path: str) -> str:
    try:
        return sha256(store.read(path)).hexdigest()
    except FileNotFoundError as error:
        raise CommitRefusedError(
            f"{path} is missing; write it before the commit that names it"
        ) from error


def _check_parts(store: Store, segment: Segment) -> None:
    for parts in segment.parts.values():
        for part in parts:
            path = f"segments/{segment.segment_id}/{part.path}"
            try:
                size = store.size(path)
            except FileNotFoundError as error:
                raise CommitRefusedError(
                    f"{path} is missing, although segment.json names it; nothing was committed:"
                    " run the command again"
                ) from error
            if size != part.bytes:
                raise CommitRefusedError(
                    f"{path} has {size} bytes, expected {part.bytes}; nothing was committed: run"
                    " the command again"
                )


def _write_tombstones(
    store: Store, number: int, supersede: Mapping[str, Sequence[str]]
) -> tuple[str, str]:
    """Write the tombstones of one commit; returns (path, SHA-256).

    The path begins with the number of the snapshot that is to name it: a vacuum that committed
    before leaves it alone, and one that commits that number itself makes this attempt fail.
    """
    rows = sorted((segment, doc) for segment, docs in supersede.items() for doc in set(docs))
    table = pa.table(
        {"segment_id": [row[0] for row in rows], "doc_id": [row[1] for row in rows]},
        schema=TOMBSTONES,
    )
    buffer = io.BytesIO()
    pq.write_table(table, buffer, compression="zstd")
    data = buffer.getvalue()
    checksum = sha256(data).hexdigest()
    path = f"tombstones/{number:08d}-{checksum[:32]}.parquet"
    write_then_commit(store, path, data)
    return path, checksum


def _merge_tombstones(
    store: Store,
    number: int,
    paths: Sequence[str],
    live: Sequence[str],
    checksums: Mapping[str, str],
) -> tuple[str, str]:
    deleted = read_tombstones(store, paths, live, checksums)
    return _write_tombstones(
        store, number, {segment: ids.to_pylist() for segment, ids in deleted.items()}
    )


def _without_deleted(
    store: Store,
    segments: Sequence[Segment],
    tombstones: Sequence[str],
    checksums: Mapping[str, str],
) -> tuple[list[str], list[str]]:
    """Return the segments that still have something, and the tombstone files they need."""
    ids = [segment.segment_id for segment in segments]
    deleted_ids = read_tombstones(store, tombstones, ids, checksums)
    live = []
    for segment in segments:
        deleted = deleted_ids.get(segment.segment_id)
        documents = segment.counts["documents"]
        emptied = deleted is not None and len(deleted) >= documents > 0
        # Rejects stay known, or the next run would record them again.
        if not emptied or segment.counts["rejects"]:
            live.append(segment.segment_id)
    return live, list(tombstones) if set(live) & set(deleted_ids) else []
