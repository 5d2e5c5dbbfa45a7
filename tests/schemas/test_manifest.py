"""Manifests say the same after a round trip, and refuse what they cannot understand."""

import json

import pytest

from schemas import ManifestError, Part, Segment, Snapshot
from tests.made_manifests import made_segment

SEGMENT = made_segment(
    "00000003",
    3,
    model={"name": "en-small", "fingerprint": "m", "layers": 3},
    options={"layer_weights": [0.5, 0.5, 0.0]},
    dim=16,
    counts={"documents": 2, "sentences": 2, "tokens": 9, "token_vectors": 9, "characters": 40},
    parts={"documents": (Part(path="documents/part-00000.parquet", rows=2, bytes=9, sha256="a"),)},
    compacted_from=("00000001", "00000002"),
    written_by="sensegrep 9",
)
SNAPSHOT = Snapshot(
    number=4, segments=("00000001", "00000003"), tombstones=("tombstones/x.parquet",), index="i"
)


def test_manifests_survive_json() -> None:
    assert Segment.from_json(SEGMENT.to_json()) == SEGMENT
    assert Snapshot.from_json(SNAPSHOT.to_json()) == SNAPSHOT


def test_snapshot_lists_segments_as_objects() -> None:
    assert json.loads(SNAPSHOT.to_json())["segments"] == [
        {"segment_id": "00000001"},
        {"segment_id": "00000003"},
    ]


@pytest.mark.parametrize("kind", [Segment, Snapshot])
@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "m.json is not JSON"),
        ("[]", "m.json has no schema_version"),
        ('{"schema_version": 99, "written_by": "sensegrep 7"}', "99, written by sensegrep 7; this"),
        ('{"schema_version": 1}', "m.json is not a s"),
        ('{"schema_version": 1, "parts": {}, "segments": [], "odd": 1}', "m.json is not a s"),
    ],
)
def test_unreadable_manifests_are_refused(kind: type, text: str, words: str) -> None:
    with pytest.raises(ManifestError, match=words):
        kind.from_json(text, "m.json")
