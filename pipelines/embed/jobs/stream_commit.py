"""Take over a corpus's stream, and commit its batches: both drivers of a stream do it with this."""

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from pipelines.corpus.commits import (
    Change,
    CommitRefusedError,
    StreamMoved,
    commit,
    committed_numbers,
)
from pipelines.corpus.number_ranges import contains
from pipelines.corpus.segment_files import clean_segment
from pipelines.corpus.stream_marks import Marks, read_marks, write_marks
from pipelines.corpus.stream_plan import BatchSummary, plan_commit
from pipelines.corpus.view import CorpusView
from pipelines.embed.stream_documents import BatchChoice, StreamDocuments
from pipelines.errors import CorpusError
from pipelines.reading.stream_batch import Lag, Mark, RecordsLost, Source, StreamBatch
from schemas import Segment, StreamEntry

logger = logging.getLogger(__name__)

# What an entry says of the process that streams, a batch, and how many documents it changed -> what
# the entry says with that batch.
Describe = Callable[[Mapping[str, Any], "WrittenBatch", int], Mapping[str, Any]]


class StreamFenced(CorpusError):
    """Another stream took over; this one may commit no more."""


@dataclass(frozen=True, kw_only=True)
class WrittenBatch:
    """A batch whose segment is written and which waits to be committed.

    Attributes:
      ranges: for each partition read the positions [from, to).
      origins: where partitions begin that were not known before.
      marks: what the source is to remember.
      claims: ids of the documents of the segment.
      deletions: ids that must not stay live.
      read: records of the batch.
      rejected: of these, documents included that could not be embedded.
      unchanged: documents whose live version was the same.
      replaced: records that a later one overtook.
      deleted: deletions that count.
      skipped: records delivered again.
      reasons: how many new rejects for each reason.
      lag: of the source after the batch was read.
      segment: None if nothing was to be written.
      writer: id of the running writer that it was written for; empty on an engine.
    """

    ranges: Mapping[str, tuple[int, int]]
    origins: Mapping[str, int]
    marks: Mapping[str, Mark]
    claims: tuple[str, ...] = ()
    deletions: tuple[str, ...] = ()
    read: int = 0
    rejected: int = 0
    unchanged: int = 0
    replaced: int = 0
    deleted: int = 0
    skipped: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    lag: Lag = field(default_factory=Lag)
    segment: Segment | None = None
    writer: str = ""

    @property
    def counts(self) -> Mapping[str, int]:
        """The counts of the segment; none if there is no segment."""
        return self.segment.counts if self.segment else {}


def written_batch(
    batch: StreamBatch, choice: BatchChoice, lag: Lag, segment: Segment | None, writer: str = ""
) -> WrittenBatch:
    """Put together what is committed of a batch, without its texts."""
    written = segment.counts["documents"] if segment else 0
    return WrittenBatch(
        ranges=batch.ranges,
        origins=batch.origins,
        marks=batch.marks,
        claims=tuple(document.doc_id for document in choice.documents),
        deletions=tuple(choice.deletions),
        read=choice.read,
        rejected=choice.rejected + len(choice.documents) - written,
        unchanged=choice.unchanged,
        replaced=choice.replaced,
        deleted=choice.deleted,
        skipped=batch.skipped,
        reasons=choice.reasons,
        lag=lag,
        segment=segment,
        writer=writer,
    )


def claim_stream(
    corpus: CorpusView, source: Source, owner: Mapping[str, Any], *, replace_source: bool = False
) -> tuple[StreamEntry, CorpusView]:
    """Take over a corpus's stream with a new epoch, before anything is read.

    The source goes on from the positions of the corpus.

    Args:
      corpus: as it is now.
      source: of the stream; `check_corpus` has accepted it.
      owner: the process that streams.
      replace_source: begin a source from its beginning that is not the one read before.

    Returns:
      The entry that was committed, and the corpus with it.

    Raises:
      StreamFenced: if another stream was faster.
      CorpusError: if the corpus cannot be written.
      RecordsLost: if the source has lost what was not read yet.
    """
    before = corpus.snapshot.stream
    base = before or StreamEntry(source_id=source.source_id, epoch=0)
    if base.source_id != source.source_id:
        base = replace(base, source_id=source.source_id, positions={}, marks=())
    marks = {key: Mark(*mark) for key, mark in read_marks(corpus.store, base.marks).items()}
    try:
        positions = source.start(base.positions, marks)
    except RecordsLost:
        if not replace_source:
            raise
        # A topic of the same name that was made anew.
        base = replace(base, positions={}, marks=())
        positions = source.start({}, {})
    entry = replace(base, epoch=base.epoch + 1, positions=positions, owner=owner)
    change = Change(operation="stream", stream=entry, stream_before=before)
    try:
        return entry, _commit(corpus, change, entry)
    except StreamFenced:
        current = corpus.refresh()
        now = current.snapshot.stream
        if before is None or now is None or now.epoch != before.epoch:
            raise
        # Only a batch of the stream that is to be replaced came between, as its workers elsewhere
        # go on until they see that they are.
        return claim_stream(current, source, owner, replace_source=replace_source)
    except OSError as error:
        raise CorpusError(
            f"the corpus at {corpus.root} cannot be written: {error}; check the path and the"
            " permissions"
        ) from error


