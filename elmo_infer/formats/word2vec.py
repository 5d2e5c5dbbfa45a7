"""The word2vec text and binary formats, plain or gzipped; pickles are refused.

Text:   "V D\n", then V lines "WORD v1 ... vD\n".
Binary: "V D\n", then V times WORD, a space, D little-endian float32, and perhaps "\n".
"""

import gzip
import io
import logging
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO, TypeAlias, cast

import fsspec
import numpy as np
import numpy.typing as npt

logger = logging.getLogger(__name__)

Floats = npt.NDArray[np.float32]
Stream: TypeAlias = "io.BufferedReader[Any]"

GZIP_MAGIC = b"\x1f\x8b"
PICKLE_MAGIC = re.compile(rb"\x80[\x02-\x05]")  # opcode PROTO and a protocol number
HEADER = re.compile(rb"([0-9]{1,12}) +([0-9]{1,9})[ \t]*\r?\n")
LONGEST_WORD_BYTES = 10_000
CHUNK_BYTES = 2**22
GZIP_LARGEST_RATIO = 1032  # what deflate can reach at most


def starts_like_word2vec(start: bytes) -> bool:
    """Tell whether a file that begins with `start` (64 bytes or more) is one for this module.

    That includes pickles, which read_word2vec refuses with an explanation.
    """
    if start[:2] == GZIP_MAGIC:
        # Any gzip file whose first bytes unpack to a header.
        try:
            start = gzip.GzipFile(fileobj=io.BytesIO(start)).read1(32)
        except (OSError, EOFError):
            return False
    return bool(HEADER.match(start) or PICKLE_MAGIC.match(start))


def read_word2vec(location: str | Path) -> tuple[list[str], Floats]:
    """Read words and vectors; text or binary is told by the first record.

    Of a word that occurs twice the first vector stays, as gensim does it; the number is logged.

    Args:
      location: path or fsspec URL.

    Returns:
      V words, and [V, D] float32.

    Raises:
      ValueError: if the file is a pickle, has no header, ends early, holds more than its header
        says, or holds numbers that are not finite; says which record.
    """
    where = str(location)
    fs, path = fsspec.url_to_fs(where)
    size = fs.size(path)
    with fs.open(path, "rb") as raw:
        stream: Stream = io.BufferedReader(cast(io.RawIOBase, raw), CHUNK_BYTES)
        bound = size
        if stream.peek(2)[:2] == GZIP_MAGIC:
            stream = io.BufferedReader(
                cast(io.RawIOBase, gzip.GzipFile(fileobj=stream)), CHUNK_BYTES
            )
            bound = size * GZIP_LARGEST_RATIO
        try:
            words, vectors = _read_stream(where, stream, bound)
        except (EOFError, gzip.BadGzipFile) as error:
            raise ValueError(f"{where}: damaged gzip file: {error}") from error
    if not np.isfinite(vectors).all():
        row = int(np.flatnonzero(~np.isfinite(vectors).all(axis=1))[0])
        raise ValueError(f"{where}: the vector of word {row}, {words[row]!r}, is not finite")
    return _without_repeats(where, words, vectors)


def write_word2vec(
    path: str | Path, words: Sequence[str], vectors: Floats, *, binary: bool | None = None
) -> None:
    """Write words and vectors [V, D]; the file appears whole or not at all.

    Args:
      path: a local file; gzipped if it ends in .gz. Must not exist.
      words: V words, without white space.
      vectors: [V, D] float32.
      binary: None takes the text format for .txt and .vec, the binary format otherwise.

    Raises:
      ValueError: if a word cannot be written, or the numbers of words and vectors differ.
      FileExistsError: if there is such a file.
    """
    path = Path(path)
    if len(words) != len(vectors):
        raise ValueError(f"{len(words)} words but {len(vectors)} vectors")
    for word in words:
        if not word or word != "".join(word.split()):
            raise ValueError(f"word {word!r} is empty or holds white space, which ends a word here")
    if path.exists():
        raise FileExistsError(f"{path} exists; remove it or choose another name")
    if binary is None:
        binary = path.name.removesuffix(".gz").rpartition(".")[2] not in ("txt", "vec")
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with open(temporary, "wb") as file:
            if path.suffix == ".gz":
                # mtime and name fixed: the same vectors give the same bytes.
                with gzip.GzipFile("", "wb", fileobj=file, mtime=0) as packed:
                    _write_stream(cast(BinaryIO, packed), words, vectors, binary)
            else:
                _write_stream(file, words, vectors, binary)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _write_stream(file: BinaryIO, words: Sequence[str], vectors: Floats, binary: bool) -> None:
    file.write(f"{len(words)} {vectors.shape[1]}\n".encode())
    for word, vector in zip(words, vectors.astype("<f4", copy=False), strict=True):
        if binary:
            file.write(word.encode() + b" " + vector.tobytes() + b"\n")
        else:
            # Nine digits give every float32 back exactly.
            numbers = " ".join(f"{value:.9g}" for value in vector.tolist())
            file.write(f"{word} {numbers}\n".encode())


