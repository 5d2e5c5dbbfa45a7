"""Decide from digests which records of the input are embedded.

Workers scan pieces of the input and the live rows of the corpus (`scan_piece`, `scan_live`). Both
give entries under the digest of a document's id; all entries of one id meet in `decide`. Rejects
meet in `decide_reject`, so that one that an earlier run recorded is not recorded again. What was
decided goes back to the piece it came from, where `plan_piece` makes parts of it.

Each function yields (output, element), and a Beam DoFn puts the element into that output.
"""

import pickle
from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from struct import Struct
from typing import Any

import pyarrow as pa

from pipelines.corpus.scan import read_tombstones, scan_rows
from pipelines.corpus.store import Store
from pipelines.embed.digest_table import DIGEST_BYTES, digest
from pipelines.embed.remarks import Remarks
from pipelines.reading.documents import (
    MAX_EXAMPLES,
    Document,
    Reject,
    content_digest,
    described,
)
from pipelines.reading.options import InputOptions
from pipelines.reading.records import check_columns, scan
from pipelines.reading.splits import FilePiece, piece_bounds

# The outputs. RECORDS: (digest of an id, entry); REJECTS: (key of a reject, entry); CHOSEN: (index
# of a piece, decision); COUNTS: (name, number); MISSING: (segment_id, doc_id).
RECORDS, REJECTS, CHOSEN, COUNTS, MISSING = "records", "rejects", "chosen", "counts", "missing"
OUTPUTS = (REJECTS, CHOSEN, COUNTS, MISSING)

# What COUNTS names; new rejects are also counted as REASON + why, damaged files as DAMAGED + uri.
READ, CHANGED, UNCHANGED, REJECTED = "read", "changed", "unchanged", "rejected"
NAMELESS = "nameless"  # of the rejected, those whose id is not known
REJECTED_SENTENCES = "rejected_sentences"
REASON, DAMAGED = "reason ", "damaged "
REMARK = "remark "  # with what `Remarks` says of a document
EXAMPLE = "example "  # with the place and the detail of a reject, in the order of the input
_PLACE_CHARACTERS = 32  # of an example; they say its order

# A part may have 2^25 tokens, and a token is at least a byte.
MAX_PART_BYTES = 16 << 20

_DOCUMENT, _MENTION, _LIVE, _REJECT, _KNOWN, _PIECE, _EMBED, _DUPLICATE = range(8)
_OTHER = bytes(DIGEST_BYTES)  # of a document made by another recipe
# kind, piece, position in its file, digest of the uri, of text and metadata, bytes of the text
_DOCUMENT_ENTRY = Struct(f">BIQ8s{DIGEST_BYTES}sI")
# kind, segment, digest of text and metadata, rejected sentences; the id follows if it may be pruned
_LIVE_ENTRY = Struct(f">BI{DIGEST_BYTES}sI")
_REJECT_ENTRY = Struct(">BIQ")  # kind, piece, position; the reason follows
# kind, position, bytes of the text, number of the segment superseded or 0, start of the id's digest
_DECISION = Struct(">BQIII")

Output = tuple[str, tuple[Any, Any]]


@dataclass(frozen=True)
class LiveSegment:
    """A live segment, as the workers that scan it need it.

    Attributes:
      number: of the segment among those of the job, from 1.
      segment_id: of the segment.
      same_recipe: its rows were made as this job makes them.
      documents: its files of documents.
      rejects: its files of rejects.
    """

    number: int
    segment_id: str
    same_recipe: bool
    documents: tuple[str, ...]
    rejects: tuple[str, ...]


