"""Fields of manifests against their types: each fault in one sentence."""

import json
from typing import Any

import pytest

from schemas import ManifestError, Part, Segment, Snapshot, check_fields
from tests.made_manifests import made_segment

SEGMENT: dict[str, Any] = json.loads(
    made_segment(
        options={"layer_weights": [0.5, 0.5, 0.0]},
        parts={"documents": (Part(path="p", rows=1, bytes=2, sha256="s"),)},
    ).to_json()
)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"number": "1"}, "m.json: field 'number' is '1', expected an integer"),
        ({"number": True}, "field 'number' is True, expected an integer"),
        ({"dim": 1e999}, "field 'dim' is inf, expected an integer"),
        ({"counts": []}, "field 'counts' is [], expected an object"),
        (
            {"counts": {**SEGMENT["counts"], "documents": None}},
            "field 'counts': field 'documents' is None, expected an integer",
        ),
        ({"counts": {}}, "field 'counts': field 'documents' is missing, expected an integer"),
        ({"dim": 2**70}, "field 'dim' is 1180591620717411303424, expected at most 92233720368547"),
        (
            {"options": {**SEGMENT["options"], "layer_weights": [0.5, 1e999]}},
            "field 'options': field 'layer_weights'[1] is inf, expected a finite number",
        ),
        (
            {"options": {**SEGMENT["options"], "vector_dtype": ["float16"]}},
            "field 'vector_dtype' is ['float16'], expected 'float16' or 'float32'",
        ),
        (
            {"options": {**SEGMENT["options"], "tokenizer": 3}},
            "field 'tokenizer' is 3, expected an object",
        ),
        ({"parts": {"documents": {}}}, "field 'parts'['documents'] is {}, expected a list"),
        (
            {"parts": {"documents": [{"path": 7}]}},
            "field 'parts'['documents'][0]: field 'path' is 7, expected a string",
        ),
        ({"compacted_from": [["x"] * 99]}, "expected a string"),
    ],
)
def test_wrong_types_are_told_with_field_found_and_expected(
    change: dict[str, Any], words: str
) -> None:
    check_fields(SEGMENT, Segment, "m.json")
    with pytest.raises(ValueError, match=r"^m.json: field") as caught:
        check_fields({**SEGMENT, **change}, Segment, "m.json")
    assert words in str(caught.value)
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"schema_version": 1, "number": NaN}', "NaN is not a JSON number"),
        ("[" * 100_000, "is not JSON"),
        ('{"schema_version": 1, "number": 1, "segments": [{"segment_id": 3}]}', "is 3, expected"),
        ('{"schema_version": 1, "number": 1, "segments": [], "retired": [[1]]}', "1 values, exp"),
    ],
)
def test_crafted_snapshots_are_refused_in_one_sentence(text: str, words: str) -> None:
    with pytest.raises(ManifestError, match=r"m\.json") as caught:
        Snapshot.from_json(text, "m.json")
    assert words in str(caught.value)


def test_fields_that_a_program_does_not_know_survive_it() -> None:
    newer = Snapshot(number=3, more={"coming": {"x": [1.5]}})
    read = Snapshot.from_json(newer.to_json())
    assert read.more == {"coming": {"x": [1.5]}}
    assert read.to_json() == newer.to_json()


def test_changed_snapshot_is_told() -> None:
    text = Snapshot(number=3, segments=("00000001",)).to_json()
    with pytest.raises(ManifestError, match="the file was damaged or changed"):
        Snapshot.from_json(text.replace("00000001", "00000002"))