def _read_stream(where: str, stream: Stream, bound: int) -> tuple[list[str], Floats]:
    start = stream.peek(64)
    if PICKLE_MAGIC.match(start):
        raise ValueError(
            f"{where}: a Python pickle (gensim's own save format is one). Loading a pickle can run "
            "any code, so it is refused; in gensim, write the vectors with "
            "KeyedVectors.save_word2vec_format and load that file"
        )
    line = stream.readline(64)
    header = HEADER.fullmatch(line)
    if header is None:
        raise ValueError(
            f"{where}: the first line is {line[:40]!r}; expected 'V D', the number of words and "
            "of dimensions (a GloVe file has no such line: put it in front)"
        )
    count, dim = int(header[1]), int(header[2])
    if not (count and dim):
        raise ValueError(f"{where}: header says {count} words of {dim} dimensions")
    # A number takes two bytes in text, four in binary: a header that promises more than the file
    # can hold must not reserve memory.
    if count * (2 * dim + 1) > bound:
        raise ValueError(
            f"{where}: header says {count} words of {dim} dimensions, more than the file can hold; "
            "it is truncated or the header is wrong"
        )
    if _first_record_is_text(stream, dim):
        return _read_text(where, stream, count, dim)
    return _read_binary(where, stream, count, dim)


def _first_record_is_text(stream: Stream, dim: int) -> bool:
    record, newline, _ = stream.peek(LONGEST_WORD_BYTES + 40 * dim).partition(b"\n")
    fields = record.split()
    if not newline or len(fields) < 2:
        return False
    try:
        np.array(fields[1:], dtype=np.float32)
    except ValueError:
        return False
    return True


def _read_text(where: str, stream: Stream, count: int, dim: int) -> tuple[list[str], Floats]:
    words: list[str] = []
    vectors = np.empty((count, dim), dtype=np.float32)
    for row in range(count):
        line = stream.readline()
        if not line or (row < count - 1 and not line.endswith(b"\n")):
            raise ValueError(_truncated(where, row, count))
        fields = _decode(where, row, line).rstrip().split(" ")
        if len(fields) != dim + 1:
            raise ValueError(
                f"{where}: word {row} has {len(fields) - 1} numbers, expected {dim}: "
                f"{line[:60]!r}; the header is wrong or the file truncated"
            )
        try:
            vectors[row] = fields[1:]
        except ValueError as error:
            raise ValueError(f"{where}: word {row}, {fields[0]!r}: {error}") from error
        words.append(fields[0])
    _check_end(where, stream.read(CHUNK_BYTES), count)
    return words, vectors


def _read_binary(where: str, stream: Stream, count: int, dim: int) -> tuple[list[str], Floats]:
    words: list[str] = []
    vectors = np.empty((count, dim), dtype=np.float32)
    buffer, position = b"", 0
    for row in range(count):
        while (space := buffer.find(b" ", position)) < 0 or len(buffer) <= space + 4 * dim:
            if space < 0 and len(buffer) - position > LONGEST_WORD_BYTES:
                raise ValueError(
                    f"{where}: no word ends within {LONGEST_WORD_BYTES} bytes after word {row - 1};"
                    " this is not the word2vec binary format, or the header's dimension is wrong"
                )
            more = stream.read(CHUNK_BYTES)
            if not more:
                raise ValueError(_truncated(where, row, count))
            buffer, position = buffer[position:] + more, 0
        words.append(_decode(where, row, buffer[position:space].lstrip(b"\n")))
        vectors[row] = np.frombuffer(buffer, "<f4", dim, space + 1)
        position = space + 1 + 4 * dim
    _check_end(where, buffer[position:] + stream.read(CHUNK_BYTES), count)
    return words, vectors


def _truncated(where: str, row: int, count: int) -> str:
    return f"{where}: ends after {row} words, its header says {count}; the file is truncated"


def _check_end(where: str, rest: bytes, count: int) -> None:
    if rest.strip():
        raise ValueError(f"{where}: more follows after the {count} words its header says")


def _decode(where: str, row: int, data: bytes) -> str:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"{where}: word {row} is not UTF-8: {data[:40]!r}") from error


def _without_repeats(where: str, words: list[str], vectors: Floats) -> tuple[list[str], Floats]:
    first = {word: row for row, word in reversed(list(enumerate(words)))}
    if len(first) == len(words):
        return words, vectors
    logger.warning(
        "%s: %d words occur twice; their first vector is kept", where, len(words) - len(first)
    )
    rows = sorted(first.values())
    return [words[row] for row in rows], vectors[rows]
