"""Live rows of a file, against filtering them in Python."""

import io
import random
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipelines.corpus import scan
from pipelines.corpus.scan import read_tombstones, scan_rows, vectors_of
from pipelines.corpus.store import Store
from pipelines.errors import CorpusError
from schemas import TOMBSTONES, vector_type

NAMES = ["doc_id", "n", "text"]
ROWS = [{"doc_id": f"d{n % 7}", "n": n, "text": "t" * (n % 5)} for n in range(53)]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """A store with the rows in a file of several row groups."""
    directory = tmp_path_factory.mktemp("scan")
    pq.write_table(pa.Table.from_pylist(ROWS), directory / "rows.parquet", row_group_size=11)
    return Store(directory)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    dead=st.none() | st.sets(st.integers(0, 9)),
    columns=st.none()
    | st.permutations(NAMES).flatmap(
        lambda names: st.integers(1, 3).map(lambda count: names[:count])
    ),
    batch_rows=st.integers(1, 60),
)
def test_rows_are_those_whose_documents_live(
    store: Store, dead: set[int] | None, columns: list[str] | None, batch_rows: int
) -> None:
    gone = None if dead is None else pa.array([f"d{n}" for n in sorted(dead)], pa.string())
    batches = list(scan_rows(store, "rows.parquet", gone, columns, batch_rows))
    expected = [
        {name: row[name] for name in columns or NAMES}
        for row in ROWS
        if dead is None or int(str(row["doc_id"])[1:]) not in dead
    ]
    assert [row for batch in batches for row in batch.to_pylist()] == expected
    assert all(batch.schema.names == (columns or NAMES) for batch in batches)
    assert all(0 < batch.num_rows <= batch_rows for batch in batches)


class CountingStore(Store):
    """Counts the bytes read from its files."""

    count = 0

    def open(self, path: str, mode: str = "rb") -> Any:
        file = super().open(path, mode)
        read = file.read

        def counted(*size: int) -> bytes:
            data: bytes = read(*size)
            self.count += len(data)
            return data

        file.read = counted
        return file


def test_a_scan_does_not_read_the_whole_file_ahead(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scan, "READ_AHEAD_BYTES", 100_000)
    rng = random.Random(0)
    noise = pa.array([rng.randbytes(1000) for _ in range(2000)])
    pq.write_table(pa.table({"noise": noise}), tmp_path / "x.parquet", row_group_size=50)
    store = CountingStore(tmp_path)
    batches = scan_rows(store, "x.parquet", None, None, 50)

    next(batches)

    assert 0 < store.count < 400_000  # of two million
    assert sum(batch.num_rows for batch in batches) == 1950
    assert store.count > 1_900_000


def test_missing_file_says_what_to_do(store: Store) -> None:
    with pytest.raises(CorpusError, match=r"gone.parquet of the corpus at .* missing; run: sen"):
        list(scan_rows(store, "gone.parquet", None, None, 9))


def test_tombstones_of_all_files_are_joined_for_the_segments_asked_for(tmp_path: Path) -> None:
    store = Store(tmp_path)
    files = {
        "one": [("1", "a"), ("1", "b"), ("2", "a")],
        "two": [("1", "b"), ("1", "c"), ("3", "z")],
    }
    for name, rows in files.items():
        buffer = io.BytesIO()
        columns = {"segment_id": [r[0] for r in rows], "doc_id": [r[1] for r in rows]}
        pq.write_table(pa.table(columns, schema=TOMBSTONES), buffer)
        store.create_exclusive(name, buffer.getvalue())
    found = read_tombstones(store, ["one", "two"], ["1", "2", "4"])
    assert {name: sorted(ids.to_pylist()) for name, ids in found.items()} == {
        "1": ["a", "b", "c"],
        "2": ["a"],
    }
    assert read_tombstones(store, [], ["1"]) == {}


def test_vectors_of_a_slice_are_its_own() -> None:
    vectors = np.arange(12, dtype=np.float16).reshape(4, 3)
    array = pa.FixedSizeListArray.from_arrays(
        pa.array(vectors.ravel()), type=vector_type("float16", 3)
    )
    batch = pa.record_batch([array], ["vector"]).slice(1, 2)
    np.testing.assert_array_equal(vectors_of(batch, 3), vectors[1:3])
