"""A local file of documents whose own files cannot be read again from a position."""

import json
import os
from collections.abc import Iterable, Iterator
from typing import IO

from pipelines.reading.documents import Document
from pipelines.reading.input_files import InputFile

SPOOL = "spool"  # the format of the file


class Spool:
    """Documents on their way from the planner to a worker; the file is made with the first.

    Args:
      directory: local.
      number: part of the file's name.
    """

    def __init__(self, directory: str, number: int) -> None:
        self._path = os.path.join(directory, f"{number:08d}.spool")
        self.file = InputFile(self._path, SPOOL)
        self._stream: IO[bytes] | None = None

    def add(self, document: Document) -> int:
        """Append a document; returns its byte offset."""
        if self._stream is None:
            self._stream = open(self._path, "wb")  # noqa: SIM115  # closed by finish
        position = self._stream.tell()
        fields = [
            document.doc_id,
            document.text,
            document.metadata,
            document.uri,
            document.position,
        ]
        self._stream.write(json.dumps(fields).encode() + b"\n")
        return position

    def finish(self) -> None:
        """Close the file, so that workers may read it."""
        if self._stream is not None:
            self._stream.close()

    def remove(self) -> None:
        """Remove the file."""
        if self._stream is not None:
            os.unlink(self._path)


def read_spool(stream: IO[bytes], positions: Iterable[int]) -> Iterator[Document]:
    """Yield the documents at given byte offsets."""
    for position in positions:
        stream.seek(position)
        yield Document(*json.loads(stream.readline()))
