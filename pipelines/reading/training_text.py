"""Training text: files of paragraphs to documents of sentences of words.

A file has one paragraph a line and an empty line between documents, as UTF-8 text, plain or
compressed (.gz, .bz2, .xz, .zst). Several files are read in turn.
"""

import io
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import IO

from pipelines.errors import UsageError
from pipelines.reading.decompression import DAMAGE, compression_of
from pipelines.reading.input_files import STDIN, InputFile, open_bytes
from pipelines.text.tokenizer import Tokenizer

_SNIFFED_BYTES = 65536


def check_training_files(paths: Sequence[str]) -> None:
    """Look at the start of each file.

    Raises:
      FileNotFoundError: if one is missing.
      UsageError: if one is a directory, or standard input.
      PermissionError: if one may not be read.
      ValueError: if one is empty, damaged, or not UTF-8 text.
    """
    for path in paths:
        if path == STDIN:
            raise UsageError("training text cannot come from standard input (-); name files")
        try:
            with _open(path) as file:
                start = file.read(_SNIFFED_BYTES)
        except FileNotFoundError as error:
            raise FileNotFoundError(f"training text not found: {path}") from error
        except IsADirectoryError as error:
            raise UsageError(
                f"training text {path} is a directory; name its files, as in {path}/*.txt"
            ) from error
        except PermissionError as error:
            raise PermissionError(
                f"training text {path} cannot be read; check its permissions"
            ) from error
        except DAMAGE as error:
            raise _damaged(path, error) from error
        if not start.strip():
            raise ValueError(f"training text is empty: {path}; expected one paragraph per line")
        # A code point may be cut where the sniffed part ends, hence "incomplete" is no fault.
        decoded = start.decode("utf-8", errors="replace")
        bad = decoded[:-1].count("\ufffd") + decoded.count("\x00")
        if bad:
            raise ValueError(
                f"training text is not UTF-8 text: {path} has {bad} undecodable or NUL "
                f"characters in its first {len(start)} bytes; expected one paragraph per line,"
                " plain or as .gz, .bz2, .xz or .zst"
            )


def read_training_documents(
    paths: Sequence[str],
    tokenizer: Tokenizer,
    shares: Sequence[float] | None = None,
    *,
    keep: Callable[[str], bool] | None = None,
) -> Iterator[Iterator[list[str]]]:
    """Yield documents, each an iterator over its sentences' words.

    Args:
      paths: files or fsspec URLs.
      tokenizer: the one that inference will use.
      shares: documents taken from each file a round; equal if None. A file that has come to
        its end is left out of further rounds.
      keep: says which paragraphs are read; all if None.
    """
    rates = list(shares) if shares else [1.0] * len(paths)
    if len(rates) != len(paths):
        raise UsageError(
            f"--shares has {len(rates)} numbers for {len(paths)} input files; give one number"
            " per file"
        )
    readers: list[Iterator[list[str]] | None] = [_paragraphs(path) for path in paths]
    due = [0.0] * len(paths)
    while any(reader is not None for reader in readers):
        for index, reader in enumerate(readers):
            due[index] += rates[index] if reader is not None else 0.0
            while reader is not None and due[index] >= 1.0:
                due[index] -= 1.0
                document = next(reader, None)
                if document is None:
                    readers[index] = reader = None
                else:
                    yield _sentences(
                        document if keep is None else filter(keep, document), tokenizer
                    )


def _sentences(paragraphs: Iterable[str], tokenizer: Tokenizer) -> Iterator[list[str]]:
    for paragraph in paragraphs:
        for sentence in tokenizer.sentences(paragraph):
            yield sentence.tokens


def _paragraphs(path: str) -> Iterator[list[str]]:
    document: list[str] = []
    try:
        with io.TextIOWrapper(_open(path), encoding="utf-8", errors="replace") as file:
            for line in file:
                if line.strip():
                    document.append(line.rstrip("\n"))
                elif document:
                    yield document
                    document = []
    except DAMAGE as error:
        raise _damaged(path, error) from error
    if document:
        yield document


def _open(path: str) -> IO[bytes]:
    return open_bytes(InputFile(path, "txt", compression_of(path)))


def _damaged(path: str, error: Exception) -> ValueError:
    return ValueError(
        f"training text {path} cannot be read to its end: {error}; fetch or write the file again"
    )
