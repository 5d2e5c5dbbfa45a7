"""What a commit makes of a corpus: the next snapshot, on top of another writer's. No Beam."""

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from hashlib import sha256
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.errors import CorpusError
from pipelines.live_rows import read_tombstones
from pipelines.manifests import written_by
from pipelines.storage import Store, write_then_commit
from schemas import TOMBSTONES, Segment, Snapshot

if TYPE_CHECKING:
    from pipelines.corpus import Corpus


@dataclass(frozen=True, kw_only=True)
class Change:
    """What a commit does to the corpus.

    Attributes:
      operation: the command, for the snapshot.
      add: segments that become live.
      remove: ids of segments that are live no more (compact).
      supersede: for each segment the documents in it that are live no more.
      index: id of the index that becomes current; None keeps the current one.
      drop_index: no index is current after it (purge: the index still has what must go).
      claims: ids of the documents that `add` brings; another writer's must not overlap.
    """

    operation: str
    add: tuple[Segment, ...] = ()
    remove: tuple[str, ...] = ()
    supersede: Mapping[str, Sequence[str]] = field(default_factory=dict)
    index: str | None = None
    drop_index: bool = False
    claims: frozenset[str] = frozenset()


def next_snapshot(base: "Corpus", current: "Corpus", change: Change) -> Snapshot:
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
    live, needed = _without_the_dead(
        current.store, [manifests[segment_id] for segment_id in segments], tombstones
    )
    return Snapshot(
        number=current.snapshot.number + 1,
        segments=live,
        tombstones=needed,
        index=None if change.drop_index else change.index or current.snapshot.index,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        operation=change.operation,
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


def _rebase(base: "Corpus", current: "Corpus", change: Change) -> Change:
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


def _live_among(corpus: "Corpus", segment_ids: list[str], doc_ids: frozenset[str]) -> list[str]:
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


def _without_the_dead(
    store: Store, segments: Sequence[Segment], tombstones: Sequence[str]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the segments that still have something, and the tombstone files they need."""
    buried = read_tombstones(store, tombstones, [segment.segment_id for segment in segments])
    live = []
    for segment in segments:
        dead = buried.get(segment.segment_id)
        documents = segment.counts["documents"]
        emptied = dead is not None and len(dead) >= documents > 0
        # Rejects stay known, or the next run would record them again.
        if not emptied or segment.counts["rejects"]:
            live.append(segment.segment_id)
    return tuple(live), tuple(tombstones) if set(live) & set(buried) else ()
