"""Slices and tasks: every chosen record in exactly one, and nothing read twice."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.api import Corpus
from pipelines.embed.planner import MAX_PART_BYTES, Chosen, Planner, Slice
from pipelines.embed.selection import LiveDocuments, Selector
from pipelines.reading.documents import Document
from pipelines.reading.input_files import InputFile, find_inputs
from pipelines.reading.options import InputOptions
from pipelines.reading.splits import read_task

FILES = [InputFile("a", "jsonl"), InputFile("b", "jsonl")]

chosen_lists = st.lists(
    st.builds(Chosen, st.sampled_from(FILES), st.just(0), st.integers(1, MAX_PART_BYTES)),
    max_size=40,
)


@given(chosen_lists, st.integers(1, 5))
def test_tasks_divide_the_chosen_in_order_and_within_bounds(
    chosen: list[Chosen], workers: int
) -> None:
    chosen = [Chosen(c.file, n, c.text_bytes) for n, c in enumerate(chosen)]
    tasks = Slice(chosen=chosen).tasks(workers, InputOptions())
    found = [
        (r.file.uri, position) for t in tasks for r in t.ranges for position in r.positions or ()
    ]
    assert found == [(c.file.uri, c.position) for c in chosen]
    assert [task.part for task in tasks] == list(range(len(tasks)))
    sizes = {c.position: c.text_bytes for c in chosen}
    for task in tasks:
        inside = [sizes[p] for r in task.ranges for p in r.positions or ()]
        assert inside
        assert sum(inside[:-1]) < MAX_PART_BYTES


def planner(tmp_path: Path, source: Path, documents: int | None) -> Planner:
    selector = Selector(LiveDocuments(Corpus.open_or_create(tmp_path / "corpus"), "recipe"))
    files = find_inputs([str(source)])
    return Planner(files, InputOptions(), selector, documents, str(tmp_path))


@pytest.mark.parametrize("name", ["in.jsonl", "in.jsonl.gz"])
def test_slices_hold_so_many_documents_each(tmp_path: Path, write_jsonl: Any, name: str) -> None:
    import gzip

    source = write_jsonl([{"id": n, "text": f"T{n}"} for n in range(7)])
    if name.endswith("gz"):
        (tmp_path / name).write_bytes(gzip.compress(source.read_bytes()))
    texts = []
    for current in planner(tmp_path, tmp_path / name, 3).slices():
        tasks = current.tasks(1, InputOptions())
        texts.append([d.text for t in tasks for d in read_task(t) if isinstance(d, Document)])
    assert texts == [["T0", "T1", "T2"], ["T3", "T4", "T5"], ["T6"]]
    assert list(tmp_path.glob("*.spool")) == []


@pytest.mark.parametrize(
    ("text", "slices"),
    [
        ("T" * 50, [3, 3, 1]),  # 100 bytes of text are two documents, and three are the least
        ("T" * 20, [5, 2]),  # 100 bytes of text
        ("T", [6, 1]),  # never more than six
    ],
)
def test_slices_of_short_documents_hold_more_of_them(
    tmp_path: Path,
    write_jsonl: Any,
    monkeypatch: pytest.MonkeyPatch,
    text: str,
    slices: list[int],
) -> None:
    for name, value in (("DOCUMENTS", 3), ("BYTES", 100)):
        monkeypatch.setattr(f"pipelines.embed.planner.SLICE_{name}", value)
    monkeypatch.setattr("pipelines.embed.planner.MOST_SLICE_DOCUMENTS", 6)
    source = write_jsonl([{"id": n, "text": text} for n in range(7)])

    found = [current.documents for current in planner(tmp_path, source, None).slices()]

    assert found == slices


def test_rejects_alone_fill_slices_too(
    tmp_path: Path, write_jsonl: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipelines.embed.planner.MAX_SLICE_REJECTS", 3)
    source = write_jsonl(["{"] * 7)
    found = [len(current.rejects) for current in planner(tmp_path, source, 9).slices()]
    assert found == [3, 3, 1]


def test_document_that_may_fill_a_part_is_alone_in_it() -> None:
    sizes = [10, 40 << 20, 10, 10]
    chosen = [Chosen(FILES[0], n, size) for n, size in enumerate(sizes)]
    tasks = Slice(chosen=chosen).tasks(1, InputOptions())
    assert [task.ranges[0].positions for task in tasks] == [(0,), (1,), (2, 3)]
