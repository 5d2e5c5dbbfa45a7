"""A corpus: its snapshots, its segments, its live rows, and how a change is committed. No Beam.

corpus = Corpus.open("my-corpus")
for batch in corpus.read("sentences", columns=["doc_id", "text", "vector"]):
    ...
"""

import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import cached_property
from hashlib import sha256
from importlib import metadata
from os import PathLike
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipelines.errors import CorpusError
from pipelines.storage import Store, write_then_commit
from schemas import TABLES, TOMBSTONES, ManifestError, Segment, Snapshot

_MAX_COMMIT_ATTEMPTS = 100


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


class Corpus:
    """One snapshot of a corpus, and the way to the next one.

    An instance never changes what it sees: a commit returns a new instance.

    Attributes:
      store: its files.
      snapshot: the state this instance sees.
      segments: manifests of the live segments.
    """

    def __init__(self, store: Store, snapshot: Snapshot, segments: tuple[Segment, ...]) -> None:
        self.store = store
        self.snapshot = snapshot
        self.segments = segments

    @classmethod
    def open(cls, root: str | PathLike[str], *, single_writer: bool = False) -> "Corpus":
        """Open the newest snapshot of an existing corpus.

        Raises:
          CorpusError: if there is none, or it is damaged or of a newer version.
        """
        corpus = cls.open_or_create(root, single_writer=single_writer)
        if corpus.snapshot.number == 0:
            raise CorpusError(
                f"there is no corpus at {corpus.root}: it has no snapshots;"
                " make one with: sensegrep run INPUT... --corpus DIR"
            )
        return corpus

    @classmethod
    def open_or_create(cls, root: str | PathLike[str], *, single_writer: bool = False) -> "Corpus":
        """Open a corpus, or the empty one that a first commit will write.

        Raises:
          CorpusError: if it is damaged, of a newer version, or the URL cannot be opened.
        """
        return cls._at(Store(root, single_writer=single_writer))

    @classmethod
    def _at(cls, store: Store) -> "Corpus":
        snapshot = latest_snapshot(store)
        segments = tuple(read_segment(store, segment_id) for segment_id in snapshot.segments)
        return cls(store, snapshot, segments)

    @property
    def root(self) -> str:
        """The path or URL it was opened with."""
        return self.store.url

    @property
    def fingerprint(self) -> str:
        """The fingerprint that all live segments share.

        Raises:
          CorpusError: if the corpus is empty, or holds vectors of several models or settings.
        """
        found = sorted({segment.fingerprint for segment in self.segments if segment.parts})
        if not found:
            raise CorpusError(f"the corpus at {self.root} is empty; embed documents into it first")
        if len(found) > 1:
            models = sorted({str(segment.model.get("name")) for segment in self.segments})
            raise CorpusError(
                f"the corpus at {self.root} holds vectors of {len(found)} different models or"
                f" settings ({', '.join(models)}), which cannot be compared; embed all its"
                " documents again with one of them, and --prune what is no longer in the input"
            )
        return found[0]

    def refresh(self) -> "Corpus":
        """Return the corpus as it is now."""
        return Corpus._at(self.store)

    @cached_property
    def tombstones(self) -> dict[str, pa.Array]:
        """For each live segment that has any, the ids of its documents that are live no more."""
        found: dict[str, list[pa.Array]] = {}
        live = {segment.segment_id for segment in self.segments}
        for path in self.snapshot.tombstones:
            table = pq.read_table(io.BytesIO(self.store.read(path)))
            for segment_id in pc.unique(table["segment_id"]).to_pylist():
                if segment_id in live:
                    rows = table.filter(pc.equal(table["segment_id"], segment_id))
                    found.setdefault(segment_id, []).extend(rows["doc_id"].chunks)
        return {
            segment_id: pc.unique(pa.concat_arrays(chunks)) for segment_id, chunks in found.items()
        }

    def read(
        self,
        table: str,
        columns: Sequence[str] | None = None,
        segment_ids: Iterable[str] | None = None,
        batch_rows: int = 65536,
    ) -> Iterator[pa.RecordBatch]:
        """Yield the live rows of a table in order of segment, part and row.

        Args:
          table: documents, sentences, tokens or rejects (rejects are never tombstoned).
          columns: names of columns, in the order wanted; None for all.
          segment_ids: only these live segments; None for all.
          batch_rows: at most so many rows at a time.

        Raises:
          ValueError: if there is no such table.
          CorpusError: if a segment is not live, or a file is missing.
        """
        if table not in TABLES:
            raise ValueError(f"there is no table {table!r}; expected one of {', '.join(TABLES)}")
        for segment in self._select(segment_ids):
            for part in segment.parts.get(table, ()):
                yield from self.read_part(segment.segment_id, table, part.path, columns, batch_rows)

    def read_part(
        self,
        segment_id: str,
        table: str,
        part_path: str,
        columns: Sequence[str] | None = None,
        batch_rows: int = 65536,
    ) -> Iterator[pa.RecordBatch]:
        """Yield the live rows of one part, in order; `part_path` is relative to the segment.

        Raises:
          CorpusError: if the file is missing.
        """
        path = f"segments/{segment_id}/{part_path}"
        dead = None if table == "rejects" else self.tombstones.get(segment_id)
        wanted = None if columns is None else list(columns)
        needed = wanted
        if wanted is not None and dead is not None and "doc_id" not in wanted:
            needed = [*wanted, "doc_id"]
        try:
            file = self.store.open(path)
        except FileNotFoundError as error:
            raise CorpusError(
                f"{path} of the corpus at {self.root} is missing; run: sensegrep verify"
            ) from error
        with file, pq.ParquetFile(file) as parquet:
            for batch in parquet.iter_batches(batch_size=batch_rows, columns=needed):
                if dead is not None:
                    batch = batch.filter(pc.invert(pc.is_in(batch.column("doc_id"), dead)))
                if batch.num_rows:
                    yield batch if wanted is None else batch.select(wanted)

    def _select(self, segment_ids: Iterable[str] | None) -> list[Segment]:
        if segment_ids is None:
            return list(self.segments)
        live = {segment.segment_id: segment for segment in self.segments}
        wanted = list(segment_ids)
        missing = [segment_id for segment_id in wanted if segment_id not in live]
        if missing:
            raise CorpusError(f"segments {', '.join(missing)} are not live in {self.root}")
        return [live[segment_id] for segment_id in wanted]

    def live_counts(self) -> dict[str, int]:
        """Count what is live: documents, sentences, tokens, rejected_sentences, rejects."""
        totals = dict.fromkeys(("documents", "sentences", "tokens", "rejected_sentences"), 0)
        columns = ["doc_id", "sentences", "tokens", "rejected_sentences"]
        for segment in self.segments:
            if segment.segment_id not in self.tombstones:
                for name in totals:
                    totals[name] += segment.counts[name]
                continue
            for batch in self.read("documents", columns, [segment.segment_id]):
                totals["documents"] += batch.num_rows
                for name in columns[1:]:
                    totals[name] += pc.sum(batch.column(name)).as_py() or 0
        totals["rejects"] = sum(segment.counts["rejects"] for segment in self.segments)
        return totals

    def reserve_segment(self) -> tuple[str, int]:
        """Reserve the next segment number, for ever; returns (segment_id, number).

        Raises:
          CorpusError: if the store has no atomic creation.
        """
        names = self.store.names("segments")
        number = max((int(name) for name in names if name.isdigit()), default=0) + 1
        while True:
            segment_id = f"{number:08d}"
            try:
                self.store.create_exclusive(f"segments/{segment_id}/reserved", b"")
            except FileExistsError:
                number += 1
            else:
                return segment_id, number

    def commit(self, change: Change) -> "Corpus":
        """Make a change visible by the atomic creation of the next snapshot.

        If another writer committed since this instance was opened, the change is put on top of
        theirs, unless both brought the same documents.

        Returns:
          The corpus after the change.

        Raises:
          CorpusError: if another writer's documents overlap, or what is to be removed is gone.
        """
        for _ in range(_MAX_COMMIT_ATTEMPTS):
            current = self.refresh()
            snapshot = self._next_snapshot(current, change)
            try:
                self.store.create_exclusive(
                    snapshot_path(snapshot.number), snapshot.to_json().encode()
                )
            except FileExistsError:
                continue
            return Corpus._at(self.store)
        raise CorpusError(
            f"could not commit to {self.root}: {_MAX_COMMIT_ATTEMPTS} times another writer was"
            " faster; run the command again"
        )

    def commit_index(self, index_id: str) -> "Corpus":
        """Make an index under indexes/ the current one; returns the corpus after that."""
        if not self.store.exists(f"indexes/{index_id}/index.json"):
            raise CorpusError(f"indexes/{index_id}/index.json is not there; write it before commit")
        return self.commit(Change(operation="index", index=index_id))

    def _next_snapshot(self, current: "Corpus", change: Change) -> Snapshot:
        if current.snapshot.number != self.snapshot.number:
            change = _rebase(self, current, change)
        gone = set(change.remove)
        missing = gone - set(current.snapshot.segments)
        if missing:
            raise CorpusError(
                f"segments {', '.join(sorted(missing))} are live no more: another writer replaced"
                " them meanwhile; run the command again"
            )
        tombstones = list(current.snapshot.tombstones)
        if any(change.supersede.values()):
            path = _write_tombstones(self.store, change.supersede)
            tombstones += [path] if path not in tombstones else []
        added = [segment.segment_id for segment in change.add]
        segments = [s for s in current.snapshot.segments if s not in gone]
        # What replaces segments takes the place of the first: compacting keeps the order of rows.
        places = [i for i, s in enumerate(current.snapshot.segments) if s in gone]
        place = places[0] if places else len(segments)
        segments[place:place] = added
        after = Corpus(
            self.store,
            replace(current.snapshot, segments=tuple(segments), tombstones=tuple(tombstones)),
            _in_order((*current.segments, *change.add), segments),
        )
        live, needed = _without_the_dead(after)
        return Snapshot(
            number=current.snapshot.number + 1,
            segments=live,
            tombstones=needed,
            index=None if change.drop_index else change.index or current.snapshot.index,
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            operation=change.operation,
            written_by=written_by(),
        )

    def search(self, query: str, **options: Any) -> Any:
        """Search by sense; see `pipelines.search.engine.search`, to which the options go."""
        from pipelines.search.engine import search

        return search(self, query, **options)

    def senses(self, word: str, **options: Any) -> Any:
        """Return the induced senses of a word; see `pipelines.senses.groups.senses`."""
        from pipelines.senses.groups import senses

        return senses(self, word, **options)


