"""A corpus: its snapshots, its segments, its live rows, and how a change is committed. No Beam.

corpus = Corpus.open("my-corpus")
for batch in corpus.read("sentences", columns=["doc_id", "text", "vector"]):
    ...
"""

from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from os import PathLike
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from pipelines.commits import Change, next_snapshot
from pipelines.errors import CorpusError
from pipelines.live_rows import read_live_rows, read_tombstones
from pipelines.manifests import (
    latest_snapshot,
    read_segment,
    read_snapshot,
    snapshot_numbers,
    snapshot_path,
    written_by,
)
from pipelines.storage import Store
from schemas import TABLES, Segment, Snapshot

__all__ = [
    "Change",
    "Corpus",
    "latest_snapshot",
    "read_segment",
    "read_snapshot",
    "snapshot_numbers",
    "snapshot_path",
    "written_by",
]

_MAX_COMMIT_ATTEMPTS = 100


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
    def _at(cls, store: Store, known: Iterable[Segment] = ()) -> "Corpus":
        snapshot = latest_snapshot(store)
        manifests = {segment.segment_id: segment for segment in known}
        segments = tuple(
            manifests.get(segment_id) or read_segment(store, segment_id)
            for segment_id in snapshot.segments
        )
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
        """Return the corpus as it is now; manifests that are known are not read again."""
        return Corpus._at(self.store, self.segments)

    @cached_property
    def tombstones(self) -> dict[str, pa.Array]:
        """For each live segment that has any, the ids of its documents that are live no more."""
        ids = [segment.segment_id for segment in self.segments]
        return read_tombstones(self.store, self.snapshot.tombstones, ids)

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
        dead = None if table == "rejects" else self.tombstones.get(segment_id)
        path = f"segments/{segment_id}/{part_path}"
        yield from read_live_rows(self.store, path, dead, columns, batch_rows)

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
            snapshot = next_snapshot(self, current, change)
            path, data = snapshot_path(snapshot.number), snapshot.to_json().encode()
            try:
                self.store.create_exclusive(path, data)
            except FileExistsError:
                # A put whose answer was lost is sent again, and then finds what it made itself.
                if not (self.store.exists(path) and self.store.read(path) == data):
                    continue
            return Corpus._at(self.store, (*current.segments, *change.add))
        raise CorpusError(
            f"could not commit to {self.root}: {_MAX_COMMIT_ATTEMPTS} times another writer was"
            " faster; run the command again"
        )

    def commit_index(self, index_id: str) -> "Corpus":
        """Make an index under indexes/ the current one; returns the corpus after that."""
        if not self.store.exists(f"indexes/{index_id}/index.json"):
            raise CorpusError(f"indexes/{index_id}/index.json is not there; write it before commit")
        return self.commit(Change(operation="index", index=index_id))

    def search(self, query: str, **options: Any) -> Any:
        """Search by sense; see `pipelines.search.engine.search`, to which the options go."""
        from pipelines.search.engine import search

        return search(self, query, **options)

    def senses(self, word: str, **options: Any) -> Any:
        """Return the induced senses of a word; see `pipelines.senses.groups.senses`."""
        from pipelines.senses.groups import senses

        return senses(self, word, **options)
