"""Adapt a change that was planned on one snapshot to the current snapshot.

Each rule forbids a history, and each history is a test (tests/pipelines/corpus/test_histories.py).
Which version of a document a row is, is told by the number in the vector_ids of its sentences:
it is the number of the segment that the version was first written to, and compacting keeps it.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from pipelines.corpus.number_ranges import Ranges, add_numbers, contains
from pipelines.corpus.view import CorpusView
from pipelines.errors import CorpusError
from schemas import SEGMENT_SHIFT, Segment, Snapshot


class CommitRefusedError(CorpusError):
    """A commit that was not made, for sure: what it was to add may be removed."""


class AlreadyReplacedError(CommitRefusedError):
    """Another writer replaced the segments that this one was to replace."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a change does to documents, and what it knew of them.

    Attributes:
      add: segments that become live.
      remove: segments that these replace, row for row (compact).
      claims: ids of the documents that `add` brings new or changed.
      supersede: for each segment, as planned, the documents in it of which a version was seen that
        must not stay.
      delete: documents that must not stay, whatever their version.
      known: numbers of the segments whose documents the plan took into account.
    """

    add: tuple[Segment, ...]
    remove: tuple[str, ...]
    claims: frozenset[str]
    supersede: Mapping[str, Sequence[str]]
    delete: frozenset[str]
    known: Ranges


def committed_numbers(snapshot: Snapshot, segments: Iterable[Segment] = ()) -> Ranges:
    """Return the numbers of all segments that are live in a snapshot, or were before it.

    Args:
      snapshot: which.
      segments: manifests of its segments; version 1 tells only there what came before.
    """
    merged = {name for segment in segments for name in segment.compacted_from}
    numbers = [int(name) for name in (*snapshot.segments, *merged) if name.isdecimal()]
    return add_numbers(snapshot.retired, numbers)


def rebase(base: CorpusView, current: CorpusView, plan: Plan) -> dict[str, list[str]]:
    """Return for each segment the documents in it that the change must supersede now.

    Args:
      base: the corpus that `plan.remove` was read from.
      current: the corpus as it is now; another writer may have committed since.
      plan: what is to be done.

    Raises:
      AlreadyReplacedError: if another writer replaced what this one was to replace.
      CommitRefusedError: if another writer committed a version of a claimed document meanwhile.
    """
    live = set(current.snapshot.segments)
    found = {segment: list(ids) for segment, ids in plan.supersede.items() if segment in live}
    # Documents that the plan saw in a segment that is gone; compacting may have moved them.
    moved = {
        doc_id for segment, ids in plan.supersede.items() if segment not in live for doc_id in ids
    }
    clashes: list[str] = []
    for segment in current.segments:
        if contains(plan.known, segment.number):
            continue
        for doc_id, known_version in _versions(current, segment, plan, moved):
            if doc_id in plan.delete or (doc_id in moved and known_version):
                found.setdefault(segment.segment_id, []).append(doc_id)
            elif doc_id in plan.claims:
                clashes.append(doc_id)
    if clashes:
        raise CommitRefusedError(
            f"another writer has committed {len(clashes)} of the same documents, such as"
            f" {min(clashes)!r}; these were not written: run the command again"
        )
    if plan.remove:
        merged = _died_meanwhile(base, current, plan.remove)
        if merged and plan.add:
            found.setdefault(plan.add[0].segment_id, []).extend(merged)
    return found


def _versions(
    current: CorpusView, segment: Segment, plan: Plan, moved: set[str]
) -> list[tuple[str, bool]]:
    """Return the documents of a segment that a plan names, and whether it knew that version."""
    named = plan.claims | plan.delete | moved
    if not named:
        return []
    ids = [
        doc_id
        for batch in current.read("documents", ["doc_id"], [segment.segment_id])
        for doc_id in batch.column("doc_id").to_pylist()
        if doc_id in named
    ]
    if not ids or moved.isdisjoint(ids):
        return [(doc_id, False) for doc_id in ids]
    origins = origins_of(current, segment.segment_id, ids)
    return [(doc_id, doc_id in origins and contains(plan.known, origins[doc_id])) for doc_id in ids]


def origins_of(corpus: CorpusView, segment_id: str, doc_ids: Iterable[str]) -> dict[str, int]:
    """Return the number of the segment that the version of each document was first written to.

    A document without a sentence carries no such number and is left out.
    """
    wanted = pa.array(sorted(doc_ids), pa.string())
    found: dict[str, int] = {}
    for batch in corpus.read("sentences", ["doc_id", "vector_id"], [segment_id]):
        rows = batch.filter(pc.is_in(batch.column("doc_id"), wanted))
        numbers = pc.shift_right(rows.column("vector_id"), SEGMENT_SHIFT).to_pylist()
        found.update(zip(rows.column("doc_id").to_pylist(), numbers, strict=True))
    return found


def _died_meanwhile(base: CorpusView, current: CorpusView, removed: Sequence[str]) -> list[str]:
    """Return the documents that were read from some segments and are not live there any more.

    They were deleted, changed, or merged into another segment; the row that was read must not
    come to life again in any of these cases.
    """
    live = set(current.snapshot.segments)
    rejects = {s.segment_id for s in base.segments if s.counts["rejects"]}
    taken = [name for name in removed if name not in live and name in rejects]
    # Only compacting ends a segment that has rejects, and they are in the other's segment now.
    if taken or live.isdisjoint(removed):
        raise AlreadyReplacedError(
            f"segments {', '.join(taken or removed)} are no longer live: another writer has"
            " replaced them; run the command again"
        )
    died: list[str] = []
    for segment_id in removed:
        before = base.tombstones.get(segment_id)
        if segment_id not in live:
            for batch in base.read("documents", ["doc_id"], [segment_id]):
                died += batch.column("doc_id").to_pylist()
        elif segment_id in current.tombstones:
            known = set() if before is None else set(before.to_pylist())
            died += [i for i in current.tombstones[segment_id].to_pylist() if i not in known]
    return died
