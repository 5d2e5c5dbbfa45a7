"""The format of an index on disk, and how a search opens it. No Beam.

indexes/<index_id>/
  index.json               written last; names every file with its size and checksum
  forms.parquet            folded, form, shard, first, count: where each word form stands
  <shard>-documents.arrow  segment_id, doc_id, metadata; the row is the document's number
  <shard>-lines.arrow      one row a sentence: what a concordance line needs
  <shard>-sentences.faiss  exact index of the sentence vectors, in the order of the lines
  <shard>-lengths.npy      [sentences] int32, tokens of each line
  <shard>-tokens.faiss     exact index of the token vectors, ordered by (form, vector_id)
  <shard>-tokens.npy       one key a token vector: see KEY
  <shard>-TABLE.ann.faiss  approximate index of the same vectors, where the plan asks for one
  TABLE.trained.faiss      that index before anything was added: later shards start from it

Forms are ordered by their spelling without case first, so that `Bank` and `bank` are neighbours.
"""

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal, NotRequired, TypedDict

import numpy as np
import pyarrow as pa

from pipelines.corpus.atomic_files import is_local, temporary_name
from pipelines.corpus.manifests import check_sum
from pipelines.corpus.store import Store
from pipelines.corpus.view import CorpusView
from pipelines.errors import CorpusError
from schemas import SCHEMA_VERSION, check_fields

# A token vector's key. `sentence` and `document` are row numbers in the shard's own tables;
# `start` and `end` are code points into the sentence's text.
KEY = np.dtype(
    [
        ("vector_id", "<i8"),
        ("sentence", "<i4"),
        ("document", "<i4"),
        ("token_index", "<i4"),
        ("start", "<i4"),
        ("end", "<i4"),
    ]
)
FORMS = pa.schema(
    [
        pa.field("folded", pa.string(), nullable=False),
        pa.field("form", pa.string(), nullable=False),
        pa.field("shard", pa.string(), nullable=False),
        pa.field("first", pa.int64(), nullable=False),
        pa.field("count", pa.int64(), nullable=False),
    ]
)
DOCUMENTS = pa.schema(
    [
        pa.field("segment_id", pa.string(), nullable=False),
        pa.field("doc_id", pa.string(), nullable=False),
        pa.field("metadata", pa.map_(pa.string(), pa.string()), nullable=False),
    ]
)
LINES = pa.schema(
    [
        pa.field("vector_id", pa.int64(), nullable=False),
        pa.field("document", pa.int32(), nullable=False),
        pa.field("sentence_index", pa.int32(), nullable=False),
        pa.field("start", pa.int64(), nullable=False),
        pa.field("text", pa.string(), nullable=False),
        pa.field("token_starts", pa.list_(pa.int64()), nullable=False),
        pa.field("tokens", pa.list_(pa.string()), nullable=False),
        pa.field("attention", pa.list_(pa.float32()), nullable=False),
    ]
)
# Files up to here are checked in full when they are opened; larger ones by size and header, and
# in full by `sensegrep verify`.
FULL_CHECK_BYTES = 256 << 20


@dataclass(frozen=True, kw_only=True)
class IndexFile:
    """One file of an index; `path` is relative to the corpus, so that indexes can share files."""

    path: str
    bytes: int
    sha256: str


class CenteringFields(TypedDict):
    """What index.json says of what was taken out of the vectors of a table."""

    mean: list[float]
    components: list[list[float]]


class CenteringsFields(TypedDict):
    """The same for each table."""

    sentences: CenteringFields
    tokens: CenteringFields


class HeldOutFields(TypedDict):
    """Which vectors of a table were not trained on."""

    share: float
    seed: int


class TableFields(TypedDict):
    """What index.json says of the index of a table."""

    factory: str
    effort: int
    rerank: int
    rows: int
    fitted_rows: int
    held_out: HeldOutFields
    trained: IndexFile | None
    recall_at_10: float
    recall_bound: float
    recall_queries: int


class TablesFields(TypedDict):
    """The same for each table."""

    sentences: TableFields
    tokens: TableFields


class SettingsFields(TypedDict):
    """What decides the scores of an index."""

    word_center: bool
    sentence_weight: float
    context_weight: NotRequired[float]
    center: bool
    remove_components: int
    factory: str | None


