"""The input cut into slices, and each slice into tasks: one reading task a part. No Beam.

The planner reads the input once, in order, and decides there what is new; workers read only the
records it chose. Records of compressed files and of standard input cannot be found again by their
position, so they are copied to a spool file beside the job.
"""

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import IO

from pipelines.documents import SELECT, Document, Reject, raw_start
from pipelines.options import InputOptions
from pipelines.records import fetch, read_spool, scan, spool_document
from pipelines.selection import CHANGED, DUPLICATE, UNCHANGED, Selector
from pipelines.sources import InputFile

# A part may have 2^25 tokens, and a token is at least a byte.
MAX_PART_BYTES = 16 << 20


@dataclass(frozen=True, slots=True)
class Chosen:
    """One document to embed: where it is, and how large its text is."""

    file: InputFile
    position: int
    text_bytes: int


@dataclass(frozen=True, slots=True)
class ReadTask:
    """What one worker reads and writes as one part.

    Attributes:
      part: number of the part.
      ranges: for each file the rising positions of its chosen records.
      options: how records become documents.
    """

    part: int
    ranges: tuple[tuple[InputFile, tuple[int, ...]], ...]
    options: InputOptions

    @property
    def documents(self) -> int:
        """Documents planned."""
        return sum(len(positions) for _, positions in self.ranges)


@dataclass(kw_only=True)
class Slice:
    """A stretch of the input that is committed at once.

    Attributes:
      chosen: documents to embed, in input order.
      claims: their ids.
      rejects: rejects that no earlier run has recorded.
      supersede: for each segment the documents in it that `chosen` replaces.
      read: records read.
      unchanged: of these, live already.
      rejected: of these, rejected; those known before included.
      rejected_sentences: of the unchanged documents.
      damaged: files that could not be read to their end.
      input_bytes: of the files, as stored, that are behind us.
      last: no more input follows.
    """

    chosen: list[Chosen] = field(default_factory=list)
    claims: list[str] = field(default_factory=list)
    rejects: list[Reject] = field(default_factory=list)
    supersede: dict[str, list[str]] = field(default_factory=dict)
    read: int = 0
    unchanged: int = 0
    rejected: int = 0
    rejected_sentences: int = 0
    damaged: list[str] = field(default_factory=list)
    input_bytes: float = 0.0
    last: bool = False

    def tasks(self, workers: int, options: InputOptions) -> list[ReadTask]:
        """Divide the chosen documents, in order, among workers: about as many bytes to each."""
        total = sum(chosen.text_bytes for chosen in self.chosen)
        share = min(total / max(workers, 1), MAX_PART_BYTES)
        groups: list[list[Chosen]] = []
        filled = 0.0
        for chosen in self.chosen:
            if not groups or filled >= share:
                groups.append([])
                filled = 0.0
            groups[-1].append(chosen)
            filled += chosen.text_bytes
        return [ReadTask(part, _ranges(group), options) for part, group in enumerate(groups)]


SPOOL = "spool"


