"""What is to be said of the documents that a job embeds: each thing once a run."""

from collections.abc import Iterator

from pipelines.reading.documents import Document
from pipelines.text.scripts import wrong_language

_BETWEEN = "\t"


class Remarks:
    """Finds what is worth saying of documents, each kind once.

    Args:
      language: that the texts are read as; None for texts that are tokens already.
    """

    def __init__(self, language: str | None) -> None:
        self._language = language
        self._said: set[str] = set()

    def of(self, document: Document) -> Iterator[str]:
        """Yield what is to be said of a document: a kind, a tab, the words."""
        if self._language is not None and "language" not in self._said:
            remark = wrong_language(document.text, self._language)
            if remark is not None:
                yield self._say("language", document, remark)
        for name in document.left_out:
            if f"binary {name}" not in self._said:
                words = f"field {name!r} is binary, and its bytes are left out of the metadata"
                yield self._say(f"binary {name}", document, words)

    def _say(self, kind: str, document: Document, words: str) -> str:
        self._said.add(kind)
        return f"{kind}{_BETWEEN}document {document.doc_id[:200]}: {words}"


def first_of_each_kind(remarks: list[str]) -> list[str]:
    """Return the words of remarks that several workers made, the first of each kind."""
    found: dict[str, str] = {}
    for remark in sorted(remarks):
        kind, _, words = remark.partition(_BETWEEN)
        found.setdefault(kind, words)
    return list(found.values())
