"""A map from 16-byte digests to integers in flat memory."""

import hashlib
from array import array

DIGEST_BYTES = 16


def digest(*parts: str) -> bytes:
    """Return 16 bytes that stand for some strings; no two texts seen in practice share them."""
    encoded = (part.encode("utf-8", errors="surrogatepass") for part in parts)
    text = b"".join(len(part).to_bytes(8, "little") + part for part in encoded)
    return hashlib.blake2b(text, digest_size=DIGEST_BYTES).digest()


class DigestTable:
    """A map from 16-byte digests to integers, by open addressing in flat memory."""

    def __init__(self, expected: int = 0) -> None:
        self._resize(max(16, 1 << (2 * expected).bit_length()))

    def __len__(self) -> int:
        return self._used

    def _resize(self, slots: int) -> None:
        self._keys = bytearray(slots * DIGEST_BYTES)
        self._values = array("q", bytes(8 * slots))
        self._mask = slots - 1
        self._used = 0

    def get(self, key: bytes) -> int | None:
        """Return what was put under a key, or None."""
        slot = self._find(key)
        return self._values[slot] - 1 if self._values[slot] else None

    def put(self, key: bytes, value: int = 0) -> None:
        """Remember a number that is not negative; a key put twice keeps the later one."""
        slot = self._find(key)
        if not self._values[slot]:
            if 2 * self._used > self._mask:
                self._grow()
                slot = self._find(key)
            self._keys[slot * DIGEST_BYTES : (slot + 1) * DIGEST_BYTES] = key
            self._used += 1
        self._values[slot] = value + 1

    def _find(self, key: bytes) -> int:
        slot = int.from_bytes(key[:8], "little") & self._mask
        while self._values[slot]:
            if self._keys[slot * DIGEST_BYTES : (slot + 1) * DIGEST_BYTES] == key:
                return slot
            slot = (slot + 1) & self._mask
        return slot

    def _grow(self) -> None:
        keys, values = self._keys, self._values
        self._resize(2 * (self._mask + 1))
        for slot, value in enumerate(values):
            if value:
                self.put(bytes(keys[slot * DIGEST_BYTES : (slot + 1) * DIGEST_BYTES]), value - 1)
