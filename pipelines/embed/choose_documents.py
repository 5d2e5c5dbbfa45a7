"""Beam transforms that choose what a job on an engine embeds, and in which parts.

ChooseDocuments   input and live rows -> parts to embed, counts, documents to prune
ReserveSegment    parts -> tasks for EmbedParts, numbered within segments that were reserved

Wiring only: what is decided, and how, is in `choosing`.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import apache_beam as beam

from pipelines.corpus.store import Store
from pipelines.embed.batch import PartId
from pipelines.embed.choosing import (
    CHOSEN,
    COUNTS,
    MISSING,
    OUTPUTS,
    READ,
    REASON,
    RECORDS,
    REJECTED,
    REJECTS,
    ChosenPart,
    LiveSegment,
    Output,
    decide,
    decide_reject,
    first_examples,
    plan_piece,
    scan_live,
    scan_piece,
)
from pipelines.embed.job_directory import JobDirectory
from pipelines.embed.piece_parts import NumberedPart, PieceTask
from pipelines.embed.remarks import Remarks
from pipelines.errors import CorpusError
from pipelines.reading.input_files import InputFile
from pipelines.reading.options import InputOptions
from pipelines.reading.splits import FilePiece


@dataclass(frozen=True)
class FilePieces:
    """A file of the input and the pieces it is divided into.

    Attributes:
      first: index of its first piece in the whole input.
      file: that is divided.
      pieces: how many.
    """

    first: int
    file: InputFile
    pieces: int

    def __iter__(self) -> Iterator[FilePiece]:
        for piece in range(self.pieces):
            yield FilePiece(self.first + piece, self.file, piece, self.pieces)


@dataclass(frozen=True, kw_only=True)
class Choice:
    """What ChooseDocuments compares, and how.

    Attributes:
      store: of the corpus.
      options: how records become documents.
      live: the live segments of the snapshot that the job is planned on.
      tombstones: files of that snapshot.
      prune: tell of live documents that the input does not name.
      job: where workers meet.
      language: whose words are looked for in the texts; None where they are tokens already.
    """

    store: Store
    options: InputOptions
    live: tuple[LiveSegment, ...]
    tombstones: tuple[str, ...]
    prune: bool
    job: JobDirectory
    language: str | None = None

    @property
    def live_ids(self) -> tuple[str, ...]:
        """Ids of the live segments, by their number less 1."""
        return tuple(segment.segment_id for segment in self.live)


@dataclass(frozen=True)
class Chosen:
    """What ChooseDocuments found.

    Attributes:
      parts: (index of a piece, (FilePiece, list of ChosenPart)).
      counts: (name, number); the names are in `choosing`.
      missing: (segment_id, doc_id) of live documents that the input does not name.
    """

    parts: beam.PCollection
    counts: beam.PCollection
    missing: beam.PCollection


class ChooseDocuments:
    """Chooses by digest what is new or changed; texts and vectors pass through no shuffle.

    pieces -> Reshuffle -> scan -+-> group by id -> decide -+-> group by piece -> plan
    live segments -> scan -------+-> group rejects ---------+

    Not a PTransform: its outputs are of three kinds, which `Chosen` names.

    Args:
      choice: what is compared, and how.
      files: of the input, in order.
    """

    def __init__(self, choice: Choice, files: Iterable[FilePieces]) -> None:
        self._choice = choice
        self._files = list(files)

    def apply(self, pipeline: beam.Pipeline) -> Chosen:
        """Add the transforms to a pipeline."""
        choice = self._choice
        scanned = (
            pipeline
            | "InputFiles" >> beam.Create(self._files)
            | "Divide" >> beam.FlatMap(iter)
            | "SpreadPieces" >> beam.Reshuffle()
            | "Scan" >> _outputs(ScanPieceFn(choice))
        )
        live = (
            pipeline
            | "LiveSegments" >> beam.Create(choice.live)
            | "SpreadLive" >> beam.Reshuffle()
            | "ScanLive" >> _outputs(ScanLiveFn(choice))
        )
        decided = (
            (scanned[RECORDS], live[RECORDS])
            | "AllRecords" >> beam.Flatten()
            | "GroupById" >> beam.GroupByKey()
            | "Decide" >> _outputs(DecideFn(choice))
        )
        rejected = (
            (scanned[REJECTS], live[REJECTS], decided[REJECTS])
            | "AllRejects" >> beam.Flatten()
            | "GroupRejects" >> beam.GroupByKey()
            | "DecideRejects" >> _outputs(DecideRejectFn())
        )
        parts = (
            (scanned[CHOSEN], decided[CHOSEN], rejected[CHOSEN])
            | "AllChosen" >> beam.Flatten()
            | "GroupByPiece" >> beam.GroupByKey()
            | "PlanParts" >> beam.FlatMap(_plan)
        )
        counts = (
            (scanned[COUNTS], decided[COUNTS], rejected[COUNTS])
            | "AllCounts" >> beam.Flatten()
            | "Count" >> beam.CombinePerKey(sum)
        )
        return Chosen(parts, counts, decided[MISSING])


def _outputs(fn: beam.DoFn) -> Any:
    return beam.ParDo(fn).with_outputs(*OUTPUTS, main=RECORDS)


def _tagged(outputs: Iterable[Output]) -> Iterator[Any]:
    for name, element in outputs:
        yield element if name == RECORDS else beam.pvalue.TaggedOutput(name, element)


class ScanPieceFn(beam.DoFn):
    """FilePiece -> entries of its records."""

    def __init__(self, choice: Choice) -> None:
        self._choice = choice

    def setup(self) -> None:
        self._choice.job.join()

    def process(self, piece: FilePiece) -> Iterator[Any]:
        remarks = Remarks(self._choice.language)
        yield from _tagged(scan_piece(piece, self._choice.options, remarks))


class ScanLiveFn(beam.DoFn):
    """LiveSegment -> entries of its live documents and its rejects."""

    def __init__(self, choice: Choice) -> None:
        self._choice = choice

    def process(self, segment: LiveSegment) -> Iterator[Any]:
        choice = self._choice
        yield from _tagged(scan_live(segment, choice.store, choice.tombstones, prune=choice.prune))


class DecideFn(beam.DoFn):
    """(digest of an id, entries) -> what is done with the documents of that id."""

    def __init__(self, choice: Choice) -> None:
        self._live_ids, self._prune = choice.live_ids, choice.prune

    def process(self, grouped: tuple[bytes, Iterable[bytes]]) -> Iterator[Any]:
        yield from _tagged(decide(*grouped, self._live_ids, prune=self._prune))


class DecideRejectFn(beam.DoFn):
    """(key of a reject, entries) -> whether it is recorded."""

    def process(self, grouped: tuple[bytes, Iterable[bytes]]) -> Iterator[Any]:
        yield from _tagged(decide_reject(grouped[1]))


def _plan(grouped: tuple[int, Iterable[bytes]]) -> Iterator[tuple[int, Any]]:
    index, decisions = grouped
    piece, parts = plan_piece(decisions)
    if parts:
        yield index, (piece, parts)


class ReserveSegment(beam.PTransform):
    """Numbers parts within segments of about so many parts, and spreads them over the workers.

    Nothing is reserved before the reject limit was checked on the whole input.

    Args:
      choice: what was compared; its job gives a group the same segment at every attempt.
      parts_per_segment: parts after which a segment closes.
      max_reject_fraction: more rejects than this share of what was read fail the job.
      counts: of ChooseDocuments.
    """

    def __init__(
        self,
        choice: Choice,
        parts_per_segment: int,
        max_reject_fraction: float,
        counts: beam.PCollection,
    ) -> None:
        super().__init__()
        self._parts_per_segment = parts_per_segment
        self._fn = ReserveSegmentFn(choice, parts_per_segment, max_reject_fraction)
        self._counts = counts

    def expand(self, parts: beam.PCollection) -> beam.PCollection:
        """(index of a piece, (FilePiece, list of ChosenPart)) -> PieceTask."""
        return (
            parts
            | "KeyByGroup" >> beam.Map(_by_group, self._parts_per_segment)
            | "GroupParts" >> beam.GroupByKey()
            | "Reserve" >> beam.ParDo(self._fn, beam.pvalue.AsDict(self._counts))
            | "SpreadParts" >> beam.Reshuffle()
        )


def _by_group(planned: tuple[int, Any], parts_per_segment: int) -> tuple[int, tuple[int, Any]]:
    return planned[0] // parts_per_segment, planned


class ReserveSegmentFn(beam.DoFn):
    """(group, parts of its pieces) -> PieceTask."""

    def __init__(self, choice: Choice, parts_per_segment: int, max_reject_fraction: float) -> None:
        self._choice = choice
        self._parts_per_segment = parts_per_segment
        self._max_reject_fraction = max_reject_fraction

    def process(
        self, grouped: tuple[int, Iterable[tuple[int, Any]]], counts: Mapping[str, int]
    ) -> Iterator[PieceTask]:
        check_reject_fraction(counts, self._max_reject_fraction)
        group, planned = grouped
        pieces = [found for _, found in sorted(planned, key=lambda pair: pair[0])]
        numbered = iter(self._numbered(group, sum(len(parts) for _, parts in pieces)))
        for piece, parts in pieces:
            mine = [NumberedPart(*next(numbered), chosen) for chosen in parts]
            for together in [mine] if not piece.file.seekable else [[part] for part in mine]:
                yield PieceTask(
                    piece, self._choice.options, tuple(together), self._live_ids(together)
                )

    def _numbered(self, group: int, count: int) -> Iterator[tuple[PartId, int]]:
        """Yield (part, parts of its segment) for so many parts, in about equal segments."""
        segments = max(1, round(count / self._parts_per_segment))
        for index in range(segments):
            first, end = count * index // segments, count * (index + 1) // segments
            segment_id, number = self._choice.job.reserve(f"{group}-{index}")
            for part in range(end - first):
                yield PartId(segment_id, number, part), end - first

    def _live_ids(self, parts: list[NumberedPart]) -> tuple[str, ...]:
        replaces = any(any(part.chosen.supersede) for part in parts)
        return self._choice.live_ids if replaces else ()


def check_reject_fraction(counts: Mapping[str, int], limit: float) -> None:
    """Raise CorpusError if more than this share of the input was rejected."""
    read, rejected = counts.get(READ, 0), counts.get(REJECTED, 0)
    if read and rejected / read > limit:
        reasons = {n.removeprefix(REASON): c for n, c in counts.items() if n.startswith(REASON)}
        most = sorted(reasons.items(), key=lambda pair: -pair[1])[:3]
        listed = ", ".join(f"{count} {reason}" for reason, count in most)
        examples = "".join(f"\n  {example}" for example in first_examples(counts))
        raise CorpusError(
            f"{rejected} of {read} records read were rejected, more than --max-reject-fraction"
            f" {limit} ({listed}); nothing was committed: check the input, --text-field and"
            f" --id-field, or raise the limit{'; the first are:' if examples else ''}{examples}"
        )


__all__ = [
    "Choice",
    "ChooseDocuments",
    "Chosen",
    "ChosenPart",
    "FilePieces",
    "ReserveSegment",
    "check_reject_fraction",
]
