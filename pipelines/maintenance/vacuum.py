"""Vacuum: old snapshots and files that no kept snapshot names removed."""

import time
from dataclasses import dataclass

from pipelines.corpus.atomic_files import is_temporary
from pipelines.corpus.manifests import read_segment, read_snapshot, snapshot_numbers, snapshot_path
from pipelines.corpus.store import Store
from pipelines.corpus.view import CorpusView
from pipelines.index.format import manifest_path, read_manifest


@dataclass(kw_only=True)
class VacuumReport:
    """What `vacuum` removed, or would.

    Attributes:
      files: how many.
      bytes: of these.
      snapshots: how many of the files were old snapshots.
      young: files that nothing names, but too young to go.
    """

    files: int = 0
    bytes: int = 0
    snapshots: int = 0
    young: int = 0


def vacuum(
    corpus: CorpusView, *, older_than_seconds: float, keep_snapshots: int = 1, dry_run: bool = False
) -> VacuumReport:
    """Remove old snapshots and every file that no kept snapshot names.

    Args:
      corpus: what to clean.
      older_than_seconds: younger files stay: a running job may be writing them.
      keep_snapshots: how many of the newest stay readable.
      dry_run: only count.
    """
    store = corpus.store
    kept = snapshot_numbers(store)[-max(keep_snapshots, 1) :]
    needed = set()
    for number in kept:
        needed |= _named(store, number)
    highest = max((n for n in store.names("segments") if n.isdigit()), default="")
    report = VacuumReport()
    now = time.time()
    for path, size, changed in list(store.files()):
        old = changed is None or now - changed >= older_than_seconds
        # The highest reservation stays, or its number could be given out again.
        if path in needed or path == f"segments/{highest}/reserved" or not _is_ours(path):
            continue
        if not old:
            report.young += 1
            continue
        report.files += 1
        report.bytes += size
        report.snapshots += path.startswith("snapshots/")
        if not dry_run:
            store.remove(path)
    if not dry_run:
        _remove_empty(store)
    return report


def _named(store: Store, number: int) -> set[str]:
    """Return the files that a snapshot needs, its own included."""
    snapshot = read_snapshot(store, number)
    named = {snapshot_path(number), *snapshot.tombstones}
    named.update(snapshot.stream.marks if snapshot.stream else ())
    for segment_id in snapshot.segments:
        directory = f"segments/{segment_id}"
        parts = read_segment(store, segment_id).parts.values()
        named |= {f"{directory}/segment.json", f"{directory}/reserved"}
        named |= {f"{directory}/{part.path}" for files in parts for part in files}
    if snapshot.index:
        from pipelines.senses.store import senses_directory  # faiss, only where needed

        named.add(manifest_path(snapshot.index))
        named |= {file.path for file in read_manifest(store, snapshot.index).files()}
        named |= {path for path, _, _ in store.files(senses_directory(snapshot.index))}
    return named


def _is_ours(path: str) -> bool:
    top = path.split("/", 1)[0]
    return top in ("segments", "snapshots", "tombstones", "indexes", "streams") or is_temporary(
        path
    )


def _remove_empty(store: Store) -> None:
    for top in ("segments", "indexes"):
        for name in store.names(top):
            if not any(True for _ in store.files(f"{top}/{name}")):
                store.remove_tree(f"{top}/{name}")
