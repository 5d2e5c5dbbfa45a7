"""Divide the input into slices, and each slice into tasks with one part each.

The planner reads the input once, in order, and decides there what is new; workers read only the
records it chose. Records of compressed files and of standard input cannot be found again by their
position, so they are copied to a spool file beside the job.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from pipelines.embed.batch import PartEnd, PartId
from pipelines.embed.planned_parts import PlannedPart
from pipelines.embed.relabel import CopiedPart, Relabelled
from pipelines.embed.remarks import Remarks
from pipelines.embed.selection import CHANGED, DUPLICATE, RELABELLED, UNCHANGED, Selector
from pipelines.reading.documents import SELECT, Document, Reject, raw_start
from pipelines.reading.input_files import InputFile
from pipelines.reading.options import InputOptions
from pipelines.reading.parquet_rows import largest_row_group
from pipelines.reading.records import scan
from pipelines.reading.splits import ReadRange, ReadTask
from pipelines.reading.spool import Spool
from schemas.tables import MAX_PART_ROWS

# A part may have 2^25 tokens, and a token is at least a byte.
MAX_PART_BYTES = 16 << 20
# An input of nothing but rejects is committed in slices too.
MAX_SLICE_REJECTS = 10_000
# Documents to a slice. A slice costs a third of a second beside its documents: where they are
# short, it has more of them, so that it takes the model some twenty seconds all the same.
SLICE_DOCUMENTS, SLICE_BYTES, MOST_SLICE_DOCUMENTS = 2000, 2 << 20, 20_000
# Of documents that are relabelled the plan holds the metadata; so many characters fill a slice.
MAX_SLICE_METADATA = 32 << 20


@dataclass(frozen=True, slots=True)
class Chosen:
    """One document to embed: where it is, and how large its text is."""

    file: InputFile
    position: int
    text_bytes: int


@dataclass(kw_only=True)
class Slice:
    """A stretch of the input that is committed at once.

    Attributes:
      chosen: documents to embed, in input order.
      relabelled: documents whose rows are copied, in input order.
      metadata_characters: of these.
      text_bytes: of the documents to embed.
      claims: the ids of both.
      rejects: rejects that no earlier run has recorded.
      supersede: for each segment the documents in it that `chosen` replaces.
      read: records read.
      unchanged: of these, live already.
      rejected: of these, rejected; those known before included.
      rejected_sentences: of the unchanged documents.
      damaged: files that could not be read to their end.
      nameless: of the rejected, records whose id is not known.
      input_bytes: of the files, as stored, that are behind us.
      last: no more input follows.
      remarks: on the documents of the slice, as `Remarks` makes them.
    """

    chosen: list[Chosen] = field(default_factory=list)
    relabelled: list[Relabelled] = field(default_factory=list)
    metadata_characters: int = 0
    text_bytes: int = 0
    claims: list[str] = field(default_factory=list)
    rejects: list[Reject] = field(default_factory=list)
    supersede: dict[str, list[str]] = field(default_factory=dict)
    read: int = 0
    unchanged: int = 0
    rejected: int = 0
    rejected_sentences: int = 0
    damaged: list[str] = field(default_factory=list)
    nameless: int = 0
    input_bytes: float = 0.0
    last: bool = False
    remarks: list[str] = field(default_factory=list)

    @property
    def documents(self) -> int:
        """How many documents are written: embedded or copied."""
        return len(self.chosen) + len(self.relabelled)

    @property
    def replaced(self) -> int:
        """How many of them replace an older version."""
        return len(self.relabelled) + sum(map(len, self.supersede.values()))

    def tasks(self, workers: int, options: InputOptions) -> list[ReadTask]:
        """Divide the chosen documents, in order, among workers: about as many bytes to each."""
        total = sum(chosen.text_bytes for chosen in self.chosen)
        share = min(total / max(workers, 1), MAX_PART_BYTES)
        groups: list[list[Chosen]] = []
        filled = 0.0
        for chosen in self.chosen:
            too_many = filled + chosen.text_bytes > MAX_PART_ROWS  # tokens, one a byte
            if not groups or filled >= share or too_many:
                groups.append([])
                filled = 0.0
            groups[-1].append(chosen)
            filled += chosen.text_bytes
        return [ReadTask(part, _ranges(group), options) for part, group in enumerate(groups)]

    def parts(
        self, segment_id: str, number: int, workers: int, options: InputOptions
    ) -> tuple[list[PlannedPart], list[CopiedPart]]:
        """Return the parts of the slice's segment: those to embed, and those to copy.

        The first of those to embed has what concerns the whole slice.
        """
        tasks = self.tasks(workers, options)
        groups = _groups_to_copy(self.relabelled)
        if not tasks and (self.rejects or not groups):
            tasks = [ReadTask(0, (), options)]
        total = len(tasks) + len(groups)
        copied = [
            CopiedPart(
                PartId(segment_id, number, len(tasks) + index),
                tuple(group),
                PartEnd(len(group), total, _by_segment(group)),
            )
            for index, group in enumerate(groups)
        ]
        planned = [
            PlannedPart(
                PartId(segment_id, number, task.part),
                task,
                () if task.part else tuple(self.rejects),
                PartEnd(
                    sum(len(found.positions or ()) for found in task.ranges),
                    total,
                    {} if task.part else {old: tuple(ids) for old, ids in self.supersede.items()},
                ),
            )
            for task in tasks
        ]
        return planned, copied


class Planner:
    """Reads the input and cuts it into slices.

    Args:
      files: of the input, in order.
      options: how records become documents.
      selector: what is new.
      slice_documents: documents to a slice; None for SLICE_DOCUMENTS, or more if they are short.
      spool_directory: local directory for what cannot be read again from its file.
      remarks: finds what is to be said of documents that are embedded.
    """

    def __init__(
        self,
        files: Iterable[InputFile],
        options: InputOptions,
        selector: Selector,
        slice_documents: int | None,
        spool_directory: str,
        remarks: Remarks | None = None,
    ) -> None:
        self._files = list(files)
        self._options = options
        self.selector = selector
        self._slice_documents = slice_documents
        self._directory = spool_directory
        self._remarks = remarks
        self._group_rows: dict[str, int] = {}
        self.total_bytes = sum(file.size or 0 for file in self._files)

    def slices(self) -> Iterator[Slice]:
        """Yield slice after slice; the spool of one is gone when the next is asked for."""
        current, number, behind = Slice(), 0, 0.0
        spool = Spool(self._directory, number)
        for file in self._files:
            for record in scan(file, self._options):
                self._take(current, file, record, spool)
                if self._is_full(current):
                    current.input_bytes = behind
                    spool.finish()
                    yield current
                    spool.remove()
                    current, number = Slice(), number + 1
                    spool = Spool(self._directory, number)
            behind += file.size or 0
        current.input_bytes, current.last = behind, True
        spool.finish()
        yield current
        spool.remove()

    def _spools(self, file: InputFile) -> bool:
        """Say whether a file's records are copied: its row groups are larger than a slice, and
        each slice would decode one again."""
        if file.format != "parquet":
            return False
        if file.uri not in self._group_rows:
            self._group_rows[file.uri] = largest_row_group(file)
        return self._group_rows[file.uri] > (self._slice_documents or SLICE_DOCUMENTS)

    def _is_full(self, current: Slice) -> bool:
        if self._slice_documents is not None:
            enough = current.documents == self._slice_documents
        else:
            enough = current.documents == MOST_SLICE_DOCUMENTS or (
                current.documents >= SLICE_DOCUMENTS and current.text_bytes >= SLICE_BYTES
            )
        return (
            enough
            or len(current.rejects) == MAX_SLICE_REJECTS
            or current.metadata_characters > MAX_SLICE_METADATA
        )

    def _take(
        self, current: Slice, file: InputFile, record: Document | Reject, spool: Spool
    ) -> None:
        if isinstance(record, Reject):
            self._reject(current, record)
            return
        current.read += 1
        decision = self.selector.decide(record)
        if decision.kind == DUPLICATE:
            current.read -= 1
            self._reject(current, duplicate(record))
        elif decision.kind == UNCHANGED:
            current.unchanged += 1
            current.rejected_sentences += decision.rejected_sentences
        elif decision.kind == RELABELLED:
            self._relabel(current, record, decision.segment_id)
        else:
            if decision.kind == CHANGED:
                current.supersede.setdefault(decision.segment_id, []).append(record.doc_id)
            current.claims.append(record.doc_id)
            if self._remarks is not None:
                current.remarks += self._remarks.of(record)
            size = len(record.text.encode())
            current.text_bytes += size
            if file.seekable and not self._spools(file):
                current.chosen.append(Chosen(file, record.position, size))
            else:
                current.chosen.append(Chosen(spool.file, spool.add(record), size))

    def _relabel(self, current: Slice, record: Document, segment_id: str) -> None:
        found = Relabelled(
            record.doc_id,
            segment_id,
            record.uri,
            record.position,
            record.metadata,
            len(record.text.encode()),
        )
        current.metadata_characters += found.size
        current.relabelled.append(found)
        current.claims.append(record.doc_id)

    def _reject(self, current: Slice, reject: Reject) -> None:
        current.read += 1
        current.rejected += 1
        # A row that swallowed others says as little of them as a file that ends too early.
        if reject.reason in ("damaged-file", "invalid-csv"):
            current.damaged.append(reject.uri)
        if reject.doc_id is None:
            current.nameless += 1
        else:
            self.selector.mention(reject.doc_id)
        if not self.selector.knows_reject(reject):
            current.rejects.append(reject)


def _ranges(group: list[Chosen]) -> tuple[ReadRange, ...]:
    ranges: list[tuple[InputFile, list[int]]] = []
    for chosen in group:
        if not ranges or ranges[-1][0] is not chosen.file:
            ranges.append((chosen.file, []))
        ranges[-1][1].append(chosen.position)
    return tuple(ReadRange(file, tuple(positions)) for file, positions in ranges)


def _groups_to_copy(relabelled: list[Relabelled]) -> list[list[Relabelled]]:
    """Divide documents among parts, which have an upper bound of tokens."""
    groups: list[list[Relabelled]] = []
    filled = 0
    for document in relabelled:
        if not groups or filled + document.text_bytes > MAX_PART_ROWS:
            groups.append([])
            filled = 0
        groups[-1].append(document)
        filled += document.text_bytes
    return groups


def _by_segment(group: list[Relabelled]) -> dict[str, tuple[str, ...]]:
    found: dict[str, list[str]] = {}
    for document in group:
        found.setdefault(document.segment_id, []).append(document.doc_id)
    return {segment_id: tuple(doc_ids) for segment_id, doc_ids in found.items()}


def duplicate(document: Document) -> Reject:
    """Return the reject of a document whose id an earlier one has."""
    detail = f"an earlier record has the id {document.doc_id!r}; ids must be unique"
    return Reject(
        uri=document.uri,
        position=document.position,
        stage=SELECT,
        reason="duplicate-id",
        detail=raw_start(detail),
        doc_id=document.doc_id,
        raw=raw_start(document.text),
    )
