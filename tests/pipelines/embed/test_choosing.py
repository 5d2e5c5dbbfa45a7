"""Choosing by digest: the same decisions as the planner that reads the input in order."""

import json
import random
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.api import Corpus
from pipelines.embed import choosing
from pipelines.embed.choose_documents import FilePieces, check_reject_fraction
from pipelines.embed.choosing import (
    CHANGED,
    CHOSEN,
    COUNTS,
    MISSING,
    NAMELESS,
    READ,
    REASON,
    RECORDS,
    REJECTED,
    REJECTS,
    UNCHANGED,
    LiveSegment,
    decide,
    decide_reject,
    plan_piece,
    scan_live,
    scan_piece,
)
from pipelines.embed.jobs.bounded import divide
from pipelines.errors import CorpusError
from pipelines.reading.input_files import InputFile, find_inputs
from pipelines.reading.options import InputOptions
from pipelines.reading.splits import FilePiece, count_pieces, piece_bounds

Outputs = dict[str, list[Any]]


def grouped(pairs: list[tuple[Any, Any]]) -> dict[Any, list[Any]]:
    found: dict[Any, list[Any]] = {}
    for key, value in pairs:
        found.setdefault(key, []).append(value)
    return found


def choose(files: list[InputFile], corpus: Corpus, piece_bytes: int, *, prune: bool) -> Outputs:
    """Run the steps of ChooseDocuments by hand, elements in any order between them."""
    shuffle = random.Random(0).shuffle
    live = [
        LiveSegment(
            number,
            segment.segment_id,
            True,
            *(
                tuple(f"segments/{segment.segment_id}/{p.path}" for p in segment.parts.get(t, ()))
                for t in ("documents", "rejects")
            ),
        )
        for number, segment in enumerate(corpus.segments, 1)
    ]
    outputs: Outputs = {name: [] for name in (RECORDS, REJECTS, CHOSEN, COUNTS, MISSING)}

    def put(found: Any) -> None:
        for name, element in found:
            outputs[name].append(element)

    for file in divide(files, InputOptions(), piece_bytes):
        for piece in file:
            put(scan_piece(piece, InputOptions()))
    for segment in live:
        put(scan_live(segment, corpus.store, corpus.snapshot.tombstones, prune=prune))
    ids = [segment.segment_id for segment in live]
    shuffle(outputs[RECORDS])
    for key, entries in grouped(outputs[RECORDS]).items():
        put(decide(key, entries, ids, prune=prune))
    shuffle(outputs[REJECTS])
    for entries in grouped(outputs[REJECTS]).values():
        put(decide_reject(entries))
    shuffle(outputs[CHOSEN])
    return outputs


def totals(outputs: Outputs) -> Counter[str]:
    counted: Counter[str] = Counter()
    for name, number in outputs[COUNTS]:
        counted[name] += number
    return counted


records = st.one_of(
    st.builds(
        lambda n, text: {"id": f"d{n}", "text": text},
        st.integers(0, 6),
        st.sampled_from(["One.", "Two.", " "]),
    ),
    st.just("{broken"),
)


@settings(deadline=None, max_examples=60)
@given(st.lists(records, max_size=12), st.integers(20, 300))
def test_of_equal_ids_the_first_in_input_order_wins_whatever_the_pieces(
    tmp_path_factory: pytest.TempPathFactory, lines: list[Any], piece_bytes: int
) -> None:
    directory = tmp_path_factory.mktemp("choose")
    source = directory / "in.jsonl"
    texts = [line if isinstance(line, str) else json.dumps(line) for line in lines]
    source.write_text("".join(f"{text}\n" for text in texts))
    corpus = Corpus.open_or_create(directory / "corpus")
    outputs = choose(find_inputs([str(source)] * 2), corpus, piece_bytes, prune=False)

    good = [(n, d) for n, d in enumerate(lines) if isinstance(d, dict) and d["text"] != " "]
    firsts = {d["id"]: n for n, d in reversed(good)}
    starts = [sum(len(text) + 1 for text in texts[:n]) for n in range(len(texts))]
    plans = [plan_piece(found) for found in grouped(outputs[CHOSEN]).values()]
    embedded = [p for piece, parts in plans for part in parts for p in part.documents]
    assert sorted(embedded) == sorted(starts[n] for n in firsts.values())
    counted = totals(outputs)
    assert counted[READ] == 2 * len(lines)
    assert counted[REJECTED] == 2 * len(lines) - len(firsts)
    assert counted[REASON + "duplicate-id"] == 2 * len(good) - len(firsts)
    assert counted[UNCHANGED] == counted[CHANGED] == 0


