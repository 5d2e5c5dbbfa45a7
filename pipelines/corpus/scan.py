"""Scan the live rows of a corpus: those whose documents are not deleted."""

import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from pipelines.corpus.manifests import check_sum
from pipelines.corpus.store import Store
from pipelines.errors import CorpusError
from schemas import TOMBSTONES, check_schema

# Of a Parquet file, uncompressed; at least one row group is read at a time.
READ_AHEAD_BYTES = 32 << 20


def read_tombstones(
    store: Store,
    paths: Iterable[str],
    segment_ids: Iterable[str],
    checksums: Mapping[str, str] = MappingProxyType({}),
) -> dict[str, pa.Array]:
    """Return for each of some segments that has any the ids of its documents that are deleted.

    Args:
      store: of the corpus.
      paths: of files of tombstones.
      segment_ids: which segments.
      checksums: SHA-256 that the files must have, by path; those not named are not checked.

    Raises:
      CorpusError: if a file is missing or damaged.
    """
    found: dict[str, list[pa.Array]] = {}
    wanted = set(segment_ids)
    for path in paths:
        table = _tombstone_file(store, path, checksums.get(path))
        for segment_id in pc.unique(table["segment_id"]).to_pylist():
            if segment_id in wanted:
                rows = table.filter(pc.equal(table["segment_id"], segment_id))
                found.setdefault(segment_id, []).extend(rows["doc_id"].chunks)
    return {segment_id: pc.unique(pa.concat_arrays(chunks)) for segment_id, chunks in found.items()}


def _tombstone_file(store: Store, path: str, checksum: str | None) -> pa.Table:
    place = f"{store.url}/{path}"
    try:
        data = store.read(path)
    except FileNotFoundError as error:
        raise CorpusError(f"{place} is missing; restore it from a backup") from error
    check_sum(place, data, checksum)
    try:
        # In this thread: one of Arrow's may hold the bytes beyond the end of Python, and abort it.
        table = pq.ParquetFile(io.BytesIO(data)).read(use_threads=False)
        check_schema(table.schema, TOMBSTONES, place)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise CorpusError(f"{place} is damaged ({error}); restore it from a backup") from error
    return table


def scan_rows(
    store: Store,
    path: str,
    deleted: pa.Array | None,
    columns: Sequence[str] | None,
    batch_rows: int,
) -> Iterator[pa.RecordBatch]:
    """Yield the rows of a Parquet file whose documents are not deleted, in order.

    Args:
      store: of the corpus.
      path: of the file, in the store.
      deleted: ids of documents to leave out.
      columns: names, in the order wanted; None for all.
      batch_rows: most rows per batch.

    Raises:
      CorpusError: if the file is missing.
    """
    wanted = None if columns is None else list(columns)
    needed = wanted
    if wanted is not None and deleted is not None and "doc_id" not in wanted:
        needed = [*wanted, "doc_id"]
    try:
        file = store.open(path)
    except FileNotFoundError as error:
        raise CorpusError(
            f"{path} of the corpus at {store.url} is missing; run: sensegrep verify --corpus"
            f" {store.url}"
        ) from error
    with file, pq.ParquetFile(file) as parquet:
        for groups in _read_ahead(parquet.metadata):
            for batch in parquet.iter_batches(batch_rows, row_groups=groups, columns=needed):
                if deleted is not None:
                    batch = batch.filter(pc.invert(pc.is_in(batch.column("doc_id"), deleted)))
                if batch.num_rows:
                    yield batch if wanted is None else batch.select(wanted)


def _read_ahead(metadata: pq.FileMetaData) -> Iterator[list[int]]:
    """Yield row groups to read at a time: Arrow fetches all that it is asked for ahead of time."""
    groups: list[int] = []
    held = 0
    for number in range(metadata.num_row_groups):
        size = metadata.row_group(number).total_byte_size
        if groups and held + size > READ_AHEAD_BYTES:
            yield groups
            groups, held = [], 0
        groups.append(number)
        held += size
    if groups:
        yield groups


def scan_documents(
    store: Store, path: str, doc_ids: pa.Array, batch_rows: int = 4096
) -> Iterator[pa.RecordBatch]:
    """Yield the rows of some documents of a Parquet file, in order.

    Of other documents only the ids are read. Each page that is read is compared with its checksum;
    files of version 0.1 have none.

    Args:
      store: of the corpus.
      path: of the file, in the store.
      doc_ids: which documents.
      batch_rows: most rows per batch.

    Raises:
      CorpusError: if the file is missing or damaged.
    """
    place = f"{path} of the corpus at {store.url}"
    try:
        with (
            store.open(path) as file,
            pq.ParquetFile(file, page_checksum_verification=True) as parquet,
        ):
            for group in range(parquet.num_row_groups):
                ids = parquet.read_row_group(group, columns=["doc_id"]).column("doc_id")
                if not pc.any(pc.is_in(ids, doc_ids)).as_py():
                    continue
                for batch in parquet.iter_batches(batch_size=batch_rows, row_groups=[group]):
                    rows = batch.filter(pc.is_in(batch.column("doc_id"), doc_ids))
                    if rows.num_rows:
                        yield rows
    except FileNotFoundError as error:
        raise CorpusError(
            f"{place} is missing; run: sensegrep verify --corpus {store.url}"
        ) from error
    except (pa.ArrowException, OSError) as error:
        raise CorpusError(
            f"{place} is damaged ({error}); run: sensegrep verify --corpus DIR"
        ) from error


def vectors_of(batch: pa.RecordBatch, dim: int) -> NDArray[Any]:
    """Return the batch's vectors [n, D] without copying them."""
    return batch.column("vector").flatten().to_numpy(zero_copy_only=False).reshape(-1, dim)