def written_by() -> str:
    """Return the program's name and version, for manifests."""
    try:
        return f"sensegrep {metadata.version('sensegrep')}"
    except metadata.PackageNotFoundError:
        return "sensegrep (not installed)"


def snapshot_numbers(store: Store) -> list[int]:
    """Return the numbers of all snapshots on disk, rising."""
    names = store.names("snapshots")
    return sorted(int(n[:-5]) for n in names if n.endswith(".json") and n[:-5].isdigit())


def snapshot_path(number: int) -> str:
    """Return where a snapshot stands in its corpus."""
    return f"snapshots/{number:08d}.json"


def latest_snapshot(store: Store) -> Snapshot:
    """Return the snapshot with the highest number, or number 0 where there is none.

    Raises:
      CorpusError: if it is damaged or of a newer version.
    """
    numbers = snapshot_numbers(store)
    return read_snapshot(store, numbers[-1]) if numbers else Snapshot(number=0)


def read_snapshot(store: Store, number: int) -> Snapshot:
    """Read one snapshot.

    Raises:
      CorpusError: if it is damaged or of a newer version.
    """
    path = snapshot_path(number)
    try:
        return Snapshot.from_json(store.read(path), f"{store.url}/{path}")
    except ManifestError as error:
        raise CorpusError(str(error)) from error


