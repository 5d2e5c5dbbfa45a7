"""Commits: a change becomes the next snapshot, on top of what other writers committed meanwhile."""

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from hashlib import sha256
from typing import TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.corpus.manifests import snapshot_path, written_by
from pipelines.corpus.scan import read_tombstones
from pipelines.corpus.store import Store, write_then_commit
from pipelines.corpus.view import CorpusView
from pipelines.errors import CorpusError
from schemas import TOMBSTONES, Segment, Snapshot, StreamEntry

MAX_COMMIT_ATTEMPTS = 100

View = TypeVar("View", bound=CorpusView)


@dataclass(frozen=True, kw_only=True)
class Change:
    """What a commit does to the corpus.

    Attributes:
      operation: the command, for the snapshot.
      add: segments that become live.
      remove: ids of segments that are live no more (compact).
      supersede: for each segment the documents in it that are deleted.
      index: id of the index that becomes current; None keeps the current one.
      drop_index: no index is current after it (purge: the index still has what must go).
      claims: ids of the documents that `add` brings; another writer's must not overlap.
      stream: how far a stream was read with this change; None keeps the entry in place.
      stream_before: the entry that `stream` was made from; with another one in place the change
        is refused.
    """

    operation: str
    add: tuple[Segment, ...] = ()
    remove: tuple[str, ...] = ()
    supersede: Mapping[str, Sequence[str]] = field(default_factory=dict)
    index: str | None = None
    drop_index: bool = False
    claims: frozenset[str] = frozenset()
    stream: StreamEntry | None = None
    stream_before: StreamEntry | None = None


class StreamMoved(CorpusError):
    """The stream's entry is not the one that a change was made on; nothing was committed."""


def reserve_segment(store: Store) -> tuple[str, int]:
    """Reserve the next segment number, for ever; returns (segment_id, number).

    Raises:
      CorpusError: if the store has no atomic creation.
    """
    names = store.names("segments")
    number = max((int(name) for name in names if name.isdigit()), default=0) + 1
    while True:
        segment_id = f"{number:08d}"
        try:
            store.create_exclusive(f"segments/{segment_id}/reserved", b"")
        except FileExistsError:
            number += 1
        else:
            return segment_id, number


def commit(base: View, change: Change) -> View:
    """Make a change visible by the atomic creation of the next snapshot.

    If another writer committed since `base` was opened, the change is put on top of theirs, unless
    both brought the same documents.

    Args:
      base: the corpus that the change was made on.
      change: what to do.

    Returns:
      The corpus after the change.

    Raises:
      CorpusError: if another writer's documents overlap, or what is to be removed is gone.
    """
    store = base.store
    for _ in range(MAX_COMMIT_ATTEMPTS):
        current = base.refresh()
        snapshot = next_snapshot(base, current, change)
        path, data = snapshot_path(snapshot.number), snapshot.to_json().encode()
        try:
            store.create_exclusive(path, data)
        except FileExistsError:
            # A put whose answer was lost is sent again, and then finds what it made itself.
            if not (store.exists(path) and store.read(path) == data):
                continue
        return type(base).newest(store, (*current.segments, *change.add))
    raise CorpusError(
        f"could not commit to {base.root}: {MAX_COMMIT_ATTEMPTS} times another writer was"
        " faster; run the command again"
    )


def commit_index(base: View, index_id: str) -> View:
    """Make an index under indexes/ the current one; returns the corpus after that.

    Raises:
      CorpusError: if the index has no manifest yet.
    """
    if not base.store.exists(f"indexes/{index_id}/index.json"):
        raise CorpusError(f"indexes/{index_id}/index.json is not there; write it before commit")
    return commit(base, Change(operation="index", index=index_id))


