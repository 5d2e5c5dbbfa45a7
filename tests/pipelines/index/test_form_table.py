"""The table of forms: every look-up beside a scan of all rows, over several groups."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.index import form_table
from pipelines.index.form_table import FormRange, FormTable

ROWS = [
    ("a", "A", "s0", 0, 3),
    ("a", "a", "s0", 3, 2),
    ("a", "a", "s1", 0, 4),
    ("bank", "Bank", "s0", 5, 1),
    ("bank", "bank", "s0", 6, 7),
    ("zoo", "zoo", "s1", 4, 1),
]


@pytest.fixture(params=[1, 2, 100])
def table(request: pytest.FixtureRequest, tmp_path: Path) -> FormTable:
    """The rows in groups of 1, 2 and all: a spelling may go on in the next group."""
    columns = [pa.array(column) for column in zip(*ROWS, strict=True)]
    names = ["folded", "form", "shard", "first", "count"]
    pq.write_table(
        pa.table(columns, names=names), tmp_path / "forms.parquet", row_group_size=request.param
    )
    return FormTable(tmp_path / "forms.parquet")


@pytest.mark.parametrize("word", ["a", "bank", "zoo", "", "b", "zz"])
def test_a_look_up_finds_what_a_scan_finds(table: FormTable, word: str) -> None:
    mine = [row for row in ROWS if row[0] == word]
    assert table.ranges(word) == [FormRange(*row[1:]) for row in mine]
    assert table.count(word) == sum(row[4] for row in mine)


def test_counts_are_right_when_fewer_are_kept(
    table: FormTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(form_table, "KEPT_COUNTS", 2)
    words = ("a", "bank", "zoo", "none", "a", "zoo")
    assert [table.count(word) for word in words] == [9, 8, 1, 0, 9, 1]


def test_forms_are_counted_by_themselves_and_without_case(table: FormTable) -> None:
    assert table.counts() == {"A": 3, "a": 6, "Bank": 1, "bank": 7, "zoo": 1}
    assert table.folded_counts() == {"a": 9, "bank": 8, "zoo": 1}