def read_segment(store: Store, segment_id: str) -> Segment:
    """Read segment.json.

    Raises:
      CorpusError: if it is missing, damaged or of a newer version.
    """
    path = f"segments/{segment_id}/segment.json"
    try:
        return Segment.from_json(store.read(path), f"{store.url}/{path}")
    except FileNotFoundError as error:
        raise CorpusError(
            f"{store.url}/{path} is missing, although a snapshot names the segment"
        ) from error
    except ManifestError as error:
        raise CorpusError(str(error)) from error


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


def _rebase(base: Corpus, current: Corpus, change: Change) -> Change:
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


def _live_among(corpus: Corpus, segment_ids: list[str], doc_ids: frozenset[str]) -> list[str]:
    if not segment_ids or not doc_ids:
        return []
    return sorted(
        doc_id
        for batch in corpus.read("documents", ["doc_id"], segment_ids)
        for doc_id in batch.column("doc_id").to_pylist()
        if doc_id in doc_ids
    )


def _in_order(segments: Sequence[Segment], ids: list[str]) -> tuple[Segment, ...]:
    by_id = {segment.segment_id: segment for segment in segments}
    return tuple(by_id[segment_id] for segment_id in ids)


def _same_ids(left: pa.Array | None, right: pa.Array | None) -> bool:
    return set(() if left is None else left.to_pylist()) == set(
        () if right is None else right.to_pylist()
    )


def _without_the_dead(corpus: Corpus) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the segments that still have something, and the tombstone files they need."""
    live = []
    for segment in corpus.segments:
        dead = corpus.tombstones.get(segment.segment_id)
        documents = segment.counts["documents"]
        emptied = dead is not None and len(dead) >= documents > 0
        # Rejects stay known, or the next run would record them again.
        if not emptied or segment.counts["rejects"]:
            live.append(segment.segment_id)
    needed = corpus.snapshot.tombstones if set(live) & set(corpus.tombstones) else ()
    return tuple(live), tuple(needed)
