"""Files of a corpus: one creator wins, nothing is half-visible."""

import pickle
import threading
from pathlib import Path
from typing import Any

import pytest

from pipelines.corpus.atomic_files import is_temporary
from pipelines.corpus.store import Store, write_then_commit
from pipelines.errors import CorpusError


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


def test_unknown_protocol_is_told() -> None:
    with pytest.raises(CorpusError, match="cannot open nosuch://x"):
        Store("nosuch://x")


def test_file_is_no_corpus(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("x")
    with pytest.raises(CorpusError, match=r"notes.txt is a file; a corpus is a directory"):
        Store(path).names("snapshots")