def scan_piece(
    piece: FilePiece, options: InputOptions, remarks: Remarks | None = None
) -> Iterator[Output]:
    """Yield an entry for each record that begins in a piece of the input, and their number.

    Args:
      piece: of the input.
      options: how records become documents.
      remarks: finds what is to be said of documents.

    Raises:
      UsageError: if the file lacks a column that the options name.
    """
    if piece.piece == 0:
        check_columns(piece.file, options)
    yield CHOSEN, (piece.index, bytes([_PIECE]) + pickle.dumps(piece))
    place, read, examples = _uri_digest(piece.file.uri), 0, 0
    for record in scan(piece.file, options, *piece_bounds(piece)):
        read += 1
        if isinstance(record, Document):
            if remarks is not None:
                yield from ((COUNTS, (REMARK + words, 1)) for words in remarks.of(record))
            encoded = record.text.encode()
            content = content_digest(record.sha256, record.metadata)
            entry = (_DOCUMENT, piece.index, record.position, place, content, len(encoded))
            yield RECORDS, (digest(record.doc_id), _DOCUMENT_ENTRY.pack(*entry))
            continue
        # A row that swallowed others says as little of them as a file that ends too early.
        if record.reason in ("damaged-file", "invalid-csv"):
            yield COUNTS, (DAMAGED + record.uri, 1)
        if record.doc_id is None:
            yield COUNTS, (NAMELESS, 1)
        else:
            yield RECORDS, (digest(record.doc_id), bytes([_MENTION]))
        if examples < (1 if piece.index else MAX_EXAMPLES):
            examples += 1
            yield COUNTS, (_example(piece.index, record), 1)
        yield _new_reject(piece.index, record.position, place, record.reason, _REJECT)
    yield COUNTS, (READ, read)


def _example(piece: int, reject: Reject) -> str:
    place = f"{piece:010d} {reject.position:020d} "
    return f"{EXAMPLE}{place}{described(reject)}"


def first_examples(counts: Iterable[str]) -> list[str]:
    """Return the first rejects among the names of COUNTS, in words."""
    found = sorted(name for name in counts if name.startswith(EXAMPLE))[:MAX_EXAMPLES]
    return [name[len(EXAMPLE) + _PLACE_CHARACTERS :] for name in found]


def scan_live(
    segment: LiveSegment, store: Store, tombstones: Sequence[str], *, prune: bool
) -> Iterator[Output]:
    """Yield an entry for each live document of a segment and each reject it records.

    Args:
      segment: whose rows.
      store: of the corpus.
      tombstones: files of the snapshot that the job was planned on.
      prune: entries have their document's id, so that it can be tombstoned.
    """
    deleted = read_tombstones(store, tombstones, [segment.segment_id]).get(segment.segment_id)
    for path in segment.documents:
        columns = ("doc_id", "sha256", "rejected_sentences", "metadata")
        for row in _rows(store, path, deleted, columns):
            content = content_digest(row[1], dict(row[3])) if segment.same_recipe else _OTHER
            entry = _LIVE_ENTRY.pack(_LIVE, segment.number, content, row[2])
            yield RECORDS, (digest(row[0]), entry + (row[0].encode() if prune else b""))
    for path in segment.rejects:
        for row in _rows(store, path, None, ("uri", "position", "reason", "sentence_index")):
            if row[3] is None:
                yield REJECTS, (_reject_key(_uri_digest(row[0]), row[1], row[2]), bytes([_KNOWN]))


def _rows(
    store: Store, path: str, deleted: pa.Array | None, columns: Sequence[str]
) -> Iterator[tuple[Any, ...]]:
    for batch in scan_rows(store, path, deleted, columns, 65536):
        yield from zip(*(column.to_pylist() for column in batch.columns), strict=True)


def decide(
    key: bytes, entries: Iterable[bytes], live_ids: Sequence[str], *, prune: bool
) -> Iterator[Output]:
    """Decide on all documents of one id: of those in the input the first in order wins.

    Args:
      key: digest of the id.
      entries: of the input and of the corpus, in any order; they are not kept.
      live_ids: ids of the segments, by their number less 1.
      prune: tell of a live document that the input does not name.
    """
    first: tuple[Any, ...] | None = None
    live: bytes | None = None
    mentioned = False
    for entry in entries:
        if entry[0] == _DOCUMENT:
            found = _DOCUMENT_ENTRY.unpack(entry)
            later = found
            if first is None or found[1:3] < first[1:3]:
                first, later = found, first
            if later is not None:
                yield _new_reject(later[1], later[2], later[3], "duplicate-id", _DUPLICATE)
        elif entry[0] == _MENTION:
            mentioned = True
        else:
            live = entry
    if first is not None:
        yield from _decide_first(key, first, live)
    elif live is not None and prune and not mentioned:
        number = _LIVE_ENTRY.unpack_from(live)[1]
        yield MISSING, (live_ids[number - 1], live[_LIVE_ENTRY.size :].decode())


