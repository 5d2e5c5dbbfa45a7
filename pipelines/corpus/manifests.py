"""Paths and reading of snapshots and segment manifests. No Beam."""

from hashlib import sha256

from pipelines.corpus.store import Store
from pipelines.errors import CorpusError
from pipelines.version import version
from schemas import ManifestError, Segment, Snapshot

MAX_OPEN_ATTEMPTS = 100


def written_by() -> str:
    """Return the program's name and version, for manifests."""
    return f"sensegrep {version()}"


def snapshot_numbers(store: Store) -> list[int]:
    """Return the numbers of all snapshots on disk, rising."""
    names = store.names("snapshots")
    return sorted(int(n[:-5]) for n in names if n.endswith(".json") and n[:-5].isdecimal())


def snapshot_path(number: int) -> str:
    """Return where a snapshot stands in its corpus."""
    return f"snapshots/{number:08d}.json"


def segment_path(segment_id: str) -> str:
    """Return where a segment's manifest stands in its corpus."""
    return f"segments/{segment_id}/segment.json"


def latest_snapshot(store: Store) -> Snapshot:
    """Return the snapshot with the highest number, or number 0 where there is none.

    Raises:
      CorpusError: if it is damaged or of a newer version.
    """
    for _ in range(MAX_OPEN_ATTEMPTS):
        numbers = snapshot_numbers(store)
        if not numbers:
            return Snapshot(number=0)
        try:
            return read_snapshot(store, numbers[-1])
        except FileNotFoundError:
            # Newer ones were committed since the listing, and a vacuum took this one away.
            continue
    raise CorpusError(
        f"{store.url}/{snapshot_path(numbers[-1])} is listed but does not exist; run the command"
        " again"
    )


def read_snapshot(store: Store, number: int) -> Snapshot:
    """Read one snapshot.

    Raises:
      FileNotFoundError: if there is none of that number.
      CorpusError: if it is damaged or of a newer version.
    """
    path = snapshot_path(number)
    try:
        snapshot = Snapshot.from_json(store.read(path), f"{store.url}/{path}")
    except ManifestError as error:
        raise CorpusError(str(error)) from error
    if snapshot.number != number:
        raise CorpusError(
            f"{store.url}/{path} has the number {snapshot.number} inside, expected {number}: it"
            " was renamed or changed; restore it from a backup"
        )
    return snapshot


def read_segment(store: Store, segment_id: str, checksum: str | None = None) -> Segment:
    """Read segment.json.

    Args:
      store: of the corpus.
      segment_id: the segment.
      checksum: SHA-256 that the file must have, hex; None checks nothing.

    Raises:
      CorpusError: if it is missing, damaged or of a newer version.
    """
    path = segment_path(segment_id)
    try:
        data = store.read(path)
    except FileNotFoundError as error:
        raise CorpusError(
            f"{store.url}/{path} is missing; restore it from a backup, or embed the documents"
            " into a new corpus"
        ) from error
    check_sum(f"{store.url}/{path}", data, checksum)
    try:
        segment = Segment.from_json(data, f"{store.url}/{path}")
    except ManifestError as error:
        raise CorpusError(str(error)) from error
    if segment.segment_id != segment_id:
        raise CorpusError(
            f"{store.url}/{path} describes segment {segment.segment_id!r}, expected {segment_id!r}:"
            " it was moved or changed; restore it from a backup"
        )
    return segment


def check_sum(
    place: str, data: bytes, expected: str | None, advice: str = "restore it from a backup"
) -> None:
    """Check the bytes of a file that a snapshot names.

    Args:
      place: the file, for the message.
      data: its bytes.
      expected: SHA-256, hex; None checks nothing.
      advice: what to do if they are others.

    Raises:
      CorpusError: if they are not those that the snapshot was committed with.
    """
    if expected is None:
        return
    found = sha256(data).hexdigest()
    if found != expected:
        raise CorpusError(
            f"{place} has SHA-256 {found}, expected {expected}: it was damaged or changed; {advice}"
        )
