"""Lines with their byte offsets, against splitting the bytes."""

import io
import tracemalloc
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.reading import lines
from pipelines.reading.documents import Reject
from pipelines.reading.input_files import InputFile
from pipelines.reading.lines import fetch_lines, numbered_lines, scan_lines
from pipelines.reading.options import InputOptions

FILE = InputFile("in.jsonl", "jsonl")
content = st.lists(
    st.sampled_from([b"", b" ", b"a", b"bb\r", "ä€".encode(), b"\xff", b"c\x0bd"]), max_size=12
).flatmap(lambda found: st.sampled_from([b"\n".join(found), b"\n".join([*found, b""])]))


def split(data: bytes) -> list[tuple[int, bytes]]:
    """(offset, line) of every line, by the standard library."""
    found, position = [], 0
    for line in data.split(b"\n"):
        if position < len(data):
            found.append((position, line.rstrip(b"\r")))
        position += len(line) + 1
    return found


def keep(_: InputFile, __: InputOptions, position: int, line: bytes) -> Any:
    return position, line


@given(content, st.lists(st.integers(0, 40), max_size=4))
def test_ranges_hold_every_line_once(data: bytes, cuts: list[int]) -> None:
    edges = [0, *sorted(cuts), None]
    found = [
        (at, line)
        for start, end in pairwise(edges)
        for at, line, whole in numbered_lines(io.BytesIO(data), start or 0, end)
        if whole
    ]
    assert found == split(data)


@given(content)
def test_lines_are_found_again_at_their_offsets(data: bytes) -> None:
    told = [(at, line) for at, line in split(data) if line and not line.isspace()]
    options = InputOptions()
    assert list(scan_lines(FILE, options, io.BytesIO(data), 0, None, keep)) == told
    positions = [at for at, _ in told]
    assert list(fetch_lines(FILE, options, io.BytesIO(data), positions, keep)) == told


def test_byte_order_mark_is_left_out_at_the_beginning_alone() -> None:
    mark = b"\xef\xbb\xbf"
    data = mark + b"one\n" + mark + b"two\n"
    found = list(numbered_lines(io.BytesIO(data), 0, None))
    assert found == [(0, b"one", True), (7, mark + b"two", True)]


def test_line_too_long_is_rejected_and_the_next_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "MAX_RECORD_BYTES", 10)
    data = b"a" * 10 + b"\n" + b"b" * 35 + b"\nlast\n" + b"c" * 11
    found = list(scan_lines(FILE, InputOptions(), io.BytesIO(data), 0, None, keep))
    told = [(r.position, r.reason) if isinstance(r, Reject) else r for r in found]
    assert told[1:] == [(11, "too-large"), (47, b"last"), (52, "too-large")]


class OneLongLine(io.RawIOBase):
    """A line of 64 MB that is nowhere in memory, and a short one."""

    def __init__(self) -> None:
        self._left = 64 << 20

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = b"x" * min(self._left, len(buffer)) or self._end()
        self._left -= len(data)
        buffer[: len(data)] = data
        return len(data)

    def _end(self) -> bytes:
        end, self._end_of = getattr(self, "_end_of", b"\nshort\n"), b""
        return end


def test_line_too_long_is_rejected_without_being_held(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "MAX_RECORD_BYTES", 2 << 20)
    stream = io.BufferedReader(OneLongLine())
    tracemalloc.start()
    found = list(scan_lines(FILE, InputOptions(), stream, 0, None, keep))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert [f.reason if isinstance(f, Reject) else f for f in found] == [
        "too-large",
        ((64 << 20) + 1, b"short"),
    ]
    assert peak < 8 << 20