def test_live_documents_make_unchanged_changed_and_missing(
    write_jsonl: Any, run_embed: Any, tmp_path: Path
) -> None:
    before = [{"id": n, "text": f"Text {n}."} for n in range(6)]
    run_embed(write_jsonl([*before, "{broken"]), commit_every=2)
    after = [{"id": 0, "text": "Other."}, *before[1:4], {"id": 4, "text": " "}, "{broken", "[]"]
    files = find_inputs([str(write_jsonl(after))])
    outputs = choose(files, Corpus.open(tmp_path / "corpus"), 40, prune=True)
    counted = totals(outputs)
    assert (counted[READ], counted[UNCHANGED], counted[CHANGED], counted[REJECTED]) == (7, 3, 1, 3)
    # What was rejected at the same place before is known; these are at others.
    assert counted[REASON + "not-an-object"] == counted[REASON + "empty-document"] == 1
    assert outputs[MISSING] == [("00000003", "5")]  # 4 is named, though it is empty now
    assert counted[NAMELESS] == 2  # either may be 5
    plans = [plan_piece(found) for found in grouped(outputs[CHOSEN]).values()]
    [part] = [part for _, parts in plans for part in parts if part.documents]
    assert list(part.supersede) == [1]

    again = choose(find_inputs([str(write_jsonl([*before, "{broken"]))]),
                   Corpus.open(tmp_path / "corpus"), 40, prune=True)  # fmt: skip
    counted = totals(again)
    assert (counted[UNCHANGED], counted[REJECTED], counted[REASON + "invalid-json"]) == (6, 1, 0)
    assert again[MISSING] == []


def test_parts_hold_so_many_bytes_and_everything_once(
    write_jsonl: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(choosing, "MAX_PART_BYTES", 100)
    sizes = [50, 51, 5, 200, 1, 1]
    lines = [{"id": n, "text": "x" * size} for n, size in enumerate(sizes)]
    files = find_inputs([str(write_jsonl([*lines[:3], "{broken", *lines[3:]]))])
    outputs = choose(files, Corpus.open_or_create(tmp_path / "corpus"), 10_000, prune=False)
    [(piece, parts)] = [plan_piece(found) for found in grouped(outputs[CHOSEN]).values()]
    assert piece == FilePiece(0, files[0])
    assert [part.text_bytes for part in parts] == [50, 56, 200, 2]
    positions = [position for part in parts for position in part.documents]
    assert (positions, len(positions)) == (sorted(set(positions)), 6)
    assert [len(part.rejects) for part in parts] == [0, 1, 0, 0]


@given(st.integers(0, 10_000), st.integers(1, 3_000))
def test_pieces_of_a_file_join_without_a_gap(size: int, piece_bytes: int) -> None:
    file = InputFile("x.jsonl", "jsonl", size=size)
    pieces = count_pieces(file, InputOptions(), piece_bytes)
    bounds = [piece_bounds(piece) for piece in FilePieces(3, file, pieces)]
    assert bounds[0][0] == 0
    assert bounds[-1][1] is None
    assert [end for _, end in bounds[:-1]] == [start for start, _ in bounds[1:]]
    assert [p.index for p in FilePieces(3, file, pieces)] == list(range(3, 3 + pieces))
    for compressed in (InputFile("x.jsonl.gz", "jsonl", ".gz", size), InputFile("x.csv", "csv")):
        assert count_pieces(compressed, InputOptions(), piece_bytes) == 1


def test_reject_limit_tells_the_commonest_reasons() -> None:
    counts = {READ: 10, REJECTED: 6, REASON + "invalid-json": 5, REASON + "duplicate-id": 1}
    check_reject_fraction(counts, 0.6)
    with pytest.raises(CorpusError, match=r"6 of 10 .*0\.5 \(5 invalid-json, 1 duplicate-id\)"):
        check_reject_fraction(counts, 0.5)


def test_reject_limit_shows_the_first_examples(tmp_path: Path) -> None:
    counts: dict[str, int] = {}
    for index in (11, 2, 0):
        path = tmp_path / f"{index}.jsonl"
        path.write_text('{"id": "a"}\n' * 5)
        file = InputFile(str(path), "jsonl", size=path.stat().st_size)
        for output, element in scan_piece(FilePiece(index, file), InputOptions()):
            if output == COUNTS:
                counts[element[0]] = counts.get(element[0], 0) + element[1]
    counts[REJECTED] = 15
    with pytest.raises(CorpusError) as caught:
        check_reject_fraction(counts, 0.5)
    assert str(caught.value).split("; the first are:\n")[1] == "\n".join(
        f"  {tmp_path}/0.jsonl, byte {12 * n}: missing-text: the record has no field 'text';"
        " it has id"
        for n in range(3)
    )
    del counts[next(name for name in sorted(counts) if name.startswith("example "))]
    assert "/2.jsonl, byte 0: missing-text" in str(_refusal(counts))


def _refusal(counts: dict[str, int]) -> CorpusError:
    with pytest.raises(CorpusError) as caught:
        check_reject_fraction(counts, 0.5)
    return caught.value
