"""Looking after a corpus: verify, delete, compact, vacuum. No Beam."""

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipelines.corpus import Change, Corpus
from pipelines.errors import CorpusError
from pipelines.index.format import manifest_path, read_manifest
from pipelines.manifests import (
    read_segment,
    read_snapshot,
    snapshot_numbers,
    snapshot_path,
    written_by,
)
from pipelines.storage import Store, is_temporary, sha256_of
from pipelines.table_writer import COUNTS, TableWriter, clean_segment, write_manifest
from schemas import TABLES, Part, Segment, check_schema, table_schema

_READ_ROWS = 4096
ROW_GROUP_BYTES = 8 << 20


@dataclass(kw_only=True)
class VerifyReport:
    """What `verify` found.

    Attributes:
      files: checked.
      bytes: read.
      faults: one line each; empty if all is well.
    """

    files: int = 0
    bytes: int = 0
    faults: list[str] = field(default_factory=list)


def verify(corpus: Corpus) -> VerifyReport:
    """Read every file of the live segments and compare size, hash, rows and columns."""
    report = VerifyReport()
    for segment in corpus.segments:
        for table, parts in segment.parts.items():
            for part in parts:
                report.files += 1
                report.bytes += part.bytes
                fault = _part_fault(corpus, segment, table, part)
                if fault:
                    report.faults.append(fault)
        for table in ("documents", "sentences"):
            rows = sum(part.rows for part in segment.parts.get(table, ()))
            if rows != segment.counts[table]:
                report.faults.append(
                    f"segment {segment.segment_id}: {rows} rows of {table},"
                    f" but its manifest counts {segment.counts[table]}"
                )
    report.faults += _index_faults(corpus, report)
    return report


def _index_faults(corpus: Corpus, report: VerifyReport) -> list[str]:
    if corpus.snapshot.index is None:
        return []
    try:
        manifest = read_manifest(corpus.store, corpus.snapshot.index)
    except CorpusError as error:
        return [str(error)]
    faults = []
    for file in manifest.files():
        report.files += 1
        report.bytes += file.bytes
        fault = _file_fault(corpus.store, file.path, file.bytes, file.sha256)
        faults += [fault] if fault else []
    return faults + _senses_faults(corpus.store, manifest.index_id, report)


def _senses_faults(store: Store, index_id: str, report: VerifyReport) -> list[str]:
    """Check the senses kept beside an index, which carry their own checksums."""
    from pipelines.senses.kept import check_senses, senses_directory  # faiss, only where needed

    faults = []
    for path, size, _ in store.files(senses_directory(index_id)):
        if not is_temporary(path):
            report.files += 1
            report.bytes += size
            fault = check_senses(store, path)
            faults += [fault] if fault else []
    return faults


def _file_fault(store: Store, path: str, size: int, sha256: str) -> str | None:
    if not store.exists(path):
        return f"{path} is missing"
    found_size = store.size(path)
    if found_size != size:
        return f"{path} has {found_size} bytes, expected {size}"
    found = sha256_of(store, path)
    if found != sha256:
        return f"{path} has sha256 {found}, expected {sha256}: it was damaged or changed"
    return None


def _part_fault(corpus: Corpus, segment: Segment, table: str, part: Part) -> str | None:
    path = f"segments/{segment.segment_id}/{part.path}"
    store = corpus.store
    fault = _file_fault(store, path, part.bytes, part.sha256)
    if fault:
        return fault
    with store.open(path) as file:
        metadata = pq.read_metadata(file)
    if metadata.num_rows != part.rows:
        return f"{path} has {metadata.num_rows} rows, expected {part.rows}"
    expected = table_schema(table, dtype=str(segment.options["vector_dtype"]), dim=segment.dim)
    try:
        check_schema(metadata.schema.to_arrow_schema(), expected, path)
    except ValueError as error:
        return str(error)
    return None


def find_documents(
    corpus: Corpus, doc_ids: Iterable[str]
) -> tuple[dict[str, list[str]], list[str]]:
    """Return for each segment which of the documents it has live, and those that none has."""
    wanted = set(doc_ids)
    found: dict[str, list[str]] = {}
    for segment in corpus.segments:
        for batch in corpus.read("documents", ["doc_id"], [segment.segment_id]):
            here = [doc_id for doc_id in batch.column("doc_id").to_pylist() if doc_id in wanted]
            if here:
                found.setdefault(segment.segment_id, []).extend(here)
    return found, sorted(wanted.difference(*found.values()))


def delete(corpus: Corpus, found: Mapping[str, Sequence[str]]) -> Corpus:
    """Tombstone documents, given by segment; returns the corpus after it."""
    if not any(found.values()):
        return corpus
    return corpus.commit(Change(operation="delete", supersede=found))


def purge(corpus: Corpus) -> Corpus:
    """Remove what is tombstoned from the disk too: rewrite, then drop every older state.

    Afterwards no file has rows of documents that were deleted or replaced: no segment, no old
    snapshot's, no index (which holds copies of sentences), no reject that names a deleted one.
    """
    dead = {doc_id for ids in corpus.tombstones.values() for doc_id in ids.to_pylist()}
    live, _ = find_documents(corpus, dead)
    gone = dead.difference(*live.values())
    for segment in corpus.segments:
        named = any(
            doc_id in gone
            for batch in corpus.read("rejects", ["doc_id"], [segment.segment_id])
            for doc_id in batch.column("doc_id").to_pylist()
        )
        if named or segment.segment_id in corpus.tombstones:
            corpus = compact(corpus, [segment.segment_id], forget=frozenset(gone))
    if corpus.snapshot.index is not None:
        corpus = corpus.commit(Change(operation="purge", drop_index=True))
    vacuum(corpus, older_than_seconds=0.0, keep_snapshots=1)
    return corpus


