"""Metadata that changed alone: rows are copied with the same vectors, under new ids."""

import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipelines.api import Corpus
from pipelines.errors import CorpusError
from pipelines.maintenance.compact import compact
from pipelines.maintenance.verify import verify

Run = Callable[..., Any]
TABLES = ("documents", "sentences", "tokens")
RECORDS = [
    {"id": f"d{n}", "text": f"Document {n} is on the bank. Yes!", "label": "draft"}
    for n in range(7)
]
FINAL = [{**record, "label": "final"} for record in RECORDS]


def stable(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What must not change, in the order of the documents."""
    changing = {"metadata", "vector_id"}
    kept = [{k: v for k, v in row.items() if k not in changing} for row in rows]
    return sorted(kept, key=lambda row: row["doc_id"])


@pytest.fixture
def embedded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The text of each sentence that the model is given from here on."""
    from pipelines.embed.inference import embed_batch

    seen: list[str] = []

    def watch(batch: Any, *others: Any) -> Any:
        seen.extend(sentence.text for sentence in batch.sentences)
        return embed_batch(batch, *others)

    monkeypatch.setattr("pipelines.embed.inference.embed_batch", watch)
    return seen


@pytest.mark.parametrize("tokens", ["all", "content", "none"])
def test_vectors_are_copied_and_nothing_is_embedded(
    write_jsonl: Run, run_embed: Run, rows_of: Run, tmp_path: Path, tokens: str, embedded: list[str]
) -> None:
    source = write_jsonl(RECORDS)
    run_embed(source, commit_every=3, tokens=tokens)
    assert len(embedded) == 14
    before = {table: rows_of(table) for table in TABLES}
    del embedded[:]
    report = run_embed(write_jsonl(FINAL), commit_every=4, tokens=tokens)
    assert embedded == []
    after = {table: rows_of(table) for table in TABLES}
    for table in TABLES:
        assert stable(after[table]) == stable(before[table])
    assert {row["metadata"][0] for row in after["documents"]} == {("label", "final")}
    assert (report.written, report.changed, report.relabelled) == (7, 7, 7)
    assert (report.sentences, report.tokens) == (0, 0)
    ids = [row["vector_id"] for r in (before, after) for t in TABLES[1:] for row in r[t]]
    assert len(ids) == len(set(ids)) > 20
    assert verify(Corpus.open(tmp_path / "corpus")).faults == []
    again = run_embed(source, tokens=tokens)
    assert (again.written, again.unchanged) == (0, 7)


def test_slice_of_all_kinds_is_one_segment(
    write_jsonl: Run, run_embed: Run, rows_of: Run, tmp_path: Path, embedded: list[str]
) -> None:
    run_embed(write_jsonl([*RECORDS, {"id": "same", "text": "It stays."}]))
    del embedded[:]
    mixed = [
        *FINAL[:3],
        {"id": "d3", "text": "Another text."},
        {"id": "new", "text": "A new one."},
        {"id": "same", "text": "It stays."},
        {"id": "bad", "text": 5},
    ]
    report = run_embed(write_jsonl(mixed), prune=True)
    assert sorted(embedded) == ["A new one.", "Another text."]
    assert (report.written, report.changed, report.relabelled) == (5, 4, 3)
    assert (report.unchanged, report.rejected, report.pruned) == (1, 1, 3)
    assert (report.segments, report.sentences) == (["00000002"], 2)
    labels = {row["doc_id"]: dict(row["metadata"]).get("label") for row in rows_of("documents")}
    final = dict.fromkeys(("d0", "d1", "d2"), "final")
    assert labels == {**final, "d3": None, "new": None, "same": None}
    assert verify(Corpus.open(tmp_path / "corpus")).faults == []


def test_text_that_changed_too_or_other_settings_are_embedded(
    write_jsonl: Run, run_embed: Run
) -> None:
    run_embed(write_jsonl(RECORDS))
    other = [{**FINAL[0], "text": "Other words."}, FINAL[1]]
    assert run_embed(write_jsonl(other)).relabelled == 1
    assert run_embed(write_jsonl(RECORDS), tokens="all").relabelled == 0


def test_copies_of_copies_and_of_merged_segments(
    write_jsonl: Run, run_embed: Run, rows_of: Run, tmp_path: Path
) -> None:
    run_embed(write_jsonl(RECORDS), commit_every=2, tokens="all")
    before = {table: stable(rows_of(table)) for table in TABLES}
    for label in ("one", "two", "three"):
        run_embed(write_jsonl([{**r, "label": label} for r in RECORDS[:5]]), tokens="all")
        corpus = Corpus.open(tmp_path / "corpus")
        compact(corpus, [segment.segment_id for segment in corpus.segments])
    assert {table: stable(rows_of(table)) for table in TABLES} == before
    labels = Counter(dict(row["metadata"])["label"] for row in rows_of("documents"))
    assert labels == {"three": 5, "draft": 2}


def test_changes_of_others_meanwhile_win_or_refuse(
    write_jsonl: Run, run_embed: Run, rows_of: Run, tmp_path: Path, interleave: Run
) -> None:
    first = write_jsonl(RECORDS, "first.jsonl")
    final = write_jsonl(FINAL, "final.jsonl")
    run_embed(first, commit_every=4)

    def merge() -> None:
        corpus = Corpus.open(tmp_path / "corpus")
        compact(corpus, [segment.segment_id for segment in corpus.segments])

    interleave(merge)
    assert run_embed(final).relabelled == 7
    assert [row["doc_id"] for row in rows_of("documents")] == [f"d{n}" for n in range(7)]

    def change() -> None:
        run_embed(write_jsonl([{"id": "d2", "text": "Theirs."}], "theirs.jsonl"))

    interleave(change)
    with pytest.raises(CorpusError, match="another writer has committed 1 of the same documents"):
        run_embed(first)
    assert len(rows_of("documents")) == 7


@pytest.mark.parametrize("name", ["in.csv.gz", "in.parquet"])
def test_formats_whose_records_are_spooled(
    run_embed: Run, rows_of: Run, tmp_path: Path, name: str
) -> None:
    import gzip

    import pyarrow as pa
    import pyarrow.parquet as pq

    for label in ("draft", "final"):
        rows = [{**record, "label": label} for record in RECORDS]
        if name.endswith("parquet"):
            pq.write_table(pa.Table.from_pylist(rows), tmp_path / name)
        else:
            lines = [f"{r['id']},{r['text']},{r['label']}\n" for r in rows]
            (tmp_path / name).write_bytes(
                gzip.compress("".join(["id,text,label\n", *lines]).encode())
            )
        report = run_embed(tmp_path / name, commit_every=2)
    assert report.relabelled == 7
    assert {row["metadata"][0] for row in rows_of("documents")} == {("label", "final")}


def test_metadata_fills_a_slice(
    write_jsonl: Run, run_embed: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_embed(write_jsonl(RECORDS))
    monkeypatch.setattr("pipelines.embed.planner.MAX_SLICE_METADATA", 30)
    report = run_embed(write_jsonl(FINAL))
    assert (report.relabelled, len(report.segments)) == (7, 3)  # 12 characters a document


@pytest.mark.parametrize("fault", ["gone", "cut", "fewer"])
def test_damage_is_not_copied(write_jsonl: Run, run_embed: Run, tmp_path: Path, fault: str) -> None:
    import pyarrow.parquet as pq

    run_embed(write_jsonl(RECORDS))
    path = tmp_path / "corpus/segments/00000001/sentences/part-00000.parquet"
    if fault == "gone":
        path.unlink()
    elif fault == "cut":
        os.truncate(path, path.stat().st_size - 40)
    else:
        pq.write_table(pq.read_table(path).slice(0, 9), path)
    words = {
        "gone": r"sentences/part-00000.parquet .* is missing; run: sensegrep verify",
        "cut": r"sentences/part-00000.parquet .* is damaged \(",
        "fewer": r"segment 00000001 .* 9 sentences .* expected 14; these documents were not",
    }
    with pytest.raises(CorpusError, match=words[fault]):
        run_embed(write_jsonl(FINAL))
    assert Corpus.open(tmp_path / "corpus").snapshot.number == 1
    left = (tmp_path / "corpus/segments/00000002").rglob("*")
    assert [path for path in left if path.is_file()] == [
        tmp_path / "corpus/segments/00000002/reserved"
    ]


def test_flipped_bits_of_vectors_are_not_copied(
    write_jsonl: Run, run_embed: Run, tmp_path: Path
) -> None:
    """Wherever one bit of the vectors' pages flips; many of the values stay finite."""
    import pyarrow.parquet as pq

    run_embed(write_jsonl(RECORDS))
    path = tmp_path / "corpus/segments/00000001/sentences/part-00000.parquet"
    whole = path.read_bytes()
    group = pq.read_metadata(path).row_group(0)
    (column,) = (
        column
        for column in map(group.column, range(group.num_columns))
        if column.path_in_schema.startswith("vector.")
    )
    end = column.data_page_offset + column.total_compressed_size
    places = range(end - column.total_compressed_size // 2, end, 19)
    assert len(places) >= 5
    for place in places:
        damaged = bytearray(whole)
        damaged[place] ^= 1
        path.write_bytes(damaged)
        with pytest.raises(CorpusError, match=r"sentences/part-00000.parquet .* is damaged \("):
            run_embed(write_jsonl(FINAL))
    path.write_bytes(whole)
    assert run_embed(write_jsonl(FINAL)).relabelled == len(RECORDS)
