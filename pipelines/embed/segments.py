"""Parts -> a segment: final names for the files that summaries name, segment.json last."""

from collections import Counter
from collections.abc import Iterable

from pipelines.corpus.manifests import written_by
from pipelines.corpus.segment_files import COUNTS, write_manifest
from pipelines.corpus.store import Store
from pipelines.embed.recipe import Recipe
from pipelines.errors import CorpusError
from schemas import Part, PartSummary, Segment


def finish_segment(
    store: Store,
    segment_id: str,
    number: int,
    recipe: Recipe,
    summaries: Iterable[PartSummary],
    planned_documents: int,
) -> Segment:
    """Give the files of all parts their final names and write segment.json.

    Running it twice with the same summaries changes nothing.

    Raises:
      CorpusError: if the parts do not account for every document that was planned.
    """
    parts = sorted(summaries, key=lambda summary: summary.part)
    twice = [n for n, count in Counter(summary.part for summary in parts).items() if count > 1]
    if twice:
        raise CorpusError(f"part {twice[0]} of segment {segment_id} was written twice")
    counts: Counter[str] = Counter(dict.fromkeys(COUNTS, 0))
    for summary in parts:
        counts.update(summary.counts)
    accounted = counts["documents"] + counts.pop("documents_rejected", 0)
    if accounted != planned_documents:
        raise CorpusError(
            f"segment {segment_id} accounts for {accounted} documents, but {planned_documents} were"
            " planned; nothing was committed, run the command again"
        )
    files: dict[str, list[Part]] = {}
    for summary in parts:
        for table, (temporary, part) in summary.files.items():
            _settle(store, temporary, f"segments/{segment_id}/{part.path}", part)
            files.setdefault(table, []).append(part)
    segment = Segment(
        segment_id=segment_id,
        number=number,
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
    if not store.exists(path) or store.size(path) != part.bytes:
        raise CorpusError(f"{path} should have {part.bytes} bytes, but is not there so")