def groups_to_compact(corpus: Corpus, max_documents: int) -> list[list[str]]:
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
    corpus: Corpus, segment_ids: Sequence[str], forget: frozenset[str] = frozenset()
) -> Corpus:
    """Merge live segments of one recipe into one without their tombstoned rows; ids stay.

    Args:
      corpus: which corpus.
      segment_ids: what to merge.
      forget: documents whose rejects are dropped as well.

    Raises:
      CorpusError: if the segments differ in recipe, or another writer changed them meanwhile.
    """
    chosen = [s for s in corpus.segments if s.segment_id in set(segment_ids)]
    if len(chosen) != len(set(segment_ids)):
        raise CorpusError(f"segments {', '.join(segment_ids)} are not all live in {corpus.root}")
    if len({segment.recipe for segment in chosen}) > 1:
        raise CorpusError("segments made by different models or settings cannot be merged")
    removed = tuple(segment.segment_id for segment in chosen)
    segment_id, number = corpus.reserve_segment()
    try:
        merged = _merge(corpus, chosen, segment_id, number, forget)
        if not merged.parts:
            clean_segment(corpus.store, segment_id)
        change = Change(operation="compact", add=(merged,) if merged.parts else (), remove=removed)
        return corpus.commit(change)
    except BaseException:
        clean_segment(corpus.store, segment_id)
        raise


def _merge(
    corpus: Corpus, chosen: list[Segment], segment_id: str, number: int, forget: frozenset[str]
) -> Segment:
    first = chosen[0]
    counts = dict.fromkeys(COUNTS, 0)
    parts: dict[str, tuple[Part, ...]] = {}
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
    corpus: Corpus, chosen: list[Segment], table: str, forget: frozenset[str]
) -> Iterator[pa.RecordBatch]:
    for segment in chosen:
        dead = corpus.tombstones.get(segment.segment_id)
        for batch in corpus.read(table, None, [segment.segment_id], _READ_ROWS):
            if table == "rejects":
                batch = batch.filter(_worth_keeping(batch, dead, forget))
            if batch.num_rows:
                yield batch


def _worth_keeping(
    batch: pa.RecordBatch, dead: pa.Array | None, forget: frozenset[str]
) -> pa.Array:
    """Drop rejects of forgotten documents, and of sentences whose document is dead."""
    doc_ids = batch.column("doc_id")
    keep = pc.invert(pc.is_in(doc_ids, pa.array(sorted(forget), pa.string())))
    if dead is None:
        return keep
    of_the_dead = pc.and_(pc.is_in(doc_ids, dead), pc.is_valid(batch.column("sentence_index")))
    return pc.and_(keep, pc.invert(of_the_dead))


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


@dataclass(kw_only=True)
class VacuumReport:
    """What `vacuum` removed, or would.

    Attributes:
      files: how many.
      bytes: of these.
      snapshots: how many of the files were old snapshots.
      young: files that nothing names, but too young to go.
    """

    files: int = 0
    bytes: int = 0
    snapshots: int = 0
    young: int = 0


def vacuum(
    corpus: Corpus, *, older_than_seconds: float, keep_snapshots: int = 1, dry_run: bool = False
) -> VacuumReport:
    """Remove old snapshots and every file that no kept snapshot names.

    Args:
      corpus: what to clean.
      older_than_seconds: younger files stay: a running job may be writing them.
      keep_snapshots: how many of the newest stay readable.
      dry_run: only count.
    """
    store = corpus.store
    kept = snapshot_numbers(store)[-max(keep_snapshots, 1) :]
    needed = set()
    for number in kept:
        needed |= _named(store, number)
    highest = max((n for n in store.names("segments") if n.isdigit()), default="")
    report = VacuumReport()
    now = time.time()
    for path, size, changed in list(store.files()):
        old = changed is None or now - changed >= older_than_seconds
        # The highest reservation stays, or its number could be given out again.
        if path in needed or path == f"segments/{highest}/reserved" or not _is_ours(path):
            continue
        if not old:
            report.young += 1
            continue
        report.files += 1
        report.bytes += size
        report.snapshots += path.startswith("snapshots/")
        if not dry_run:
            store.remove(path)
    if not dry_run:
        _remove_empty(store)
    return report


def _named(store: Store, number: int) -> set[str]:
    """Return the files that a snapshot needs, its own included."""
    snapshot = read_snapshot(store, number)
    named = {snapshot_path(number), *snapshot.tombstones}
    for segment_id in snapshot.segments:
        directory = f"segments/{segment_id}"
        parts = read_segment(store, segment_id).parts.values()
        named |= {f"{directory}/segment.json", f"{directory}/reserved"}
        named |= {f"{directory}/{part.path}" for files in parts for part in files}
    if snapshot.index:
        from pipelines.senses.kept import senses_directory  # faiss, only where needed

        named.add(manifest_path(snapshot.index))
        named |= {file.path for file in read_manifest(store, snapshot.index).files()}
        named |= {path for path, _, _ in store.files(senses_directory(snapshot.index))}
    return named


def _is_ours(path: str) -> bool:
    top = path.split("/", 1)[0]
    return top in ("segments", "snapshots", "tombstones", "indexes") or is_temporary(path)


def _remove_empty(store: Store) -> None:
    for top in ("segments", "indexes"):
        for name in store.names(top):
            if not any(True for _ in store.files(f"{top}/{name}")):
                store.remove_tree(f"{top}/{name}")
