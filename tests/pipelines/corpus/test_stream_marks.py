"""Files of marks: later rows over earlier ones, many files put together, damage told."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.corpus.store import Store
from pipelines.corpus.stream_marks import MAX_MARK_FILES, Marks, read_marks, write_marks
from pipelines.errors import CorpusError


@settings(deadline=None, max_examples=30)  # files are written and read
@given(
    steps=st.lists(
        st.dictionaries(
            st.sampled_from(["a", "b", "ß", "d"]),
            st.tuples(st.sampled_from(["", "v1", "v2"]), st.integers(-1, 99)),
            min_size=1,
        ),
        max_size=2 * MAX_MARK_FILES + 3,
    )
)
def test_marks_read_are_those_written_last(
    steps: list[dict[str, tuple[str, int]]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    store = Store(str(tmp_path_factory.mktemp("corpus")))
    marks: Marks = {}
    paths: tuple[str, ...] = ()
    for number, changed in enumerate(steps, 1):
        marks = {key: mark for key, mark in {**marks, **changed}.items() if mark[0]}
        paths = write_marks(store, number, paths, marks, changed)
        assert len(paths) <= MAX_MARK_FILES
        assert read_marks(store, paths) == marks


def test_no_change_writes_no_file(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    assert write_marks(store, 1, ("streams/x",), {}, {}) == ("streams/x",)
    assert list(store.files()) == []


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match=r"streams/x of the corpus .* is missing"):
        read_marks(Store(str(tmp_path)), ["streams/x"])


def test_a_damaged_file_is_told(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"PAR1 and no more")
    with pytest.raises(CorpusError, match=r"x of the corpus .* is damaged"):
        read_marks(Store(str(tmp_path)), ["x"])
