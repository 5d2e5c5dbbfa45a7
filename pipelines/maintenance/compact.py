"""Compact: merge segments of one recipe, without the rows of deleted documents."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace

import pyarrow as pa
import pyarrow.compute as pc

from pipelines.corpus.checksums import check_part
from pipelines.corpus.commits import (
    AlreadyReplacedError,
    Change,
    CommitRefusedError,
    commit,
    reserve_segment,
)
from pipelines.corpus.manifests import written_by
from pipelines.corpus.parquet_writer import TableWriter
from pipelines.corpus.segment_files import COUNTS, clean_segment, write_manifest
from pipelines.corpus.store import Store
from pipelines.corpus.view import CorpusView
from pipelines.corpus.writers import Writer, running_writer
from pipelines.errors import CorpusError
from schemas import TABLES, Part, Segment, table_schema

_READ_ROWS = 4096
ROW_GROUP_BYTES = 8 << 20


def groups_to_compact(corpus: CorpusView, max_documents: int) -> list[list[str]]:
    """Return which neighbouring segments `compact` should merge.

    Segments made by the same recipe are put together up to so many documents; one alone is
    rewritten only if it has tombstones.
    """
    groups: list[list[Segment]] = []
    for segment in corpus.segments:
        last = groups[-1] if groups else []
        size = sum(s.counts["documents"] for s in last) + segment.counts["documents"]
        if last and last[0].recipe == segment.recipe and size <= max_documents:
            last.append(segment)
        else:
            groups.append([segment])
    ids = [[segment.segment_id for segment in group] for group in groups]
    return [group for group in ids if len(group) > 1 or group[0] in corpus.tombstones]


def compact(
    corpus: CorpusView, segment_ids: Sequence[str], forget: frozenset[str] = frozenset()
) -> CorpusView:
    """Merge live segments of one recipe into one without their tombstoned rows; ids stay.

    Args:
      corpus: which corpus.
      segment_ids: what to merge.
      forget: documents whose rejects are dropped as well.

    Documents deleted or changed by others meanwhile stay so. Where another writer merged the same
    segments first, nothing is done: what is returned has theirs.

    Raises:
      CorpusError: if the segments differ in recipe or are damaged.
    """
    wanted = set(segment_ids)
    missing = wanted - set(corpus.snapshot.segments)
    if missing:
        raise CorpusError(
            f"segments {', '.join(sorted(missing))} are not live in {corpus.root}; another"
            " command has merged or removed them: run the command again"
        )
    with running_writer(corpus.store, "compact") as writer:
        corpus = corpus.refresh()
        chosen = [segment for segment in corpus.segments if segment.segment_id in wanted]
        if len({segment.recipe for segment in chosen}) > 1:
            raise CorpusError(
                "the segments were made by different models or settings and cannot be merged;"
                " embed all documents again with one of them"
            )
        # Another writer may have merged or emptied some of them since they were chosen.
        fewer = len(chosen) < min(len(wanted), 2)
        if not chosen or (fewer and chosen[0].segment_id not in corpus.tombstones):
            return corpus
        return _replace(corpus, chosen, forget, writer)


def compact_while(
    corpus: CorpusView,
    choose: Callable[[Sequence[Segment], Mapping[str, int]], Sequence[str]],
    is_ended: Callable[[], bool] = lambda: False,
) -> CorpusView:
    """Merge what `choose` names until it names nothing; returns the corpus after it.

    Args:
      corpus: which corpus.
      choose: is given the live segments and, for each that has any, the number of its deleted
        documents; returns the ids of segments to merge (pipelines/maintenance/merge_policy.py).
      is_ended: asked before each merge.
    """
    while not is_ended():
        deleted = {name: len(ids) for name, ids in corpus.tombstones.items()}
        chosen = choose(corpus.segments, deleted)
        if not chosen:
            break
        corpus = compact(corpus, chosen).refresh()
    return corpus


def _replace(
    corpus: CorpusView, chosen: list[Segment], forget: frozenset[str], writer: Writer
) -> CorpusView:
    removed = tuple(segment.segment_id for segment in chosen)
    segment_id, number = reserve_segment(corpus.store, writer.writer_id)
    try:
        merged = _merge(corpus, chosen, segment_id, number, forget)
    except BaseException:
        clean_segment(corpus.store, segment_id)
        raise
    if not merged.parts:
        clean_segment(corpus.store, segment_id)
    change = Change(
        operation="compact",
        add=(merged,) if merged.parts else (),
        remove=removed,
        writer=writer.writer_id,
    )
    try:
        return commit(corpus, change)
    except CommitRefusedError as error:
        clean_segment(corpus.store, segment_id)
        if isinstance(error, AlreadyReplacedError):
            return corpus.refresh()
        raise


def _merge(
    corpus: CorpusView, chosen: list[Segment], segment_id: str, number: int, forget: frozenset[str]
) -> Segment:
    first = chosen[0]
    counts = dict.fromkeys(COUNTS, 0)
    parts: dict[str, tuple[Part, ...]] = {}
    for segment in chosen:
        for files in segment.parts.values():
            for part in files:
                check_part(corpus.store, segment.segment_id, part)
    for table in TABLES:
        schema = table_schema(table, dtype=str(first.options["vector_dtype"]), dim=first.dim)
        path = f"segments/{segment_id}/{table}/part-00000.parquet"
        writer = LazyTable(corpus.store, path, schema)
        with writer:
            for batch in _live_rows(corpus, chosen, table, forget):
                writer.write(batch.select(schema.names).cast(schema))
                _count(counts, table, batch)
        if writer.part is not None:
            parts[table] = (writer.part,)
    merged = replace(
        first,
        segment_id=segment_id,
        number=number,
        counts=counts,
        parts=parts,
        compacted_from=tuple(segment.segment_id for segment in chosen),
        written_by=written_by(),
    )
    if parts:
        write_manifest(corpus.store, merged)
    return merged


def _live_rows(
    corpus: CorpusView, chosen: list[Segment], table: str, forget: frozenset[str]
) -> Iterator[pa.RecordBatch]:
    for segment in chosen:
        deleted = corpus.tombstones.get(segment.segment_id)
        for batch in corpus.read(table, None, [segment.segment_id], _READ_ROWS):
            if table == "rejects":
                batch = batch.filter(_worth_keeping(batch, deleted, forget))
            if batch.num_rows:
                yield batch


def _worth_keeping(
    batch: pa.RecordBatch, deleted: pa.Array | None, forget: frozenset[str]
) -> pa.Array:
    """Drop rejects of forgotten documents, and of sentences whose document is deleted."""
    doc_ids = batch.column("doc_id")
    keep = pc.invert(pc.is_in(doc_ids, pa.array(sorted(forget), pa.string())))
    if deleted is None:
        return keep
    of_deleted = pc.and_(pc.is_in(doc_ids, deleted), pc.is_valid(batch.column("sentence_index")))
    return pc.and_(keep, pc.invert(of_deleted))


class LazyTable:
    """A table that is made with its first row, and settled under its final name at the end."""

    def __init__(self, store: Store, path: str, schema: pa.Schema) -> None:
        self._store = store
        self._path = path
        self._schema = schema
        self._writer: TableWriter | None = None
        self.part: Part | None = None

    def write(self, rows: pa.RecordBatch) -> None:
        """Add rows."""
        if self._writer is None:
            self._writer = TableWriter(self._store, self._path, self._schema, ROW_GROUP_BYTES)
        self._writer.write(rows)

    def __enter__(self) -> "LazyTable":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if self._writer is None:
            return
        if kind is not None:
            self._writer.abort()
            return
        directory = self._path.rsplit("/", 2)[0]
        try:
            self.part = self._writer.close(directory)
        except BaseException:
            self._writer.abort()
            raise
        self._store.move(self._writer.temporary, self._path)


def _count(counts: dict[str, int], table: str, batch: pa.RecordBatch) -> None:
    if table == "documents":
        counts["documents"] += batch.num_rows
        for name in ("sentences", "tokens", "rejected_sentences", "characters"):
            counts[name] += sum(batch.column(name).to_pylist())
    elif table == "tokens":
        counts["token_vectors"] += batch.num_rows
    elif table == "rejects":
        counts["rejects"] += batch.num_rows
