"""The stream's entry in a snapshot: written and read again, and refused where it is damaged."""

import json

import pytest

from schemas import ManifestError, Snapshot, StreamEntry

ENTRY = StreamEntry(
    source_id="kafka:cluster/topic",
    epoch=4,
    positions={"0": 17, "1": 0},
    marks=("streams/00000003-ab.parquet",),
    owner={"machine": "m", "process": 5, "started": "9"},
    lag={"records": 3, "seconds": 1.5},
)


def test_a_snapshot_keeps_the_entry() -> None:
    snapshot = Snapshot(number=2, segments=("00000001",), stream=ENTRY)
    assert Snapshot.from_json(snapshot.to_json()) == snapshot


def test_a_snapshot_without_a_stream_says_nothing_of_one() -> None:
    text = Snapshot(number=2).to_json()
    assert "stream" not in json.loads(text)
    assert Snapshot.from_json(text).stream is None


@pytest.mark.parametrize(
    "fields",
    [{}, {"source_id": 5}, {"epoch": "x"}, {"positions": {"0": "later"}}, {"positions": [1]}],
)
def test_a_damaged_entry_is_refused(fields: dict[str, object]) -> None:
    stored = {**ENTRY.to_fields(), **fields} if fields else {}
    with pytest.raises((KeyError, TypeError, ValueError, AttributeError)):
        StreamEntry.from_fields(stored)


def test_a_snapshot_with_a_damaged_entry_is_no_snapshot(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(StreamEntry, "to_fields", lambda _: {"source_id": "kafka:c/t"})
    text = Snapshot(number=2, stream=ENTRY).to_json()
    with pytest.raises(ManifestError, match=r"snapshots/2 is not a snapshot \(KeyError"):
        Snapshot.from_json(text, "snapshots/2")
