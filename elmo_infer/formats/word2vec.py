"""The word2vec text and binary formats and GloVe's, plain or gzipped; pickles are refused.

Text:   "V D\n", then V lines "WORD v1 ... vD\n"; GloVe's has no first line.
Binary: "V D\n", then V times WORD, a space, D little-endian float32, and perhaps "\n".

A word may hold spaces in text, where the last D fields are the numbers, and in binary files that
end each vector with a newline. In other binary files such a word cannot be told: they are refused.
"""

import gzip
import io
import logging
import os
import re
import zlib
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
FASTTEXT_MAGIC = b"\xba\x16\x4f\x2f"
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
# No embedding has such numbers; bytes of words read as numbers have.
LARGEST_NUMBER = 1e12
_ODDLY_LARGE, _ODDLY_SMALL = 1e4, 1e-8
_REST_OF_WORD = re.compile(rb"[\x21-\x7e\x80-\xff]{1,40}\x20")
HEADER = re.compile(rb"([0-9]{1,12}) +([0-9]{1,9})[ \t]*\r?\n")
# A word and three numbers with a decimal point or an exponent.
_GLOVE_START = re.compile(rb"[^\x00-\x20]\S{0,40}(?: -?[0-9]+\.[0-9]+(?:[eE][-+]?[0-9]+)?){2,}")
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
    start = start.removeprefix(BYTE_ORDER_MARK)
    known = HEADER.match(start) or PICKLE_MAGIC.match(start) or start.startswith(FASTTEXT_MAGIC)
    return bool(known or _GLOVE_START.match(start))


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
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
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
            raise ValueError(
                f"word {word!r} is empty or holds white space, which would end the"
                " word in this format"
            )
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
    if start.startswith(FASTTEXT_MAGIC):
        raise ValueError(
            f"{where}: fastText's own binary format, which cannot be read; write the"
            " words as text and load that: fasttext print-word-vectors, or save the .vec file"
        )
    if start.startswith(BYTE_ORDER_MARK):
        stream.read(len(BYTE_ORDER_MARK))
        start = stream.peek(64)
    if not HEADER.match(start) and _GLOVE_START.match(start):
        return _read_glove(where, stream)
    line = stream.readline(64)
    header = HEADER.fullmatch(line)
    if header is None:
        raise ValueError(
            f"{where}: the first line is {line[:40]!r}; expected 'V D', the number of words and "
            "of dimensions, or as in GloVe's files a word and its numbers"
        )
    count, dim = int(header[1]), int(header[2])
    if not (count and dim):
        raise ValueError(
            f"{where}: header says {count} words of {dim} dimensions, expected at least 1 of each;"
            " save the vectors again"
        )
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


def _read_glove(where: str, stream: Stream) -> tuple[list[str], Floats]:
    """Read lines of a word and its numbers; the first says how many numbers there are."""
    words: list[str] = []
    rows: list[Floats] = []
    dim = 0
    for row, line in enumerate(stream):
        text = _decode(where, row, line)
        if not dim:
            dim = len(text.split()) - 1
        word, vector = _text_record(where, row, text, dim)
        words.append(word)
        rows.append(vector)
    return words, np.stack(rows)


def _text_record(where: str, row: int, line: str, dim: int) -> tuple[str, Floats]:
    """Read a line: its last `dim` fields are the numbers, what is before them is the word."""
    fields = [field for field in re.split("[ \t]+", line.rstrip()) if field]
    if len(fields) <= dim or _are_numbers(fields[1:-dim]):
        raise ValueError(
            f"{where}: word {row} has {len(fields) - 1} numbers, expected {dim}: "
            f"{line[:60]!r}; the header is wrong or the file truncated"
        )
    word = " ".join(fields[:-dim])
    try:
        return word, np.array(fields[-dim:], dtype=np.float32)
    except ValueError as error:
        raise ValueError(f"{where}: word {row}, {word!r}: {error}") from error


