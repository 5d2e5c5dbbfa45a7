"""Learn the centering and train FAISS on a sample of the vectors."""

import os
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipelines.corpus.atomic_files import is_local, temporary_name
from pipelines.corpus.checksums import HashingWriter
from pipelines.index import approximate
from pipelines.index.centering import Centering, fit_centering
from pipelines.index.exact import BLOCK_BYTES, Floats, flat_header
from pipelines.index.faiss_reader import read_approximate
from pipelines.index.files import name_by_content
from pipelines.index.format import IndexFile
from pipelines.index.measure_parts import load_sample
from pipelines.index.parts import Build, Measure, ShardFiles, ShardLayout


@dataclass(frozen=True, kw_only=True, eq=False)
class Fitted:
    """What was learned for one table.

    Attributes:
      centering: what is taken out of its vectors.
      trained: the approximate index before anything was added; None where search is exact.
      rows: vectors it was learned from.
    """

    centering: Centering
    trained: IndexFile | None
    rows: int


def fit_table(
    measures: Iterable[Measure],
    table: str,
    build: Build,
    *,
    center: bool,
    remove_components: int,
) -> Fitted:
    """Learn one table's centering, and train its approximate index if it gets one."""
    sample = load_sample(measures, table, build)
    centering = fit_centering(sample, center=center, remove_components=remove_components)
    factory = build.factories[table]
    trained = None
    if factory is not None:
        sample = centering.apply_in_place(sample)
        index = approximate.train_index(factory, build.dim, sample, build.seed)
        trained = _write_index(index, build, f"{table}.trained.faiss")
    return Fitted(centering=centering, trained=trained, rows=len(sample))


def add_approximate(
    shard: str,
    table: str,
    exact: IndexFile,
    build: Build,
    layout: dict[str, ShardLayout],
    trained: IndexFile,
) -> ShardFiles:
    """Add a shard's vectors to a copy of the trained index and write it."""
    with _local_copy(build, trained) as path:
        factory = build.factories[table]
        assert factory is not None
        index = read_approximate(path, factory.text, build.dim, 0, mapped=False)
    rows = layout[shard].rows[table]
    approximate.add_blocks(index, lambda: _exact_blocks(exact, rows, build), rows)
    file = _write_index(index, build, f"{shard}-{table}.ann.faiss")
    return ShardFiles(shard=shard, files={f"{table}_ann": file})


def _exact_blocks(exact: IndexFile, rows: int, build: Build) -> Iterator[Floats]:
    """Read the vectors of an exact index from its file, a block at a time."""
    row_bytes = build.dim * np.dtype(build.dtype).itemsize
    step = max(1, BLOCK_BYTES // (4 * build.dim))
    with build.corpus.store.open(exact.path) as file:
        file.seek(len(flat_header(rows, build.dim, build.dtype)))
        for first in range(0, rows, step):
            data = file.read(min(step, rows - first) * row_bytes)
            yield np.frombuffer(data, build.dtype).reshape(-1, build.dim).astype(np.float32)


@contextmanager
def _local_copy(build: Build, file: IndexFile) -> Iterator[str]:
    store = build.corpus.store
    if is_local(store.fs):
        yield store.full(file.path)
        return
    with tempfile.TemporaryDirectory() as directory:
        path = str(Path(directory) / "index.faiss")
        store.fs.get_file(store.full(file.path), path)
        yield path


def _write_index(index: object, build: Build, name: str) -> IndexFile:
    """Write a FAISS index through a local file: FAISS writes to paths only."""
    store = build.corpus.store
    temporary = temporary_name(f"{build.directory}/{name}")
    with tempfile.TemporaryDirectory() as directory:
        if is_local(store.fs):  # beside its final place, for /tmp may be small
            directory = os.path.dirname(store.full(temporary))
            os.makedirs(directory, exist_ok=True)
        path = f"{directory}/{temporary_name('index.faiss')}"
        try:
            approximate.write_index(index, path)
            with open(path, "rb") as source, store.open(temporary, "wb") as target:
                writer = HashingWriter(target)
                while block := source.read(1 << 22):
                    writer.write(block)
                writer.flush()
        finally:
            Path(path).unlink(missing_ok=True)
    return name_by_content(
        store, temporary, f"{build.directory}/{name}", writer.sha256, writer.tell()
    )
