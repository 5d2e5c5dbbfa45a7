"""The manifests of a corpus: segments and snapshots.

Both are JSON with sorted keys. Reading refuses a newer schema version and says who wrote it.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from dataclasses import fields as dataclass_fields
from hashlib import sha256
from typing import Annotated, Any, Literal, NotRequired, TypedDict

from schemas.fields import check_fields
from schemas.stream import StreamEntry

RESTORE = "restore it from a backup, or embed the documents into a new corpus"
SCHEMA_VERSION = 1
# 2: with checksums, and with what the commit protocol needs. Programs that know only 1 must not
# commit on top of one, so they refuse it.
SNAPSHOT_VERSION = 2


class ManifestError(ValueError):
    """A manifest that cannot be understood; the message says what was found and expected."""


@dataclass(frozen=True, kw_only=True)
class Part:
    """One file of a segment.

    Attributes:
      path: relative to the segment's directory.
      rows: rows in the file.
      bytes: its size.
      sha256: of its bytes, hex.
    """

    path: str
    rows: int
    bytes: int
    sha256: str


class ModelFields(TypedDict):
    """What segment.json says of the model."""

    name: str
    fingerprint: str
    layers: int


class TokenizerFields(TypedDict):
    """What segment.json says of the tokenizer."""

    name: str
    language: str
    rules: int
    max_sentence_tokens: int
    version: NotRequired[str]
    line_breaks: NotRequired[str]


class OptionFields(TypedDict):
    """What segment.json says of how documents became vectors."""

    vector_dtype: Literal["float16", "float32"]
    tokens: Literal["all", "content", "none"]
    layer_weights: list[float]
    pooling: str
    initial_state: str
    tokenizer: TokenizerFields


class CountFields(TypedDict):
    """What segment.json counts."""

    documents: int
    sentences: int
    tokens: int
    token_vectors: int
    rejects: int
    rejected_sentences: int
    characters: int


@dataclass(frozen=True, kw_only=True)
class Segment:
    """What segment.json says; written last, so that its presence means completeness.

    Attributes:
      segment_id: the segment's directory under segments/.
      number: the reserved number that its vector_ids begin with.
      fingerprint: of everything that decides a vector except its stored precision; vectors of
        two segments, or of a query, can be compared if and only if these are equal.
      recipe: of the fingerprint and of what is stored (dtype, which tokens); a document embedded
        under another recipe is embedded anew.
      model: {"name": as it was given, "fingerprint": of the weights, "layers": L}.
      options: {"layer_weights": [L], "pooling", "initial_state", "tokenizer": {...},
        "vector_dtype": float16 | float32, "tokens": all | content | none}.
      dim: width D of the vectors.
      counts: documents, sentences, tokens (all of them), token_vectors (those stored),
        rejects (rows), rejected_sentences, characters.
      parts: for each table its files, in order.
      compacted_from: the segments this one replaced; empty for one that `embed` wrote.
      schema_version: of this layout.
      written_by: the program and version that wrote it.
    """

    segment_id: str
    number: int
    fingerprint: str
    recipe: str
    model: Annotated[Mapping[str, Any], ModelFields]
    options: Annotated[Mapping[str, Any], OptionFields]
    dim: int
    counts: Annotated[Mapping[str, int], CountFields]
    parts: Mapping[str, tuple[Part, ...]]
    compacted_from: tuple[str, ...] = ()
    schema_version: int = SCHEMA_VERSION
    written_by: str = "sensegrep"

    def to_json(self) -> str:
        """Return the text of segment.json."""
        return _dump(asdict(self))

    @classmethod
    def from_json(cls, text: str | bytes, path: str = "segment.json") -> "Segment":
        """Read segment.json; `path` is only for the message.

        Raises:
          ManifestError: if it is damaged or of a newer version.
        """
        fields = _load(text, path)
        try:
            check_fields(fields, cls, path)
            parts = {
                table: tuple(Part(**part) for part in files)
                for table, files in fields.pop("parts").items()
            }
            compacted_from = tuple(fields.pop("compacted_from"))
            return cls(parts=parts, compacted_from=compacted_from, **fields)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ManifestError(
                f"{path} is not a segment manifest ({_words(error, path)}); {RESTORE}"
            ) from error


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """One committed state of a corpus; the highest number is the current one.

    docs/commit-protocol.md says what the fields after `operation` are for.

    Attributes:
      number: 1, 2, 3, ...; 0 is the empty corpus, which has no file.
      segments: ids of the live segments, in the order they were added.
      tombstones: paths, relative to the corpus, of Parquet files (segment_id, doc_id).
      index: id of the index under indexes/, or None.
      created: when, UTC, ISO 8601; the one place where a corpus holds a time.
      operation: the command that made it.
      stream: the source that feeds the corpus and how far it was read; None without one.
      checksums: SHA-256, hex, of the files that the snapshot names, by path: the segment.json of
        each live segment, the tombstones, the index.json. Version 1 has none.
      parent: SHA-256, hex, of the file of the snapshot before; empty if there is none.
      retired: numbers of segments that were live once and are no more, as ranges.
      abandoned: numbers of segments that `vacuum` gave up: they can never become live.
      fenced: ids of writers that `vacuum` gave up: they can commit no more.
      purge: SHA-256, hex, of the ids of documents whose rows must still go from the disk; None if
        no purge is under way.
      more: fields of this schema version that this program does not know; commits keep them.
      schema_version: of this layout.
      written_by: the program and version that wrote it.
    """

    number: int
    segments: tuple[str, ...] = ()
    tombstones: tuple[str, ...] = ()
    index: str | None = None
    created: str = ""
    operation: str = ""
    stream: StreamEntry | None = None
    checksums: Mapping[str, str] = field(default_factory=dict)
    parent: str = ""
    retired: tuple[tuple[int, int], ...] = ()
    abandoned: tuple[tuple[int, int], ...] = ()
    fenced: tuple[str, ...] = ()
    purge: tuple[str, ...] | None = None
    more: Mapping[str, Any] = field(default_factory=dict)
    schema_version: int = SNAPSHOT_VERSION
    written_by: str = "sensegrep"

    def to_json(self) -> str:
        """Return the text of the snapshot's file; it carries its own checksum."""
        fields = asdict(self)
        del fields["stream"]
        if self.stream is not None:
            fields["stream"] = self.stream.to_fields()
        fields.update(fields.pop("more"))
        fields["segments"] = [{"segment_id": segment_id} for segment_id in self.segments]
        return _dump({**fields, "sha256": _checksum(fields)})

    @classmethod
    def from_json(cls, text: str | bytes, path: str = "snapshot") -> "Snapshot":
        """Read a snapshot; `path` is only for the message.

        Raises:
          ManifestError: if it is damaged or of a newer version.
        """
        fields = _load(text, path, SNAPSHOT_VERSION)
        if fields["schema_version"] > 1:
            expected = fields.pop("sha256", None)
            found = _checksum(fields)
            if found != expected:
                raise ManifestError(
                    f"{path} has the SHA-256 {found}, expected {expected}: the file was damaged"
                    f" or changed; {RESTORE}"
                )
        try:
            known = {f.name for f in dataclass_fields(cls)} - {"more"}
            more = {name: fields.pop(name) for name in sorted(fields.keys() - known)}
            fields["segments"] = [entry["segment_id"] for entry in fields["segments"]]
            stream = fields.pop("stream", None)
            check_fields(fields, cls, path)
            fields["segments"] = tuple(fields["segments"])
            for name in ("tombstones", "fenced"):
                fields[name] = tuple(fields.get(name, ()))
            for name in ("retired", "abandoned"):
                fields[name] = tuple((first, last) for first, last in fields.get(name, ()))
            if fields.get("purge") is not None:
                fields["purge"] = tuple(fields["purge"])
            fields["stream"] = None if stream is None else StreamEntry.from_fields(stream)
            return cls(**{**fields, "more": more})
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ManifestError(
                f"{path} is not a snapshot ({_words(error, path)}); {RESTORE}"
            ) from error


