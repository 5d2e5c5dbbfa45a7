"""Parts chosen by digest, for a job on an engine, and how a worker reads them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from pipelines.embed.batch import PartEnd, PartId, PartRecord
from pipelines.embed.choosing import ChosenPart
from pipelines.embed.digest_table import digest
from pipelines.embed.planner import duplicate
from pipelines.reading.documents import Document, Reject
from pipelines.reading.options import InputOptions
from pipelines.reading.records import fetch, scan
from pipelines.reading.splits import FilePiece, piece_bounds

# Records are read one by one where they are fewer than this share of the piece's bytes.
SPARSE = 0.125


@dataclass(frozen=True)
class NumberedPart:
    """A chosen part with its place in a segment."""

    part: PartId
    segment_parts: int
    chosen: ChosenPart


@dataclass(frozen=True)
class PieceTask:
    """Parts of one piece of the input, read by one worker in one pass.

    Attributes:
      piece: of the input.
      options: how records become documents.
      parts: in the order of their records.
      live_ids: ids of the segments that were live, by their number less 1.
    """

    piece: FilePiece
    options: InputOptions
    parts: tuple[NumberedPart, ...]
    live_ids: Sequence[str]


def piece_part_ids(task: PieceTask) -> tuple[PartId, ...]:
    """Return the parts of a task."""
    return tuple(numbered.part for numbered in task.parts)


def read_piece(task: PieceTask, settled: frozenset[PartId]) -> Iterator[PartRecord]:
    """Yield the records of each part that is not settled, and its end.

    Raises:
      RuntimeError: if the input is not what it was when it was scanned.
    """
    todo = [_OpenPart(each, task.live_ids) for each in task.parts if each.part not in settled]
    if not todo:
        return
    current = todo.pop(0)
    for record in _records(task, [current, *todo]):
        while record.position > current.last and todo:
            yield current.end()
            current = todo.pop(0)
        if (taken := current.take(record)) is not None:
            yield taken
    yield current.end()
    for part in todo:
        yield part.end()


class _OpenPart:
    """A part whose records are being read."""

    def __init__(self, numbered: NumberedPart, live_ids: Sequence[str]) -> None:
        self._numbered = numbered
        self.chosen = chosen = numbered.chosen
        self._live_ids = live_ids
        self._documents = dict(zip(chosen.documents, chosen.supersede, strict=True))
        self._rejects, self._duplicates = set(chosen.rejects), set(chosen.duplicates)
        self.positions = sorted({*self._documents, *self._rejects, *self._duplicates})
        self.last = self.positions[-1]
        self._found = self._check = 0
        self._supersede: dict[str, list[str]] = {}

    def take(self, record: Document | Reject) -> PartRecord | None:
        """Return the record of the part that this is, or None."""
        position, part = record.position, self._numbered.part
        if isinstance(record, Reject):
            wanted = position in self._rejects
            self._found += wanted
            return PartRecord(part, record) if wanted else None
        if position in self._duplicates:
            self._found += 1
            return PartRecord(part, duplicate(record))
        number = self._documents.get(position)
        if number is None:
            return None
        self._found += 1
        self._check ^= int.from_bytes(digest(record.doc_id)[:4])
        if number:
            self._supersede.setdefault(self._live_ids[number - 1], []).append(record.doc_id)
        return PartRecord(part, record)

    def end(self) -> PartRecord:
        """Return the mark of the part's end, if all of it was there."""
        chosen, numbered = self.chosen, self._numbered
        expected = len(chosen.documents) + len(chosen.rejects) + len(chosen.duplicates)
        if self._found != expected or self._check != chosen.check:
            raise RuntimeError(
                f"the input changed while the job ran: of {expected} records chosen between"
                f" {self.positions[0]} and {self.last}, {self._found} were found again, or they"
                " have other ids now; run the command again"
            )
        supersede = {old: tuple(doc_ids) for old, doc_ids in self._supersede.items()}
        end = PartEnd(len(chosen.documents), numbered.segment_parts, supersede)
        return PartRecord(numbered.part, end)


def _records(task: PieceTask, todo: Sequence[_OpenPart]) -> Iterator[Document | Reject]:
    piece, options = task.piece, task.options
    text_bytes = sum(part.chosen.text_bytes for part in todo)
    rejects = any(part.chosen.rejects for part in todo)  # a damaged file has no record there
    piece_bytes = (piece.file.size or 0) / piece.pieces
    if piece.file.seekable and not rejects and text_bytes < SPARSE * piece_bytes:
        positions = [position for part in todo for position in part.positions]
        return fetch(piece.file, options, positions)
    return scan(piece.file, options, *piece_bounds(piece))
