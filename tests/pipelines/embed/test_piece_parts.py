"""A worker reads the parts of one piece: exactly what was chosen, or an error in words."""

import gzip
import json
from array import array
from collections.abc import Sequence
from pathlib import Path

import pytest

from pipelines.embed import piece_parts
from pipelines.embed.batch import PartEnd, PartId, PartRecord
from pipelines.embed.choosing import ChosenPart
from pipelines.embed.digest_table import digest
from pipelines.embed.piece_parts import NumberedPart, PieceTask, piece_part_ids, read_piece
from pipelines.reading.documents import Document, Reject
from pipelines.reading.input_files import find_inputs
from pipelines.reading.options import InputOptions
from pipelines.reading.splits import FilePiece

Line = dict[str, str] | str
LINES: list[Line] = [
    {"id": "a", "text": "One."},
    {"id": "b", "text": "Two."},
    "{broken",
    {"id": "a", "text": "Three, with the id of the first."},
    {"id": "c", "text": "Four."},
    {"id": "d", "text": "Five."},
]


def write(path: Path, lines: Sequence[Line]) -> list[int]:
    """Write lines, gzipped by the name; returns the position of each."""
    texts = [(line if isinstance(line, str) else json.dumps(line)) + "\n" for line in lines]
    data = "".join(texts).encode()
    path.write_bytes(gzip.compress(data, mtime=0) if path.suffix == ".gz" else data)
    return [sum(map(len, texts[:n])) for n in range(len(texts))]


def chosen(positions: list[int], ids: dict[int, str], **others: Sequence[int]) -> ChosenPart:
    """Choose documents by their lines; `others`: lines of rejects and duplicates."""
    check = 0
    for doc_id in ids.values():
        check ^= int.from_bytes(digest(doc_id)[:4])
    supersede = others.get("supersede", [0] * len(ids))
    return ChosenPart(
        documents=array("Q", [positions[line] for line in ids]),
        supersede=array("I", supersede),
        rejects=array("Q", [positions[line] for line in others.get("rejects", ())]),
        duplicates=array("Q", [positions[line] for line in others.get("duplicates", ())]),
        text_bytes=10 * len(ids),
        check=check,
    )


def task_of(path: Path, *parts: ChosenPart, live: Sequence[str] = ()) -> PieceTask:
    [file] = find_inputs([str(path)])
    numbered = tuple(
        NumberedPart(PartId("00000007", 7, n), len(parts), part) for n, part in enumerate(parts)
    )
    return PieceTask(FilePiece(0, file), InputOptions(), numbered, live)


def told(records: list[PartRecord]) -> list[tuple[int, str]]:
    """Return for each record its part and what it is, in a word."""

    def word(record: object) -> str:
        if isinstance(record, Document):
            return record.doc_id
        return record.reason if isinstance(record, Reject) else "end"

    return [(each.part.part, word(each.record)) for each in records]


@pytest.mark.parametrize("name", ["in.jsonl", "in.jsonl.gz"])
@pytest.mark.parametrize("sparse", [0.0, 1e9])
def test_records_of_each_part_are_followed_by_its_end(
    name: str, sparse: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether the piece is read whole, or record by record, which needs a file without rejects."""
    monkeypatch.setattr(piece_parts, "SPARSE", sparse)
    at = write(tmp_path / name, LINES)
    task = task_of(
        tmp_path / name,
        chosen(at, {0: "a"}, rejects=[2] if not sparse else [], duplicates=[3]),
        chosen(at, {4: "c", 5: "d"}, supersede=[2, 1]),
        live=["00000003", "00000005"],
    )
    assert [part.part for part in piece_part_ids(task)] == [0, 1]
    records = list(read_piece(task, frozenset()))
    rejected = [] if sparse else [(0, "invalid-json")]
    assert told(records) == [
        (0, "a"),
        *rejected,
        (0, "duplicate-id"),
        (0, "end"),
        (1, "c"),
        (1, "d"),
        (1, "end"),
    ]
    ends = [each.record for each in records if isinstance(each.record, PartEnd)]
    assert ends[0] == PartEnd(1, 2, {})
    assert ends[1] == PartEnd(2, 2, {"00000005": ("c",), "00000003": ("d",)})


def test_part_that_is_settled_is_passed_over(tmp_path: Path) -> None:
    at = write(tmp_path / "in.jsonl", LINES)
    task = task_of(tmp_path / "in.jsonl", chosen(at, {0: "a"}), chosen(at, {5: "d"}))
    first, second = piece_part_ids(task)
    assert told(list(read_piece(task, frozenset([first])))) == [(1, "d"), (1, "end")]
    assert told(list(read_piece(task, frozenset([second])))) == [(0, "a"), (0, "end")]
    (tmp_path / "in.jsonl").unlink()  # nothing is to be read
    assert list(read_piece(task, frozenset([first, second]))) == []


@pytest.mark.parametrize("sparse", [0.0, 1e9])
@pytest.mark.parametrize(
    ("line", "instead"),
    [
        (1, {"id": "B", "text": "Two."}),  # another document where the chosen one was
        (1, "{broken, and as long"),
        (5, None),  # the file is shorter now
    ],
)
def test_input_that_changed_since_it_was_scanned_fails_the_part(
    line: int,
    instead: Line | None,
    sparse: float,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(piece_parts, "SPARSE", sparse)
    at = write(tmp_path / "in.jsonl", LINES)
    task = task_of(tmp_path / "in.jsonl", chosen(at, {1: "b", 5: "d"}))
    changed = [*LINES[:line], *([] if instead is None else [instead]), *LINES[line + 1 :]]
    write(tmp_path / "in.jsonl", changed)
    with pytest.raises(RuntimeError, match="the input changed while the job ran"):
        list(read_piece(task, frozenset()))
