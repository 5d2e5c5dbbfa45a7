"""CorpusView: the live segments and rows of one snapshot. Every reader and writer uses it.

view = CorpusView.open("my-corpus")
for batch in view.read("sentences", columns=["doc_id", "text", "vector"]):
    ...
"""

from collections.abc import Iterable, Iterator, Sequence
from os import PathLike
from typing import Self

import pyarrow as pa
import pyarrow.compute as pc

from pipelines.corpus.manifests import (
    MAX_OPEN_ATTEMPTS,
    latest_snapshot,
    read_segment,
    segment_path,
)
from pipelines.corpus.scan import read_tombstones, scan_rows
from pipelines.corpus.store import Store
from pipelines.errors import CorpusError
from schemas import TABLES, Segment, Snapshot


class CorpusView:
    """One snapshot of a corpus. An instance never changes.

    Attributes:
      store: the files of the corpus.
      snapshot: the manifest of the snapshot.
      segments: manifests of the live segments.
    """

    def __init__(self, store: Store, snapshot: Snapshot, segments: tuple[Segment, ...]) -> None:
        self.store = store
        self.snapshot = snapshot
        self.segments = segments
        self._tombstones: dict[str, pa.Array] | None = None

    @classmethod
    def open(cls, root: str | PathLike[str], *, single_writer: bool = False) -> Self:
        """Open the newest snapshot of an existing corpus.

        Raises:
          CorpusError: if there is no corpus, or it is damaged or of a newer version.
        """
        if not str(root):
            raise CorpusError("the path of the corpus is empty; give --corpus DIR")
        view = cls.open_or_create(root, single_writer=single_writer)
        if view.snapshot.number == 0:
            raise CorpusError(
                f"there is no corpus at {view.root}: it has no snapshots;"
                " make one with: sensegrep run INPUT... --corpus DIR"
            )
        return view

    @classmethod
    def open_or_create(cls, root: str | PathLike[str], *, single_writer: bool = False) -> Self:
        """Open a corpus; if there is none, an empty one, which the first commit writes.

        Raises:
          CorpusError: if it is damaged, of a newer version, or the URL cannot be opened.
        """
        return cls.newest(Store(root, single_writer=single_writer))

    @classmethod
    def newest(cls, store: Store, known: Iterable[Segment] = ()) -> Self:
        """Return the newest snapshot in a store; manifests in `known` are not read again.

        Raises:
          CorpusError: if it is damaged or of a newer version.
        """
        manifests = {segment.segment_id: segment for segment in known}
        for _ in range(MAX_OPEN_ATTEMPTS):
            snapshot = latest_snapshot(store)
            try:
                segments = tuple(
                    manifests.get(name)
                    or read_segment(store, name, snapshot.checksums.get(segment_path(name)))
                    for name in snapshot.segments
                )
            except CorpusError as error:
                # A newer snapshot may have come, and a vacuum after it, while we read.
                missing = isinstance(error.__cause__, FileNotFoundError)
                if missing and latest_snapshot(store).number != snapshot.number:
                    continue
                raise
            return cls(store, snapshot, segments)
        raise CorpusError(
            f"{store.url} changes faster than it can be opened; run the command again"
        )

    def refresh(self) -> Self:
        """Return the newest snapshot; manifests that this one has are not read again."""
        return type(self).newest(self.store, self.segments)

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
            raise CorpusError(
                f"the corpus at {self.root} is empty; embed documents first: sensegrep run"
                f" INPUT... --corpus {self.root}"
            )
        if len(found) > 1:
            models = sorted({str(segment.model.get("name")) for segment in self.segments})
            changed = ""
            if len(models) == 1:
                changed = (
                    f" (the weights of {models[0]}, or the settings, have changed since; earlier"
                    " weights of a bundled model have a name of their own, such as en-small-0.1)"
                )
            raise CorpusError(
                f"the corpus at {self.root} holds vectors of {len(found)} different models or"
                f" settings ({', '.join(models)}), which cannot be compared; embed all its"
                " documents again with one of them, and --prune what is no longer in the input"
                + changed
            )
        return found[0]

    @property
    def tombstones(self) -> dict[str, pa.Array]:
        """For each live segment that has any, the ids of its deleted documents."""
        # Not a cached_property: in Python 3.11 all instances would wait for the one that reads.
        if self._tombstones is None:
            self._tombstones = self._read_tombstones()
        return self._tombstones

    def _read_tombstones(self) -> dict[str, pa.Array]:
        ids = [segment.segment_id for segment in self.segments]
        snapshot = self.snapshot
        return read_tombstones(self.store, snapshot.tombstones, ids, snapshot.checksums)

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
          batch_rows: most rows per batch.

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
        deleted = None if table == "rejects" else self.tombstones.get(segment_id)
        path = f"segments/{segment_id}/{part_path}"
        yield from scan_rows(self.store, path, deleted, columns, batch_rows)

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
