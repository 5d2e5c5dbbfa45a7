"""What a stream remembers of single files or documents, in files beside the snapshots.

Each commit adds a small file of what changed; many are put together into one.
"""

import io
from collections.abc import Iterable, Mapping
from hashlib import sha256

import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.corpus.store import Store, write_then_commit
from pipelines.errors import CorpusError
from schemas import STREAM_MARKS

MAX_MARK_FILES = 16

Marks = dict[str, tuple[str, int]]  # key -> (value, position)


def read_marks(store: Store, paths: Iterable[str]) -> Marks:
    """Return what some files of marks say, later ones over earlier ones.

    Raises:
      CorpusError: if a file is missing or damaged.
    """
    marks: Marks = {}
    for path in paths:
        try:
            table = pq.read_table(io.BytesIO(store.read(path)), schema=STREAM_MARKS)
        except FileNotFoundError as error:
            raise CorpusError(
                f"{path} of the corpus at {store.url} is missing, although the newest snapshot"
                f" names it; run: sensegrep verify --corpus {store.url}"
            ) from error
        except pa.ArrowException as error:
            raise CorpusError(f"{path} of the corpus at {store.url} is damaged: {error}") from error
        rows = (table[name].to_pylist() for name in STREAM_MARKS.names)
        for key, value, position in zip(*rows, strict=True):
            if value:
                marks[key] = (value, position)
            else:
                marks.pop(key, None)
    return marks


def write_marks(
    store: Store, number: int, paths: tuple[str, ...], marks: Marks, changed: Mapping[str, object]
) -> tuple[str, ...]:
    """Write what changed, or all where there are many files; returns the paths of all now.

    Args:
      store: of the corpus.
      number: of the snapshot that is to name the file.
      paths: of the files in place.
      marks: all of them, after the change.
      changed: keys that changed or went.
    """
    if not changed:
        return paths
    if len(paths) >= MAX_MARK_FILES:
        paths, keys = (), sorted(marks)
    else:
        keys = sorted(changed)
    rows = [(key, *marks.get(key, ("", 0))) for key in keys]
    columns = zip(*rows, strict=True) if rows else ([], [], [])
    arrays = [pa.array(c, f.type) for c, f in zip(columns, STREAM_MARKS, strict=True)]
    buffer = io.BytesIO()
    pq.write_table(pa.Table.from_arrays(arrays, schema=STREAM_MARKS), buffer, compression="zstd")
    data = buffer.getvalue()
    path = f"streams/{number:08d}-{sha256(data).hexdigest()[:32]}.parquet"
    write_then_commit(store, path, data)
    return (*paths, path)