class Planner:
    """Reads the input and cuts it into slices.

    Args:
      files: of the input, in order.
      options: how records become documents.
      selector: what is new.
      slice_documents: documents to a slice.
      spool_directory: local directory for what cannot be read again from its file.
    """

    def __init__(
        self,
        files: Iterable[InputFile],
        options: InputOptions,
        selector: Selector,
        slice_documents: int,
        spool_directory: str,
    ) -> None:
        self._files = list(files)
        self._options = options
        self.selector = selector
        self._slice_documents = slice_documents
        self._directory = spool_directory
        self.total_bytes = sum(file.size or 0 for file in self._files)

    def slices(self) -> Iterator[Slice]:
        """Yield slice after slice; the spool of one is gone when the next is asked for."""
        current, number, behind = Slice(), 0, 0.0
        spool = _Spool(self._directory, number)
        for file in self._files:
            for record in scan(file, self._options):
                self._take(current, file, record, spool)
                if len(current.chosen) == self._slice_documents:
                    current.input_bytes = behind
                    spool.finish()
                    yield current
                    spool.remove()
                    current, number = Slice(), number + 1
                    spool = _Spool(self._directory, number)
            behind += file.size or 0
        current.input_bytes, current.last = behind, True
        spool.finish()
        yield current
        spool.remove()

    def _take(
        self, current: Slice, file: InputFile, record: Document | Reject, spool: "_Spool"
    ) -> None:
        if isinstance(record, Reject):
            self._reject(current, record)
            return
        current.read += 1
        decision = self.selector.decide(record)
        if decision.kind == DUPLICATE:
            detail = f"an earlier record has the id {record.doc_id!r}; ids must be unique"
            current.read -= 1
            self._reject(current, _rejected(record, "duplicate-id", detail))
        elif decision.kind == UNCHANGED:
            current.unchanged += 1
            current.rejected_sentences += decision.rejected_sentences
        else:
            if decision.kind == CHANGED:
                current.supersede.setdefault(decision.segment_id, []).append(record.doc_id)
            current.claims.append(record.doc_id)
            size = len(record.text.encode())
            if file.seekable:
                current.chosen.append(Chosen(file, record.position, size))
            else:
                current.chosen.append(Chosen(spool.file, spool.add(record), size))

    def _reject(self, current: Slice, reject: Reject) -> None:
        current.read += 1
        current.rejected += 1
        if reject.reason == "damaged-file":
            current.damaged.append(reject.uri)
        if reject.doc_id is not None:
            self.selector.mention(reject.doc_id)
        if not self.selector.knows_reject(reject):
            current.rejects.append(reject)


def read_task(task: ReadTask) -> Iterator[Document]:
    """Yield the documents of a task, in order.

    Raises:
      RuntimeError: if a planned record is no document any more: the input changed meanwhile.
    """
    for file, positions in task.ranges:
        if file.format == SPOOL:
            with open(file.uri, "rb") as stream:
                yield from (_of_part(d, task.part) for d in read_spool(stream, positions))
            continue
        for record in fetch(file, task.options, positions):
            if isinstance(record, Reject):
                raise RuntimeError(
                    f"input {file.uri} changed while it was read: the record at {record.position}"
                    f" was a document and is now rejected ({record.reason}); run the command again"
                )
            yield _of_part(record, task.part)


class _Spool:
    """A local file of documents, made when the first is added."""

    def __init__(self, directory: str, number: int) -> None:
        self._path = os.path.join(directory, f"{number:08d}.spool")
        self.file = InputFile(self._path, SPOOL)
        self._stream: IO[bytes] | None = None

    def add(self, document: Document) -> int:
        if self._stream is None:
            self._stream = open(self._path, "wb")  # noqa: SIM115  # closed by finish
        position = self._stream.tell()
        spool_document(document, self._stream)
        return position

    def finish(self) -> None:
        if self._stream is not None:
            self._stream.close()

    def remove(self) -> None:
        if self._stream is not None:
            os.unlink(self._path)


def _ranges(group: list[Chosen]) -> tuple[tuple[InputFile, tuple[int, ...]], ...]:
    ranges: list[tuple[InputFile, list[int]]] = []
    for chosen in group:
        if not ranges or ranges[-1][0] is not chosen.file:
            ranges.append((chosen.file, []))
        ranges[-1][1].append(chosen.position)
    return tuple((file, tuple(positions)) for file, positions in ranges)


def _of_part(document: Document, part: int) -> Document:
    return replace(document, part=part)


def _rejected(document: Document, reason: str, detail: str) -> Reject:
    return Reject(
        uri=document.uri,
        position=document.position,
        stage=SELECT,
        reason=reason,
        detail=raw_start(detail),
        doc_id=document.doc_id,
        raw=raw_start(document.text),
    )
