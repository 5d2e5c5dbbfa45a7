"""Compressed input: recognise it, and read it up to the first damaged byte."""

import bz2
import io
import lzma
import zlib
from collections.abc import Callable
from typing import IO, Any

import zstandard

# What the decompressors below raise on damaged or truncated data.
DAMAGE = (EOFError, OSError, zlib.error, lzma.LZMAError, zstandard.ZstdError)
_READ_BYTES = 1 << 14
_MAGIC = {".gz": b"\x1f\x8b", ".zst": b"\x28\xb5\x2f\xfd", ".xz": b"\xfd7zXZ", ".bz2": b"BZh"}
_ZSTD_SKIPPABLE = b"\x2a\x4d\x18"  # of a frame that may stand before others, from its second byte

_DECOMPRESSORS: dict[str, Callable[[], Any]] = {
    ".gz": lambda: zlib.decompressobj(wbits=31),
    ".zst": lambda: zstandard.ZstdDecompressor(max_window_size=1 << 31).decompressobj(),
    ".xz": lzma.LZMADecompressor,
    ".bz2": bz2.BZ2Decompressor,
}


def compression_of(uri: str) -> str:
    """Return the suffix that says how a file is compressed, such as .gz, or an empty string."""
    bare = uri.lower().partition("?")[0] if "://" in uri else uri.lower()
    return next((suffix for suffix in _DECOMPRESSORS if bare.endswith(suffix)), "")


def decompressed(raw: IO[bytes], compression: str) -> IO[bytes]:
    """Return a buffered reader of what a compressed file holds.

    Args:
      raw: the compressed bytes.
      compression: what `compression_of` says of the file; not empty.
    """
    return io.BufferedReader(_Decompressed(raw, compression), 1 << 18)


class _Decompressed(io.RawIOBase):
    """Decompresses streams one after another, and hands out all that is whole before an error.

    The library's own readers lose what they had decompressed when the data ends early, or (zstd)
    do not tell.
    """

    def __init__(self, raw: IO[bytes], compression: str) -> None:
        self._raw = raw
        self._compression = compression
        self._begun = False
        self._stream: Any = None
        self._ready = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._ready:
            data = self._behind() or self._raw.read(_READ_BYTES)
            if not data:
                if self._stream is not None:
                    raise EOFError("the compressed data is incomplete")
                return 0
            if self._stream is None:
                data = data.lstrip(b"\0")  # padding between streams
                if not data:
                    continue
                if not self._begun:
                    self._check(data)
                self._begun = True
                self._stream = _DECOMPRESSORS[self._compression]()
            self._ready = self._stream.decompress(data)
        size = min(len(buffer), len(self._ready))
        buffer[:size] = self._ready[:size]
        self._ready = self._ready[size:]
        return size

    def _check(self, data: bytes) -> None:
        magic = _MAGIC[self._compression]
        known = data[: len(magic)] == magic[: len(data)]
        if not known and not (self._compression == ".zst" and data[1:4] == _ZSTD_SKIPPABLE):
            raise OSError(
                f"it is not {self._compression} data: it begins with {data[:8]!r}; give the file"
                " the suffix of its real format"
            )

    def _behind(self) -> bytes:
        """Return what was read beyond the end of a stream."""
        if self._stream is None or not self._stream.eof:
            return b""
        behind = bytes(self._stream.unused_data)
        self._stream = None
        return behind

    def close(self) -> None:
        self._raw.close()
        super().close()