class RowsFields(TypedDict):
    """Rows of a shard, by table."""

    documents: int
    sentences: int
    tokens: int


@dataclass(frozen=True, kw_only=True)
class Shard:
    """A part of an index that covers some segments.

    Attributes:
      shard: its name, unique among the shards of an index.
      segments: ids of the segments it covers.
      rows: of documents, sentences and tokens.
      files: by name: documents, lines, lengths, sentences, tokens, keys, sentences_ann, tokens_ann.
    """

    shard: str
    segments: tuple[str, ...]
    rows: Annotated[Mapping[str, int], RowsFields]
    files: Mapping[str, IndexFile]


@dataclass(frozen=True, kw_only=True)
class IndexManifest:
    """What index.json says.

    Attributes:
      index_id: its directory under indexes/.
      fingerprint: of the vectors; a query of any other is refused.
      dim: width D.
      dtype: of the ordered copies, float16 or float32.
      metric: always inner_product, of centred vectors of length 1.
      centering: for sentences and tokens, what `Centering.to_json` gives.
      settings: word_center, sentence_weight, context_weight, and what the build was given.
      tables: for sentences and tokens: factory, effort, rerank, rows, fitted_rows, held_out (share
        and seed of the vectors not trained on), trained (an IndexFile or null), recall_at_10 and
        recall_bound on recall_queries of them.
      shards: the parts.
      forms: the file of word forms.
      measured: seconds, peak memory, latencies; the only fields that differ between two builds
        of the same corpus on the same machine.
    """

    index_id: str
    fingerprint: str
    dim: int
    dtype: Annotated[str, Literal["float16", "float32"]]
    centering: Annotated[Mapping[str, Any], CenteringsFields]
    settings: Annotated[Mapping[str, Any], SettingsFields]
    tables: Annotated[Mapping[str, Any], TablesFields]
    shards: tuple[Shard, ...]
    forms: IndexFile
    measured: Mapping[str, Any] = field(default_factory=dict)
    metric: str = "inner_product"
    schema_version: int = SCHEMA_VERSION
    written_by: str = "sensegrep"

    @property
    def segments(self) -> tuple[str, ...]:
        """Ids of the segments covered."""
        return tuple(segment for shard in self.shards for segment in shard.segments)

    def files(self) -> Iterator[IndexFile]:
        """Yield every file the index needs, those of earlier indexes included."""
        yield self.forms
        for shard in self.shards:
            yield from shard.files.values()
        for table in self.tables.values():
            if table.get("trained"):
                yield IndexFile(**table["trained"])

    def to_json(self) -> str:
        """Return the text of index.json."""
        return json.dumps(asdict(self), indent=1, sort_keys=True, ensure_ascii=False) + "\n"

    @classmethod
    def from_json(cls, text: bytes | str, path: str) -> "IndexManifest":
        """Read index.json.

        Raises:
          CorpusError: if it is damaged or of a newer version; the message names `path`.
        """
        try:
            fields = json.loads(text)
            version = fields.get("schema_version")
            if not isinstance(version, int) or isinstance(version, bool):
                raise ValueError(f"field 'schema_version' is {version!r}, expected an integer")
            if version > SCHEMA_VERSION:
                raise CorpusError(
                    f"{path} has schema version {version}, written by {fields.get('written_by')};"
                    f" this program reads versions up to {SCHEMA_VERSION}: install the program"
                    " that wrote it, or a newer one, or build the index again: sensegrep index"
                    " --rebuild --corpus DIR"
                )
            check_fields(fields, cls, path)
            _check_widths(fields)
            shards = tuple(
                Shard(
                    shard=shard["shard"],
                    segments=tuple(shard["segments"]),
                    rows=shard["rows"],
                    files={name: IndexFile(**file) for name, file in shard["files"].items()},
                )
                for shard in fields.pop("shards")
            )
            return cls(shards=shards, forms=IndexFile(**fields.pop("forms")), **fields)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            what = str(error) if isinstance(error, ValueError) else repr(error)
            what = what.removeprefix(f"{path}: ")
            raise CorpusError(
                f"{path} is damaged ({what}); build the index again: sensegrep index --rebuild"
                " --corpus DIR"
            ) from error


