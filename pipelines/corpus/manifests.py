"""Snapshots and segment manifests of a corpus: where they stand, and how they are read. No Beam."""

from importlib import metadata

from pipelines.corpus.store import Store
from pipelines.errors import CorpusError
from schemas import ManifestError, Segment, Snapshot


def written_by() -> str:
    """Return the program's name and version, for manifests."""
    try:
        return f"sensegrep {metadata.version('sensegrep')}"
    except metadata.PackageNotFoundError:
        return "sensegrep (not installed)"


def snapshot_numbers(store: Store) -> list[int]:
    """Return the numbers of all snapshots on disk, rising."""
    names = store.names("snapshots")
    return sorted(int(n[:-5]) for n in names if n.endswith(".json") and n[:-5].isdigit())


def snapshot_path(number: int) -> str:
    """Return where a snapshot stands in its corpus."""
    return f"snapshots/{number:08d}.json"


def latest_snapshot(store: Store) -> Snapshot:
    """Return the snapshot with the highest number, or number 0 where there is none.

    Raises:
      CorpusError: if it is damaged or of a newer version.
    """
    numbers = snapshot_numbers(store)
    return read_snapshot(store, numbers[-1]) if numbers else Snapshot(number=0)


def read_snapshot(store: Store, number: int) -> Snapshot:
    """Read one snapshot.

    Raises:
      CorpusError: if it is damaged or of a newer version.
    """
    path = snapshot_path(number)
    try:
        return Snapshot.from_json(store.read(path), f"{store.url}/{path}")
    except ManifestError as error:
        raise CorpusError(str(error)) from error


def read_segment(store: Store, segment_id: str) -> Segment:
    """Read segment.json.

    Raises:
      CorpusError: if it is missing, damaged or of a newer version.
    """
    path = f"segments/{segment_id}/segment.json"
    try:
        return Segment.from_json(store.read(path), f"{store.url}/{path}")
    except FileNotFoundError as error:
        raise CorpusError(
            f"{store.url}/{path} is missing, although a snapshot names the segment"
        ) from error
    except ManifestError as error:
        raise CorpusError(str(error)) from error
