"""Parts -> a committed segment: final names, segment.json, then the next snapshot.

Any worker may do this, and may do it again: the same segment committed twice is one commit.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from pipelines.corpus.commits import Change, commit, committed_numbers
from pipelines.corpus.manifests import read_snapshot, written_by
from pipelines.corpus.number_ranges import Ranges, add_numbers, contains
from pipelines.corpus.scan import scan_rows
from pipelines.corpus.segment_files import COUNTS, write_manifest
from pipelines.corpus.store import Store
from pipelines.corpus.view import CorpusView
from pipelines.embed.job_directory import JobDirectory
from pipelines.embed.recipe import Recipe
from pipelines.errors import CorpusError
from schemas import Part, PartSummary, Segment


@dataclass(frozen=True, kw_only=True)
class SegmentPlan:
    """What all segments of a job share.

    Attributes:
      store: of the corpus.
      recipe: of the rows.
      base: number of the snapshot that the job was planned on.
      known: numbers of the segments whose documents the plan took into account, the job's own
        included; None reads them from the snapshot of that number.
      writer: id under which the job said that it runs; empty if it did not.
      row_group_bytes: of vectors in a row group.
      job: where the workers of a job on an engine meet; None for a job on this machine.
    """

    store: Store
    recipe: Recipe
    base: int
    known: Ranges | None = None
    writer: str = ""
    row_group_bytes: int = 8 << 20
    job: JobDirectory | None = None


@dataclass(frozen=True, kw_only=True)
class CommittedSegment:
    """A segment that is live, and what it brought.

    Attributes:
      segment_id: of the segment.
      counts: as in its manifest, plus documents_rejected.
      superseded: documents of other segments that it replaced.
    """

    segment_id: str
    counts: dict[str, int] = field(default_factory=dict)
    superseded: int = 0


def commit_segment(plan: SegmentPlan, summaries: Sequence[PartSummary]) -> CommittedSegment:
    """Make the segment of these parts live, unless it is.

    Raises:
      CorpusError: if a part is missing, or another writer committed the same documents.
    """
    store, [segment_id] = plan.store, {summary.segment_id for summary in summaries}
    counts: Counter[str] = Counter()
    for summary in summaries:
        counts.update(summary.counts)
    supersede: dict[str, list[str]] = {}
    for summary in summaries:
        for old, doc_ids in summary.supersede.items():
            supersede.setdefault(old, []).extend(doc_ids)
    committed = CommittedSegment(
        segment_id=segment_id,
        counts=dict(counts),
        superseded=sum(map(len, supersede.values())),
    )
    current = CorpusView.newest(store, _seen.get(store.url, ()))
    _seen[store.url] = current.segments
    if contains(committed_numbers(current.snapshot), int(segment_id)):
        return committed
    segment = finish_segment(store, plan.recipe, summaries)
    change = Change(
        operation="embed",
        add=(segment,),
        supersede=supersede,
        claims=frozenset(_document_ids(store, segment)),
        known=known_numbers(plan),
        writer=plan.writer,
    )
    commit(current, change)
    return committed


def settle_part(plan: SegmentPlan, job: JobDirectory, summary: PartSummary) -> PartSummary:
    """Settle a part that was written, and commit its segment if that was the last one missing.

    Returns:
      The summary of the attempt at this part that finished first.

    Raises:
      CorpusError: if another writer committed the same documents.
    """
    first = job.settle(summary)
    if job.settled_parts(first.segment_id) == first.segment_parts:
        found = [job.settled(first.segment_id, part) for part in range(first.segment_parts)]
        commit_segment(plan, [each for each in found if each is not None])
    return first


def known_numbers(plan: SegmentPlan) -> Ranges:
    """Return the numbers of the segments whose documents the job takes into account.

    What other workers of the same job committed since has other documents by plan.
    """
    known = plan.known
    if known is None:
        known = committed_numbers(read_snapshot(plan.store, plan.base)) if plan.base else ()
    ours = () if plan.job is None else plan.job.segment_ids()
    return add_numbers(known, map(int, ours))


# Manifests this process has read, by corpus: they never change.
_seen: dict[str, tuple[Segment, ...]] = {}


def _document_ids(store: Store, segment: Segment) -> Iterable[str]:
    for part in segment.parts.get("documents", ()):
        path = f"segments/{segment.segment_id}/{part.path}"
        for batch in scan_rows(store, path, None, ["doc_id"], 65536):
            yield from batch.column("doc_id").to_pylist()


def finish_segment(store: Store, recipe: Recipe, summaries: Iterable[PartSummary]) -> Segment:
    """Give the files of all parts their final names and write segment.json.

    Running it twice with the same summaries changes nothing.

    Raises:
      CorpusError: if a part is missing or there twice, or documents that were planned are missing.
    """
    parts = sorted(summaries, key=lambda summary: summary.part)
    segment_id = parts[0].segment_id
    twice = [n for n, count in Counter(summary.part for summary in parts).items() if count > 1]
    if twice:
        raise CorpusError(
            f"part {twice[0]} of segment {segment_id} was written twice; nothing was committed;"
            " run the command again"
        )
    if len(parts) != parts[0].segment_parts:
        raise CorpusError(
            f"segment {segment_id} has {len(parts)} parts, but {parts[0].segment_parts} were"
            " planned; nothing of it was committed; run the command again"
        )
    counts: Counter[str] = Counter(dict.fromkeys(COUNTS, 0))
    for summary in parts:
        counts.update(summary.counts)
    accounted = counts["documents"] + counts["documents_rejected"]
    if accounted != counts["documents_planned"]:
        raise CorpusError(
            f"segment {segment_id} accounts for {accounted} documents, but"
            f" {counts['documents_planned']} were planned; nothing was committed; run the"
            " command again"
        )
    files: dict[str, list[Part]] = {}
    for summary in parts:
        for table, (temporary, part) in summary.files.items():
            _settle(store, temporary, f"segments/{segment_id}/{part.path}", part)
            files.setdefault(table, []).append(part)
    segment = Segment(
        segment_id=segment_id,
        number=int(segment_id),
        fingerprint=recipe.fingerprint,
        recipe=recipe.digest,
        model=recipe.model,
        options=recipe.options,
        dim=recipe.dim,
        counts={name: counts[name] for name in COUNTS},
        parts={table: tuple(found) for table, found in files.items()},
        written_by=written_by(),
    )
    write_manifest(store, segment)
    return segment


def _settle(store: Store, temporary: str, path: str, part: Part) -> None:
    if store.exists(temporary):
        store.move(temporary, path)
    if not store.exists(path):
        raise CorpusError(
            f"{path} is missing, expected {part.bytes} bytes; nothing was committed; run the"
            " command again"
        )
    if (size := store.size(path)) != part.bytes:
        raise CorpusError(
            f"{path} has {size} bytes, expected {part.bytes}: is the disk full? Nothing was"
            " committed; run the command again"
        )
