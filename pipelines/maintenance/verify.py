"""Verify: read every file of a corpus and compare it with what the manifests say."""

from dataclasses import dataclass, field

import pyarrow.parquet as pq

from pipelines.corpus.atomic_files import is_temporary
from pipelines.corpus.checksums import sha256_of
from pipelines.corpus.manifests import read_snapshot, snapshot_numbers
from pipelines.corpus.store import Store
from pipelines.corpus.view import CorpusView
from pipelines.errors import CorpusError
from pipelines.index.format import open_manifest
from schemas import Part, Segment, check_schema, table_schema

# The count of each table's rows in a segment's manifest.
COUNTED = {
    "documents": "documents",
    "sentences": "sentences",
    "tokens": "token_vectors",
    "rejects": "rejects",
}


@dataclass(kw_only=True)
class VerifyReport:
    """What `verify` found.

    Attributes:
      files: checked.
      bytes: read.
      faults: one line each; empty if all is well.
      advice: what to do about them, a line for each kind of fault that does not say it itself.
    """

    files: int = 0
    bytes: int = 0
    faults: list[str] = field(default_factory=list)
    advice: list[str] = field(default_factory=list)


def verify(corpus: CorpusView) -> VerifyReport:
    """Read every file of the live segments and compare size, hash, rows and columns."""
    report = VerifyReport()
    for segment in corpus.segments:
        for table, parts in segment.parts.items():
            for part in parts:
                report.files += 1
                report.bytes += part.bytes
                fault = _part_fault(corpus, segment, table, part)
                if fault:
                    report.faults.append(fault)
        for table, count in COUNTED.items():
            rows = sum(part.rows for part in segment.parts.get(table, ()))
            if rows != segment.counts[count]:
                report.faults.append(
                    f"segment {segment.segment_id}: {rows} rows of {table},"
                    f" but its manifest counts {segment.counts[count]}"
                )
    index_faults = _index_faults(corpus, report)
    report.faults += _state_faults(corpus, report)
    if report.faults:
        report.advice.append(
            "restore these files from a backup, or embed the documents into a new corpus"
        )
    if index_faults:
        report.advice.append(
            f"build the index again: sensegrep index --rebuild --corpus {corpus.root}"
        )
    report.faults += index_faults + _unfinished_purge(corpus)
    return report


def _state_faults(corpus: CorpusView, report: VerifyReport) -> list[str]:
    """Check tombstones and all snapshots."""
    store, faults = corpus.store, []
    report.files += len(corpus.snapshot.tombstones)
    try:
        _ = corpus.tombstones
    except CorpusError as error:
        faults.append(str(error))
    for number in snapshot_numbers(store):
        report.files += 1
        try:
            read_snapshot(store, number)
        except (CorpusError, FileNotFoundError) as error:
            faults.append(str(error))
    return faults


def _unfinished_purge(corpus: CorpusView) -> list[str]:
    if corpus.snapshot.purge is None:
        return []
    return [
        "a purge was not finished: rows of deleted documents may be on the disk; run:"
        f" sensegrep delete --purge --corpus {corpus.root}"
    ]


def _index_faults(corpus: CorpusView, report: VerifyReport) -> list[str]:
    if corpus.snapshot.index is None:
        return []
    try:
        manifest = open_manifest(corpus, corpus.snapshot.index)
    except CorpusError as error:
        return [str(error)]
    faults = []
    for file in manifest.files():
        report.files += 1
        report.bytes += file.bytes
        fault = _file_fault(corpus.store, file.path, file.bytes, file.sha256)
        faults += [fault] if fault else []
    return faults + _senses_faults(corpus.store, manifest.index_id, report)


def _senses_faults(store: Store, index_id: str, report: VerifyReport) -> list[str]:
    """Check the senses kept beside an index, which carry their own checksums."""
    from pipelines.senses.store import check_senses, senses_directory  # faiss, only where needed

    faults = []
    for path, size, _ in store.files(senses_directory(index_id)):
        if not is_temporary(path):
            report.files += 1
            report.bytes += size
            fault = check_senses(store, path)
            faults += [fault] if fault else []
    return faults


def _file_fault(store: Store, path: str, size: int, sha256: str) -> str | None:
    if not store.exists(path):
        return f"{path} is missing"
    found_size = store.size(path)
    if found_size != size:
        return f"{path} has {found_size} bytes, expected {size}"
    found = sha256_of(store, path)
    if found != sha256:
        return f"{path} has sha256 {found}, expected {sha256}: it was damaged or changed"
    return None


def _part_fault(corpus: CorpusView, segment: Segment, table: str, part: Part) -> str | None:
    path = f"segments/{segment.segment_id}/{part.path}"
    store = corpus.store
    fault = _file_fault(store, path, part.bytes, part.sha256)
    if fault:
        return fault
    with store.open(path) as file:
        metadata = pq.read_metadata(file)
    if metadata.num_rows != part.rows:
        return f"{path} has {metadata.num_rows} rows, expected {part.rows}"
    expected = table_schema(table, dtype=str(segment.options["vector_dtype"]), dim=segment.dim)
    try:
        check_schema(metadata.schema.to_arrow_schema(), expected, path)
    except ValueError as error:
        return str(error)
    return None
