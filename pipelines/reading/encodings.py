"""Text in UTF-16 or UTF-32 with a byte-order mark, read as the UTF-8 that the formats expect."""

import codecs
import io
from typing import IO, Any

_READ_BYTES = 1 << 16
# The marks of UTF-32 first: that of UTF-16 begins one of them.
_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


def as_utf8(stream: IO[bytes]) -> IO[bytes]:
    """Return a stream of text as UTF-8; one without a mark of another encoding as it is.

    Positions in a stream that is read so are those of the UTF-8 text.

    Args:
      stream: at its beginning.
    """
    start = stream.peek(4)[:4] if hasattr(stream, "peek") else stream.read(4)
    if not hasattr(stream, "peek"):
        stream.seek(0)
    encoding = next((name for mark, name in _MARKS if start.startswith(mark)), None)
    if encoding is None:
        return stream
    return io.BufferedReader(_Transcoded(stream, encoding), 1 << 18)


class _Transcoded(io.RawIOBase):
    """Bytes of another encoding as UTF-8; going back reads from the beginning again."""

    def __init__(self, stream: IO[bytes], encoding: str) -> None:
        self._stream = stream
        self._encoding = encoding
        self._begin()

    def _begin(self) -> None:
        # A lone surrogate comes out as bytes that are no UTF-8: its record is rejected by name.
        self._decoder = codecs.getincrementaldecoder(self._encoding)("surrogatepass")
        self._ready = b""
        self._position = 0
        self._ended = False

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return bool(self._stream.seekable())

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        if whence != io.SEEK_SET:
            raise io.UnsupportedOperation("only positions from the beginning can be sought")
        if offset < self._position:
            self._stream.seek(0)
            self._begin()
        while self._position < offset and self._fill():
            step = min(len(self._ready), offset - self._position)
            self._ready = self._ready[step:]
            self._position += step
        return self._position

    def readinto(self, buffer: Any) -> int:
        if not self._fill():
            return 0
        size = min(len(buffer), len(self._ready))
        buffer[:size] = self._ready[:size]
        self._ready = self._ready[size:]
        self._position += size
        return size

    def _fill(self) -> bool:
        """Decode more if nothing is ready; False at the end."""
        while not self._ready and not self._ended:
            data = self._stream.read(_READ_BYTES)
            self._ended = not data
            try:
                text = self._decoder.decode(data, final=self._ended)
            except UnicodeDecodeError as error:
                name = self._encoding.upper()
                raise OSError(f"the {name} text is damaged: {error.reason}") from error
            self._ready = text.encode("utf-8", errors="surrogatepass")
        return bool(self._ready)

    def close(self) -> None:
        self._stream.close()
        super().close()