@dataclass(frozen=True, kw_only=True)
class PartSummary:
    """What one part of a running job wrote; these travel as data and become segment.json.

    Attributes:
      part: number of the part, as planned.
      files: for each table its file: {"temporary": path as written, "part": Part}.
      counts: as in Segment, plus documents_planned and documents_rejected.
      segment_id: of the segment that the part belongs to.
      segment_parts: how many parts the segment has, as planned.
      supersede: for each live segment the documents in it that this part replaces.
    """

    part: int
    files: Mapping[str, tuple[str, Part]] = field(default_factory=dict)
    counts: Mapping[str, int] = field(default_factory=dict)
    segment_id: str = ""
    segment_parts: int = 1
    supersede: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def to_json(self) -> str:
        """Return a text that `from_json` reads."""
        return json.dumps(asdict(self), sort_keys=True, ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str | bytes) -> "PartSummary":
        """Read what `to_json` wrote."""
        fields = json.loads(text)
        files = {table: (name, Part(**part)) for table, (name, part) in fields["files"].items()}
        supersede = {segment: tuple(ids) for segment, ids in fields["supersede"].items()}
        return cls(**{**fields, "files": files, "supersede": supersede})


def _dump(fields: dict[str, Any]) -> str:
    return json.dumps(fields, indent=1, sort_keys=True, ensure_ascii=False) + "\n"


def _words(error: Exception, path: str) -> str:
    """Return what an error says; of one that names a key only, its kind as well."""
    text = str(error) if isinstance(error, ValueError) else repr(error)
    return text.removeprefix(f"{path}: ")


def _checksum(fields: Mapping[str, Any]) -> str:
    return sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is not a JSON number")


def _load(text: str | bytes, path: str, newest: int = SCHEMA_VERSION) -> dict[str, Any]:
    try:
        fields = json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise ManifestError(f"{path} is not JSON ({error}); {RESTORE}") from error
    version = fields.get("schema_version") if isinstance(fields, dict) else None
    if not isinstance(version, int) or isinstance(version, bool):
        raise ManifestError(f"{path} has no schema_version, so it is not a manifest of a corpus")
    if version > newest:
        raise ManifestError(
            f"{path} has schema version {version}, written by {fields.get('written_by')}; this"
            f" program reads versions up to {newest}: install the program that wrote it, or a"
            " newer one"
        )
    return fields
