"""Manifests say the same after a round trip, and refuse what they cannot understand."""

import json

import pytest

from schemas import ManifestError, Part, Segment, Snapshot

SEGMENT = Segment(
    segment_id="00000003",
    number=3,
    fingerprint="f",
    recipe="r",
    model={"name": "en-small", "fingerprint": "m", "layers": 3},
    options={
        "layer_weights": [0.5, 0.5, 0.0],
        "pooling": "mean",
        "initial_state": "zero",
        "tokenizer": {"name": "spacy", "language": "en", "rules": 1, "max_sentence_tokens": 256},
        "vector_dtype": "float16",
        "tokens": "all",
    },
    dim=16,
    counts={
        "documents": 2,
        "sentences": 2,
        "tokens": 9,
        "token_vectors": 9,
        "rejects": 0,
        "rejected_sentences": 0,
        "characters": 40,
    },
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