def _decide_first(key: bytes, first: tuple[Any, ...], live: bytes | None) -> Iterator[Output]:
    _, piece, position, _, content, size = first
    supersede = 0
    if live is not None:
        _, supersede, old, rejected = _LIVE_ENTRY.unpack_from(live)
        if old == content:
            yield COUNTS, (UNCHANGED, 1)
            if rejected:
                yield COUNTS, (REJECTED_SENTENCES, rejected)
            return
        yield COUNTS, (CHANGED, 1)
    check = int.from_bytes(key[:4])
    yield CHOSEN, (piece, _DECISION.pack(_EMBED, position, size, supersede, check))


def decide_reject(entries: Iterable[bytes]) -> Iterator[Output]:
    """Decide on all rejects of one record for one reason: known ones are only counted."""
    found = list(entries)
    known = any(entry[0] == _KNOWN for entry in found)
    for entry in found:
        if entry[0] == _KNOWN:
            continue
        yield COUNTS, (REJECTED, 1)
        if not known:
            kind, piece, position = _REJECT_ENTRY.unpack_from(entry)
            yield COUNTS, (REASON + entry[_REJECT_ENTRY.size :].decode(), 1)
            yield CHOSEN, (piece, _DECISION.pack(kind, position, 0, 0, 0))


def _new_reject(piece: int, position: int, place: bytes, reason: str, kind: int) -> Output:
    entry = _REJECT_ENTRY.pack(kind, piece, position) + reason.encode()
    return REJECTS, (_reject_key(place, position, reason), entry)


def _reject_key(place: bytes, position: int, reason: str) -> bytes:
    return place + position.to_bytes(8) + blake2b(reason.encode(), digest_size=8).digest()


def _uri_digest(uri: str) -> bytes:
    return blake2b(uri.encode("utf-8", "surrogatepass"), digest_size=8).digest()


@dataclass
class ChosenPart:
    """Records of one piece that become one part; positions rise.

    Attributes:
      documents: positions of the documents to embed.
      supersede: for each the number of the segment with its older version, or 0.
      rejects: positions of records that are rejected.
      duplicates: positions of documents whose id an earlier one has.
      text_bytes: of the documents.
      check: of the documents' ids, so that an input that changed meanwhile is noticed.
    """

    documents: array = field(default_factory=lambda: array("Q"))
    supersede: array = field(default_factory=lambda: array("I"))
    rejects: array = field(default_factory=lambda: array("Q"))
    duplicates: array = field(default_factory=lambda: array("Q"))
    text_bytes: int = 0
    check: int = 0


def plan_piece(decisions: Iterable[bytes]) -> tuple[FilePiece, list[ChosenPart]]:
    """Divide what was chosen of a piece into parts; none if nothing was.

    Args:
      decisions: on the records of the piece, in any order, and the piece itself.
    """
    piece: FilePiece | None = None
    found = []
    for decision in decisions:
        if decision[0] == _PIECE:
            piece = pickle.loads(decision[1:])  # made by scan_piece, in this very job
        else:
            kind, *fields = _DECISION.unpack(decision)
            found.append((fields[0], kind, *fields[1:]))
    assert piece is not None
    parts: list[ChosenPart] = []
    # A damaged file is told of at the position of its last good record, after it.
    for position, kind, size, supersede, check in sorted(found, key=lambda f: (f[0], -f[1])):
        full = parts and kind == _EMBED and parts[-1].text_bytes + size > MAX_PART_BYTES
        if not parts or (full and parts[-1].documents):
            parts.append(ChosenPart())
        part = parts[-1]
        if kind == _EMBED:
            part.documents.append(position)
            part.supersede.append(supersede)
            part.text_bytes += size
            part.check ^= check
        else:
            (part.rejects if kind == _REJECT else part.duplicates).append(position)
    return piece, parts
