"""Arrow files of an index: rows by number, and damage that is told."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from pipelines.errors import CorpusError
from pipelines.index.arrow_rows import ArrowRows, string_list_key
from pipelines.index.format import LINE_BATCH_ROWS

ROWS = LINE_BATCH_ROWS + 40


@pytest.fixture
def path(tmp_path: Path) -> Path:
    table = pa.table(
        {
            "doc_id": [f"d{row}" for row in range(ROWS)],
            "tokens": [["the", "bank", str(row)] for row in range(ROWS)],
        }
    )
    with pa.ipc.new_file(str(tmp_path / "lines.arrow"), table.schema) as writer:
        writer.write_table(table, LINE_BATCH_ROWS)
    return tmp_path / "lines.arrow"


def test_keys_of_lists_are_equal_where_the_lists_are(tmp_path: Path) -> None:
    lists = [["a", "bc"], ["ab", "c"], ["a", "bc"], [], [""], ["é", "\0"], ["a"], ["abc"], ["é\0"]]
    lists = (lists * (LINE_BATCH_ROWS // 9 + 2))[: LINE_BATCH_ROWS + 40]
    table = pa.table({"tokens": lists})
    with pa.ipc.new_file(str(tmp_path / "l.arrow"), table.schema) as writer:
        writer.write_table(table, LINE_BATCH_ROWS)
    numbers = [LINE_BATCH_ROWS + 3, 0, 2, 1, 8, 7, 6, 5, 4, 3, LINE_BATCH_ROWS - 1, 0]
    keys = ArrowRows(tmp_path / "l.arrow").string_list_keys("tokens", numbers)
    assert keys == [string_list_key(lists[number]) for number in numbers]
    assert len(set(keys)) == len({tuple(lists[number]) for number in numbers})


def test_rows_by_number(path: Path) -> None:
    rows = ArrowRows(path)
    last = {"doc_id": f"d{ROWS - 1}", "tokens": ["the", "bank", str(ROWS - 1)]}
    assert rows.row(ROWS - 1) == last
    assert rows.value("doc_id", 3) == "d3"
    assert rows.column("doc_id").to_pylist()[-1] == last["doc_id"]


def test_offsets_beyond_the_file_are_told(path: Path) -> None:
    """Arrow would follow them: the process ends, or shows what is in memory."""
    whole = path.read_bytes()
    at = whole.index(np.arange(0, 60, 3, dtype=np.int32).tobytes())  # of the lists of tokens
    path.write_bytes(whole[: at + 16] + b"\xff\xff\xff\x6f" + whole[at + 20 :])
    with pytest.raises(CorpusError, match=r"lines.arrow is damaged .*sensegrep index --rebuild"):
        ArrowRows(path).row(3)


@pytest.mark.parametrize("seed", range(3))
def test_a_file_damaged_at_random_is_told_or_read(path: Path, seed: int) -> None:
    rng = np.random.default_rng(seed)
    whole = np.frombuffer(path.read_bytes(), np.uint8)
    told = unseen = 0
    for _ in range(60):
        damaged = whole.copy()
        some = rng.integers(0, len(whole), 30)
        damaged[some] = rng.integers(0, 256, len(some))
        path.write_bytes(damaged[: rng.integers(len(whole) // 2, 2 * len(whole))].tobytes())
        try:
            rows = ArrowRows(path)
            for number in (0, 3, ROWS - 1):
                rows.row(number)
            rows.column("tokens")
        except CorpusError as error:
            told += "is damaged" in str(error)
        else:
            unseen += 1
    assert told + unseen == 60
    assert told > 30