def _are_numbers(fields: Sequence[str]) -> bool:
    """Say whether fields that should be parts of a word are numbers, every one."""
    try:
        return bool(fields) and bool([float(field) for field in fields])
    except ValueError:
        return False


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
        word, vectors[row] = _text_record(where, row, _decode(where, row, line), dim)
        words.append(word)
    _check_end(where, stream.read(CHUNK_BYTES), count)
    return words, vectors


def _read_binary(where: str, stream: Stream, count: int, dim: int) -> tuple[list[str], Floats]:
    words: list[str] = []
    vectors = np.empty((count, dim), dtype=np.float32)
    buffer, position = b"", 0
    lines: bool | None = None  # each vector ends with a newline
    for row in range(count):
        space = buffer.find(b" ", position)
        while space < 0 or len(buffer) <= space + 4 * dim + 1:
            if space < 0 and len(buffer) - position > LONGEST_WORD_BYTES:
                raise ValueError(
                    f"{where}: no word ends within {LONGEST_WORD_BYTES} bytes after word {row - 1};"
                    " this is not the word2vec binary format, or the header's dimension is wrong"
                )
            more = stream.read(CHUNK_BYTES)
            if not more:
                break
            buffer, position = buffer[position:] + more, 0
            space = buffer.find(b" ", position)
        end = space + 1 + 4 * dim
        if space < 0 or len(buffer) < end:
            raise ValueError(_truncated(where, row, count))
        if lines is None and row == 0:
            lines = buffer[end : end + 1] == b"\n"
        if lines and row < count - 1:
            space = _space_before_vector(buffer, position, space, dim)
            end = space + 1 + 4 * dim
        vector = np.frombuffer(buffer, "<f4", dim, space + 1)
        words.append(_binary_word(where, row, buffer[position:space].lstrip(b"\n"), vector))
        vectors[row] = vector
        position = end
    _check_end(where, buffer[position:] + stream.read(CHUNK_BYTES), count)
    return words, vectors


def _space_before_vector(buffer: bytes, position: int, space: int, dim: int) -> int:
    """Return the space whose vector ends with a newline; a word may hold spaces before it."""
    found = space
    while found >= 0 and found - position <= LONGEST_WORD_BYTES:
        end = found + 1 + 4 * dim
        if buffer[end : end + 1] == b"\n":
            return found
        found = buffer.find(b" ", found + 1)
    return space


def _binary_word(where: str, row: int, data: bytes, vector: Floats) -> str:
    """Return a word, if word and vector can be what they seem.

    Bytes of numbers read as a word, or of words read as numbers, show that a word before holds a
    space or that the header's dimension is wrong: everything after it would be wrong too.
    """
    with np.errstate(invalid="ignore"):
        sizes = np.abs(vector)
        sound = not (sizes > LARGEST_NUMBER).any()
        # Numbers read a few bytes too early have random exponents.
        odd = ((sizes > _ODDLY_LARGE) | ((sizes < _ODDLY_SMALL) & (sizes > 0))).any()
    sound = sound and not (odd and _REST_OF_WORD.match(vector.tobytes()))
    try:
        word = data.decode("utf-8")
    except UnicodeDecodeError as error:
        # The original program cuts a long word at a byte; the rest of a character is left out.
        if error.reason != "unexpected end of data":
            raise ValueError(f"{where}: word {row} is not UTF-8: {data[:40]!r}") from error
        word = data[: error.start].decode("utf-8")
    if not sound or not word or any(ord(c) < 32 or 127 <= ord(c) < 160 for c in word):
        raise ValueError(
            f"{where}: word {row} reads as {data[:40]!r} with numbers such as"
            f" {vector[:2].tolist()}; a word before it holds a space, or the header's dimension is"
            " wrong. Save the vectors in text format, or without spaces in words"
        )
    return word


def _truncated(where: str, row: int, count: int) -> str:
    return f"{where}: ends after {row} words, but its header says {count}; the file is truncated"


def _check_end(where: str, rest: bytes, count: int) -> None:
    if rest.strip():
        raise ValueError(
            f"{where}: the file goes on after the {count} words of its header; the header is wrong"
        )


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
        "%s: %d words occur twice; the first vector of each is kept", where, len(words) - len(first)
    )
    rows = sorted(first.values())
    return [words[row] for row in rows], vectors[rows]