def next_snapshot(base: CorpusView, current: CorpusView, change: Change) -> Snapshot:
    """Return the snapshot that a change makes of the current one; writes its tombstones.

    Args:
      base: the corpus that the change was made on.
      current: the corpus as it is now; another writer may have committed meanwhile.
      change: what to do.

    Raises:
      CorpusError: if another writer's documents overlap, or what is to be removed is gone.
    """
    if current.snapshot.number != base.snapshot.number:
        change = _rebase(base, current, change)
    if change.stream is not None and current.snapshot.stream != change.stream_before:
        raise StreamMoved(
            f"another stream committed to {current.root} meanwhile; nothing of this batch was"
            " committed"
        )
    gone = set(change.remove)
    missing = gone - set(current.snapshot.segments)
    if missing:
        raise CorpusError(
            f"segments {', '.join(sorted(missing))} are live no more: another writer replaced"
            " them meanwhile; run the command again"
        )
    tombstones = list(current.snapshot.tombstones)
    if any(change.supersede.values()):
        path = _write_tombstones(current.store, change.supersede)
        tombstones += [path] if path not in tombstones else []
    added = [segment.segment_id for segment in change.add]
    segments = [s for s in current.snapshot.segments if s not in gone]
    # What replaces segments takes the place of the first: compacting keeps the order of rows.
    places = [i for i, s in enumerate(current.snapshot.segments) if s in gone]
    place = places[0] if places else len(segments)
    segments[place:place] = added
    manifests = {segment.segment_id: segment for segment in (*current.segments, *change.add)}
    live, needed = _without_deleted(
        current.store, [manifests[segment_id] for segment_id in segments], tombstones
    )
    return Snapshot(
        number=current.snapshot.number + 1,
        segments=live,
        tombstones=needed,
        index=None if change.drop_index else change.index or current.snapshot.index,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        operation=change.operation,
        stream=change.stream or current.snapshot.stream,
        written_by=written_by(),
    )


def _write_tombstones(store: Store, supersede: Mapping[str, Sequence[str]]) -> str:
    rows = sorted((segment, doc) for segment, docs in supersede.items() for doc in set(docs))
    table = pa.table(
        {"segment_id": [row[0] for row in rows], "doc_id": [row[1] for row in rows]},
        schema=TOMBSTONES,
    )
    buffer = io.BytesIO()
    pq.write_table(table, buffer, compression="zstd")
    data = buffer.getvalue()
    path = f"tombstones/{sha256(data).hexdigest()[:32]}.parquet"
    write_then_commit(store, path, data)
    return path


def _rebase(base: CorpusView, current: CorpusView, change: Change) -> Change:
    """Move a change from the snapshot it was made on to the one that is current now."""
    before = set(base.snapshot.segments)
    replaced = {
        old: segment.segment_id
        for segment in current.segments
        if segment.segment_id not in before
        for old in segment.compacted_from
    }
    new = [
        segment.segment_id
        for segment in current.segments
        if segment.segment_id not in before and not segment.compacted_from
    ]
    overlap = _live_among(current, new, change.claims)
    if overlap:
        raise CorpusError(
            f"another writer committed {len(overlap)} of the same documents meanwhile, such as"
            f" {overlap[0]!r}; nothing of this slice was committed: run the command again"
        )
    supersede: dict[str, list[str]] = {}
    for segment_id, doc_ids in change.supersede.items():
        supersede.setdefault(replaced.get(segment_id, segment_id), []).extend(doc_ids)
    if change.remove and any(
        not _same_ids(base.tombstones.get(old), current.tombstones.get(old))
        for old in change.remove
    ):
        raise CorpusError(
            "another writer deleted or replaced documents of the segments being merged;"
            " run the command again"
        )
    return replace(change, supersede=supersede)


def _live_among(corpus: CorpusView, segment_ids: list[str], doc_ids: frozenset[str]) -> list[str]:
    if not segment_ids or not doc_ids:
        return []
    return sorted(
        doc_id
        for batch in corpus.read("documents", ["doc_id"], segment_ids)
        for doc_id in batch.column("doc_id").to_pylist()
        if doc_id in doc_ids
    )


def _same_ids(left: pa.Array | None, right: pa.Array | None) -> bool:
    return set(() if left is None else left.to_pylist()) == set(
        () if right is None else right.to_pylist()
    )


def _without_deleted(
    store: Store, segments: Sequence[Segment], tombstones: Sequence[str]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the segments that still have something, and the tombstone files they need."""
    deleted_ids = read_tombstones(store, tombstones, [segment.segment_id for segment in segments])
    live = []
    for segment in segments:
        deleted = deleted_ids.get(segment.segment_id)
        documents = segment.counts["documents"]
        emptied = deleted is not None and len(deleted) >= documents > 0
        # Rejects stay known, or the next run would record them again.
        if not emptied or segment.counts["rejects"]:
            live.append(segment.segment_id)
    return tuple(live), tuple(tombstones) if set(live) & set(deleted_ids) else ()
