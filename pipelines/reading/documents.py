"""Documents and rejects: the results of reading."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field

RAW_CHARACTERS = 200
MAX_EXAMPLES = 3  # rejects that a report shows

# The stages that can reject something, in the order of the data.
READ, SELECT, TOKENIZE, EMBED = "read", "select", "tokenize", "embed"


@dataclass(frozen=True, slots=True)
class Document:
    """One document of the input.

    Attributes:
      doc_id: its id, unique in a corpus.
      text: what is embedded; never blank, no lone surrogates.
      metadata: all other fields, as strings.
      uri: the file it came from.
      position: byte offset or row in that file.
      left_out: names of its fields that are binary and no metadata.
    """

    doc_id: str
    text: str
    metadata: dict[str, str] = field(default_factory=dict)
    uri: str = ""
    position: int = 0
    left_out: tuple[str, ...] = ()

    @property
    def sha256(self) -> str:
        """Hash of the text's UTF-8 bytes, hex."""
        return hashlib.sha256(self.text.encode()).hexdigest()


def content_digest(sha256: str, metadata: Mapping[str, str]) -> bytes:
    """Return 16 bytes that tell a document's content: its text and its metadata.

    Args:
      sha256: of the text, hex.
      metadata: of the document.
    """
    fields = json.dumps(sorted(metadata.items()), ensure_ascii=True)
    return hashlib.sha256(f"{sha256}{fields}".encode()).digest()[:16]


@dataclass(frozen=True, slots=True)
class Reject:
    """A record or sentence that was not embedded, with its reason and place.

    Attributes:
      uri: the file it came from.
      position: byte offset or row in that file.
      stage: READ, SELECT, TOKENIZE or EMBED.
      reason: a short name, such as invalid-json.
      detail: what was found and what was expected.
      doc_id: of the document, None where the record has none.
      sentence_index: of the sentence, None where a whole record is rejected.
      raw: the start of the record.
    """

    uri: str
    position: int
    stage: str
    reason: str
    detail: str
    doc_id: str | None = None
    sentence_index: int | None = None
    raw: str = ""


def described(reject: Reject) -> str:
    """Return a reject in words: its place, its reason, and what to do."""
    place = record_place(reject.uri, reject.position)
    return f"{place}: {reject.reason}: {reject.detail}"


def record_place(uri: str, position: int) -> str:
    """Return in words where a record is: a number alone would be taken for that of a line."""
    if uri.startswith("pubsub:"):
        return uri  # which ends with the id of the message
    in_rows = uri.lower().endswith(".parquet")  # which are counted from 0
    unit = "offset" if uri.startswith("kafka:") else "row" if in_rows else "byte"
    return f"{uri}, {unit} {position}"


def raw_start(record: bytes | str) -> str:
    """Return the start of a record in a form that can be stored and read."""
    if isinstance(record, bytes):
        record = record[: 4 * RAW_CHARACTERS].decode("utf-8", errors="replace")
    return record[:RAW_CHARACTERS].encode("utf-8", errors="replace").decode()