class StreamCommitter:
    """Commits the batches of one epoch of a stream, in the order of its source.

    Args:
      corpus: as it is after the stream was taken over.
      entry: of that epoch.
      known: the live documents of the corpus.
    """

    def __init__(self, corpus: CorpusView, entry: StreamEntry, known: StreamDocuments) -> None:
        self.corpus = corpus
        self.entry = entry
        self._known = known
        self._marks: Marks = read_marks(corpus.store, entry.marks)

    def refresh(self) -> None:
        """Take up what other writers committed."""
        self._see(self.corpus.refresh())

    def _see(self, corpus: CorpusView) -> None:
        if corpus.snapshot.number != self.corpus.snapshot.number:
            self._known.refresh(corpus)
        self.corpus = corpus

    def commit(self, batch: WrittenBatch, describe: Describe | None = None) -> int:
        """Commit a batch and its positions in one snapshot; returns how many documents changed.

        Args:
          batch: that joins the committed positions.
          describe: makes what the entry is to say of the process that streams; None keeps it.

        Raises:
          StreamFenced: if another stream has committed.
          CommitRefusedError: if a vacuum gave the batch's writer or segment up.
        """
        supersede = self._supersede((*batch.claims, *batch.deletions))
        claims = frozenset(batch.claims)
        changed = sum(doc_id in claims for doc_ids in supersede.values() for doc_id in doc_ids)
        entry = self._next_entry(batch)
        if describe is not None:
            entry = replace(entry, owner=describe(entry.owner, batch, changed))
        change = Change(
            operation="stream",
            add=(batch.segment,) if batch.segment else (),
            supersede=supersede,
            # What another writer committed of these meanwhile is older than what the source says.
            delete=frozenset((*batch.claims, *batch.deletions)),
            claims=claims,
            known=committed_numbers(self.corpus.snapshot, self.corpus.segments),
            writer=batch.writer,
            stream=entry,
            stream_before=self.entry,
        )
        try:
            self._see(_commit(self.corpus, change, entry))
        except (StreamFenced, CommitRefusedError):
            if batch.segment is not None:
                clean_segment(self.corpus.store, batch.segment.segment_id)
            raise
        self.entry = entry
        self._marks.update({key: (m.value, m.position) for key, m in batch.marks.items()})
        return changed

    def commit_waiting(
        self, waiting: Sequence[BatchSummary[WrittenBatch]], describe: Describe
    ) -> list[BatchSummary[WrittenBatch]]:
        """Commit of several batches those that join; returns those that wait for others.

        Args:
          waiting: in any order, with repetitions.
          describe: as `commit` has it.

        Raises:
          StreamFenced, CommitRefusedError: as `commit` does.
        """
        origins = {name: at for each in waiting for name, at in each.payload.origins.items()}
        plan = plan_commit(self.entry.epoch, {**origins, **self.entry.positions}, waiting)
        for summary in plan.taken:
            changed = self.commit(summary.payload, describe)
            logger.debug("committed %s, %d changed", dict(summary.ranges), changed)
        committed = committed_numbers(self.corpus.snapshot, self.corpus.segments)
        for summary in plan.dropped:  # the segment of a second attempt
            segment = summary.payload.segment
            if segment is not None and not contains(committed, segment.number):
                clean_segment(self.corpus.store, segment.segment_id)
        return list(plan.rest)

    def _supersede(self, doc_ids: Iterable[str]) -> dict[str, list[str]]:
        """Return for each live segment the documents in it that must not stay."""
        found: dict[str, list[str]] = {}
        for doc_id in doc_ids:
            live = self._known.find(doc_id)
            if live is not None:
                found.setdefault(live[0], []).append(doc_id)
        return found

    def _next_entry(self, batch: WrittenBatch) -> StreamEntry:
        summary = BatchSummary(epoch=self.entry.epoch, ranges=batch.ranges, payload=batch)
        plan = plan_commit(self.entry.epoch, {**batch.origins, **self.entry.positions}, [summary])
        if not plan.taken:
            raise CorpusError(
                f"a batch of {batch.ranges} does not follow the committed positions"
                f" {dict(self.entry.positions)}; start the stream again"
            )
        marks = {**self._marks, **{k: (m.value, m.position) for k, m in batch.marks.items()}}
        marks = {key: mark for key, mark in marks.items() if mark[0]}
        number = self.corpus.snapshot.number + 1
        paths = write_marks(self.corpus.store, number, self.entry.marks, marks, batch.marks)
        return replace(
            self.entry,
            positions=dict(plan.positions),
            marks=paths,
            lag={"records": batch.lag.records, "seconds": round(batch.lag.seconds, 3)},
        )


def _commit(corpus: CorpusView, change: Change, entry: StreamEntry) -> CorpusView:
    """Commit what has this entry; returns the corpus after it."""
    try:
        return commit(corpus, change)
    except StreamMoved as error:
        current = corpus.refresh()
        if current.snapshot.stream != entry:  # else the answer to our own commit was lost
            raise fenced(entry, current) from error
        return current


def fenced(entry: StreamEntry, current: CorpusView) -> StreamFenced:
    """Return the error of a stream whose corpus another one has taken over."""
    other = current.snapshot.stream
    epoch = other.epoch if other else "none"
    return StreamFenced(
        f"another stream took over the corpus at {current.root} (epoch {epoch}, this one has"
        f" {entry.epoch}); this one ends, and nothing is lost: run one stream on a corpus"
    )
