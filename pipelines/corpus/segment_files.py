"""All files of a segment: manifest, counts, removal."""

from pipelines.corpus.store import Store, write_then_commit
from schemas import Segment

COUNTS = (
    "documents",
    "sentences",
    "tokens",
    "token_vectors",
    "rejects",
    "rejected_sentences",
    "characters",
)


def write_manifest(store: Store, segment: Segment) -> None:
    """Write segment.json, the last file of a segment."""
    path = f"segments/{segment.segment_id}/segment.json"
    write_then_commit(store, path, segment.to_json().encode())


def clean_segment(store: Store, segment_id: str) -> None:
    """Remove the files of a segment that failed; its number stays reserved."""
    for path, _, _ in list(store.files(f"segments/{segment_id}")):
        if not path.endswith("/reserved"):
            store.remove(path)


def mark_committed(store: Store, segment_id: str) -> None:
    """Forget for which writer a segment was reserved: the same input gives the same bytes."""
    write_then_commit(store, f"segments/{segment_id}/reserved", b"committed")
