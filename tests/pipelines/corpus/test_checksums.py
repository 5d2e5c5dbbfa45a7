"""Checksums of what was written."""

import hashlib

from pipelines.corpus.checksums import HashingWriter, sha256_of
from pipelines.corpus.store import Store


def test_hash_is_of_the_bytes_written(store: Store) -> None:
    writer = HashingWriter(store.open("f", "wb"))
    for piece in (b"abc", b"", b"defg"):
        writer.write(piece)
    assert writer.tell() == 7
    writer.close()
    assert writer.sha256 == hashlib.sha256(b"abcdefg").hexdigest() == sha256_of(store, "f")
