"""One table, as text and as Markdown."""

import pytest

from pipelines.evaluation.table import Table


@pytest.fixture
def table() -> Table:
    """Two groups of numbers, the second with an empty column."""
    return Table(
        names=1,
        groups=["", "WiC", "WiC", "SCWS", "SCWS"],
        titles=["model", "acc", "F1", "rho", "none"],
        rows=[["a", "1.0", "22.0", "3.5", ""], ["longer", "", "4.0", "5.5", ""]],
    )


def test_markdown_has_a_title_for_each_column(table: Table) -> None:
    assert table.markdown().splitlines() == [
        "| model | WiC acc | WiC F1 | SCWS rho | SCWS none |",
        "| --- | ---: | ---: | ---: | ---: |",
        "| a | 1.0 | 22.0 | 3.5 |  |",
        "| longer |  | 4.0 | 5.5 |  |",
    ]


def test_text_is_aligned_and_leaves_empty_columns_out(table: Table) -> None:
    assert table.text().splitlines() == [
        "        WiC        SCWS",
        "model   acc    F1  rho",
        "a       1.0  22.0  3.5",
        "longer        4.0  5.5",
    ]


def test_a_table_too_wide_is_parted_between_groups(table: Table) -> None:
    first, second = table.text(20).split("\n\n")
    assert first.splitlines()[1] == "model   acc    F1"
    assert second.splitlines()[1:] == ["model   rho", "a       3.5", "longer  5.5"]
