"""Manifests for tests, with a plausible value in every field that a test does not name."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from schemas import Part, Segment

COUNTS = dict.fromkeys(
    ("documents", "sentences", "tokens", "token_vectors", "rejects", "rejected_sentences",
     "characters"), 0
)  # fmt: skip
OPTIONS: dict[str, Any] = {
    "vector_dtype": "float16",
    "tokens": "all",
    "layer_weights": [1.0],
    "pooling": "mean",
    "initial_state": "zero",
    "tokenizer": {"name": "spacy", "language": "en", "rules": 1, "max_sentence_tokens": 256},
}


def made_segment(
    segment_id: str = "00000001",
    number: int = 1,
    *,
    counts: Mapping[str, int] | None = None,
    options: Mapping[str, Any] | None = None,
    parts: Mapping[str, tuple[Part, ...]] | None = None,
    **fields: Any,
) -> Segment:
    """Return a segment's manifest.

    Args:
      segment_id, number: of the segment.
      counts: those that are not 0.
      options: those that differ from OPTIONS.
      parts: files of each table.
      **fields: other fields of Segment.
    """
    segment = Segment(
        segment_id=segment_id,
        number=number,
        fingerprint="f",
        recipe="f",
        model={"name": "hand", "fingerprint": "f", "layers": 1},
        options={**OPTIONS, **(options or {})},
        dim=4,
        counts={**COUNTS, **(counts or {})},
        parts=parts or {},
    )
    return replace(segment, **fields)
