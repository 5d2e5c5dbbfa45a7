"""Files of a corpus: one creator wins, nothing is half-visible, unsafe stores are refused."""

import hashlib
import pickle
import threading
from pathlib import Path
from typing import Any

import fsspec
import pytest

from pipelines.corpus.atomic_files import atomic_primitive, create_exclusive, is_temporary
from pipelines.corpus.checksums import HashingWriter, sha256_of
from pipelines.corpus.store import Store, write_then_commit
from pipelines.errors import CorpusError


@pytest.fixture(params=["local", "memory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    """A store of each kind that tests can have."""
    if request.param == "local":
        return Store(tmp_path / "store")
    return Store(f"memory://stores/{tmp_path.name}")


def test_only_one_of_many_creators_wins(store: Store) -> None:
    won: list[int] = []
    barrier = threading.Barrier(8)

    def create(number: int) -> None:
        barrier.wait()
        try:
            store.create_exclusive("snapshots/1.json", b"%d" % number * 1000)
        except FileExistsError:
            return
        won.append(number)

    threads = [threading.Thread(target=create, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 1
    assert store.read("snapshots/1.json") == b"%d" % won[0] * 1000
    assert store.names("snapshots") == ["1.json"]


def test_failed_write_leaves_nothing(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> None:
        raise OSError("no rename today")

    monkeypatch.setattr(Store, "move", fail)
    with pytest.raises(OSError, match="no rename today"):
        write_then_commit(store, "a/b.json", b"x")
    assert store.names("a") == []


def test_paths_are_relative_and_listed_in_order(store: Store) -> None:
    for path in ("b/2", "b/1", "a/x/y"):
        write_then_commit(store, path, path.encode())
    assert store.names("b") == ["1", "2"]
    assert store.names("missing") == []
    assert [path for path, _, _ in store.files()] == ["a/x/y", "b/1", "b/2"]
    assert [size for _, size, _ in store.files("b")] == [3, 3]
    store.move("b/1", "c/1")
    assert store.exists("c/1")
    assert not store.exists("b/1")
    store.remove_tree("b")
    store.remove("b/2")
    assert [path for path, _, _ in store.files()] == ["a/x/y", "c/1"]
    assert not any(is_temporary(path) for path, _, _ in store.files())


def test_store_works_in_another_process(store: Store) -> None:
    write_then_commit(store, "f", b"data")
    again = pickle.loads(pickle.dumps(store))
    assert again.read("f") == b"data"
    assert again.size("f") == 4


def test_hash_is_of_the_bytes_written(store: Store) -> None:
    writer = HashingWriter(store.open("f", "wb"))
    for piece in (b"abc", b"", b"defg"):
        writer.write(piece)
    assert writer.tell() == 7
    writer.close()
    assert writer.sha256 == hashlib.sha256(b"abcdefg").hexdigest() == sha256_of(store, "f")


def test_store_without_atomic_creation_is_refused() -> None:
    http = fsspec.AbstractFileSystem()
    http.protocol = "ftp"
    with pytest.raises(CorpusError, match=r"ftp:// cannot be written safely.*--single-writer"):
        create_exclusive(http, "x", b"")


class OldS3(fsspec.AbstractFileSystem):
    """An object store whose client has no conditional put."""

    protocol = ("s3", "s3a")

    def _pipe_file(self, path: str, value: bytes) -> None:  # noqa: ARG002
        raise AssertionError("not to be called")


class NewS3(OldS3):
    """An object store whose client has one."""

    protocol = ("s3", "s3a")

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[str, str]] = []

    def _pipe_file(self, path: str, value: bytes, mode: str = "overwrite") -> None:  # noqa: ARG002
        raise AssertionError("not to be called")

    def pipe_file(self, path: str, value: bytes, mode: str = "overwrite", **_: Any) -> None:  # noqa: ARG002
        self.calls.append((path, mode))


def test_object_store_is_written_with_a_conditional_put() -> None:
    bucket = NewS3()
    create_exclusive(bucket, "bucket/x", b"1")
    assert atomic_primitive(bucket) == "conditional-put"
    assert bucket.calls == [("bucket/x", "create")]
    with pytest.raises(CorpusError, match=r"has no conditional put.*upgrade s3fs or gcsfs"):
        atomic_primitive(OldS3())


def test_conditional_put_that_meets_another_one_has_lost() -> None:
    bucket = NewS3()

    def conflict(*_: Any, **__: Any) -> None:
        cause = RuntimeError("An error occurred (ConditionalRequestConflict): try again")
        raise OSError("input/output error") from cause

    bucket.pipe_file = conflict  # type: ignore[method-assign]
    with pytest.raises(FileExistsError, match="is being created"):
        create_exclusive(bucket, "bucket/x", b"1")


def test_unknown_protocol_is_told() -> None:
    with pytest.raises(CorpusError, match="cannot open nosuch://x"):
        Store("nosuch://x")


def test_file_is_no_corpus(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("x")
    with pytest.raises(CorpusError, match=r"notes.txt is a file; a corpus is a directory"):
        Store(path).names("snapshots")


def test_filesystem_without_hard_links_needs_a_promise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_links(*_: Any) -> None:
        raise PermissionError("links are not supported")

    monkeypatch.setattr("os.link", no_links)
    with pytest.raises(CorpusError, match=r"no hard links.*--single-writer"):
        Store(tmp_path).create_exclusive("x", b"1")
    assert list(tmp_path.iterdir()) == []
    Store(tmp_path, single_writer=True).create_exclusive("x", b"1")
    assert (tmp_path / "x").read_bytes() == b"1"
