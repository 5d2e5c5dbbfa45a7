"""Files of a corpus: one creator wins, nothing is half-visible, on every kind of store."""

import pickle
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from pipelines.corpus.atomic_files import is_temporary
from pipelines.corpus.store import Store, write_then_commit
from pipelines.errors import CorpusError


@pytest.fixture(params=["local", "memory", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    """A store of each kind that tests can have; S3 is spoken with a server on this machine."""
    if request.param == "local":
        return Store(tmp_path / "store")
    if request.param == "memory":
        return Store(f"memory://stores/{tmp_path.name}")
    return Store(f"{request.getfixturevalue('bucket')}/store")


class TestStoreConformance:
    """What the commit protocol asks of a store; each kind is held to the same."""

    def test_only_one_of_many_creators_wins(self, store: Store) -> None:
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

    def test_failed_write_leaves_nothing(
        self, store: Store, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def fail(*_: Any) -> None:
            raise OSError("no rename today")

        monkeypatch.setattr(Store, "move", fail)
        with pytest.raises(OSError, match="no rename today"):
            write_then_commit(store, "a/b.json", b"x")
        assert store.names("a") == []

    def test_paths_are_relative_and_listed_in_order(self, store: Store) -> None:
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

    def test_store_works_in_another_process(self, store: Store) -> None:
        write_then_commit(store, "f", b"data")
        again = pickle.loads(pickle.dumps(store))
        assert again.read("f") == b"data"
        assert again.size("f") == 4

    def test_file_is_created_whole_or_not_at_all(self, store: Store) -> None:
        store.create_exclusive("a/b/1.json", b"first")
        with pytest.raises(FileExistsError):
            store.create_exclusive("a/b/1.json", b"second")
        assert store.read("a/b/1.json") == b"first"
        assert [path for path, _, _ in store.files()] == ["a/b/1.json"]

    def test_what_was_written_is_shown_at_once(self, store: Store) -> None:
        other = Store(store.url)
        assert (other.names("a"), other.exists("a/1")) == ([], False)
        store.create_exclusive("a/1", b"x")
        assert (other.names("a"), other.exists("a/1"), other.size("a/1")) == (["1"], True, 1)
        store.remove("a/1")
        assert (other.names("a"), other.exists("a/1")) == ([], False)
        with pytest.raises(FileNotFoundError):
            other.read("a/1")

    def test_files_tell_when_they_were_written(self, store: Store) -> None:
        before = time.time()
        store.create_exclusive("a/1", b"x")
        [(_, size, changed)] = store.files()
        assert size == 1
        # S3 tells whole seconds; a disk's clock ticks every few milliseconds.
        assert changed is not None
        assert before - 2 < changed < time.time() + 2

    def test_opened_file_can_be_read_from_anywhere(self, store: Store) -> None:
        with store.open("a/1", "wb") as file:
            file.write(b"0123456789")
        with store.open("a/1") as file:
            file.seek(4)
            assert file.read(3) == b"456"
        assert store.read("a/1") == b"0123456789"

    def test_path_out_of_the_corpus_is_refused(self, store: Store) -> None:
        for path in ("../x", "a/../../x", "/x", "a//b"):
            with pytest.raises(CorpusError, match="expected a path inside the corpus"):
                store.create_exclusive(path, b"x")


def test_unknown_protocol_is_told() -> None:
    with pytest.raises(CorpusError, match="cannot open nosuch://x"):
        Store("nosuch://x")


def test_file_is_no_corpus(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("x")
    with pytest.raises(CorpusError, match=r"notes.txt is a file; a corpus is a directory"):
        Store(path).names("snapshots")