def _check_widths(fields: Mapping[str, Any]) -> None:
    for table, found in fields["centering"].items():
        for vector in (found["mean"], *found["components"]):
            if len(vector) != fields["dim"]:
                raise ValueError(
                    f"field 'centering' of {table} has a vector of {len(vector)} numbers,"
                    f" expected {fields['dim']}"
                )


def manifest_path(index_id: str) -> str:
    """Return where an index's manifest stands in its corpus."""
    return f"indexes/{index_id}/index.json"


def read_manifest(store: Store, index_id: str, checksum: str | None = None) -> IndexManifest:
    """Read an index's manifest.

    Args:
      store: of the corpus.
      index_id: the index.
      checksum: SHA-256 that the file must have, hex; None checks nothing.

    Raises:
      CorpusError: if it is missing, damaged or of a newer version.
    """
    path = manifest_path(index_id)
    try:
        data = store.read(path)
    except FileNotFoundError as error:
        raise CorpusError(
            f"the corpus at {store.url} names the index {index_id}, but {path} is missing;"
            " build it again: sensegrep index --rebuild --corpus DIR"
        ) from error
    check_sum(path, data, checksum, "build the index again: sensegrep index --rebuild --corpus DIR")
    manifest = IndexManifest.from_json(data, path)
    if manifest.index_id != index_id:
        raise CorpusError(
            f"{path} describes index {manifest.index_id!r}, expected {index_id!r}; build it again:"
            " sensegrep index --rebuild --corpus DIR"
        )
    for file in manifest.files():
        if not file.path.startswith("indexes/"):
            raise CorpusError(f"{path} names the file {file.path!r}; expected one below indexes/")
    return manifest


def open_manifest(corpus: CorpusView, index_id: str) -> IndexManifest:
    """Read the manifest of a snapshot's index, as it was when it was committed.

    Raises:
      CorpusError: if it is missing, damaged, changed or of a newer version.
    """
    checksum = corpus.snapshot.checksums.get(manifest_path(index_id))
    return read_manifest(corpus.store, index_id, checksum)


def local_path(store: Store, file: IndexFile, cache_dir: str | Path | None) -> Path:
    """Return a local path of an index's file that can be memory-mapped, checked.

    A remote file is copied into `cache_dir` once, under its checksum's name.

    Raises:
      CorpusError: if the file is missing or not what index.json says.
    """
    if is_local(store.fs):
        path = Path(store.full(file.path))
        _check(path, file)
        return path
    directory = Path(cache_dir) if cache_dir is not None else default_cache_dir()
    path = directory / f"{file.sha256}-{Path(file.path).name}"
    if not path.exists():
        directory.mkdir(parents=True, exist_ok=True)
        temporary = temporary_name(str(path))
        try:
            store.fs.get_file(store.full(file.path), temporary)
        except FileNotFoundError as error:
            raise _missing(file) from error
        _check(Path(temporary), file, full=True)
        os.replace(temporary, path)
    else:
        _check(path, file)
    return path


def default_cache_dir() -> Path:
    """Where copies of remote index files are kept if no --cache-dir is given."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "sensegrep"


def _missing(file: IndexFile) -> CorpusError:
    return CorpusError(
        f"{file.path} of the index is missing; build it again: sensegrep index --rebuild"
        " --corpus DIR"
    )


def _check(path: Path, file: IndexFile, *, full: bool = False) -> None:
    try:
        size = path.stat().st_size
    except FileNotFoundError as error:
        raise _missing(file) from error
    if not path.is_file():  # a pipe would never end
        raise CorpusError(f"{path} is not a regular file; a corpus holds only regular files")
    if size != file.bytes:
        raise CorpusError(
            f"{file.path} of the index is damaged: {size} bytes, expected {file.bytes};"
            " build it again: sensegrep index --rebuild --corpus DIR"
        )
    if full or size <= FULL_CHECK_BYTES:
        with path.open("rb") as opened:
            found = hashlib.file_digest(opened, "sha256").hexdigest()
        if found != file.sha256:
            raise CorpusError(
                f"{file.path} of the index is damaged: its SHA-256 is {found[:12]}..., expected"
                f" {file.sha256[:12]}...; build it again: sensegrep index --rebuild --corpus DIR"
            )


LINE_BATCH_ROWS = 512
