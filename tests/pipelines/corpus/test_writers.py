"""Running writers: who is at work, and who only left a file behind."""

import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from pipelines.__main__ import main
from pipelines.corpus.commits import Change, commit, reserve_segment
from pipelines.corpus.store import Store
from pipelines.corpus.view import CorpusView
from pipelines.corpus.writers import (
    QUIET_SECONDS,
    Writer,
    highest_segment,
    is_running,
    running_writer,
    writers_of,
)
from pipelines.errors import CorpusError

Run = Callable[..., Any]


def test_writer_is_known_while_it_runs(tmp_path: Path) -> None:
    store = Store(tmp_path)
    with running_writer(store, "embed") as writer:
        assert writers_of(store) == ([writer], [])
        assert str(writer).startswith("embed (process ")
    assert writers_of(store) == ([], [])
    assert store.names("writers") == []


def test_writer_whose_file_was_made_but_not_confirmed_leaves_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    create = Store.create_exclusive

    def lose_answer(self: Store, path: str, data: bytes) -> None:
        create(self, path, data)
        raise TimeoutError("no answer")

    monkeypatch.setattr(Store, "create_exclusive", lose_answer)
    with pytest.raises(TimeoutError), running_writer(Store(tmp_path), "embed"):
        pass
    assert Store(tmp_path).names("writers") == []


def test_process_of_this_machine_is_looked_at(tmp_path: Path) -> None:
    with running_writer(Store(tmp_path), "embed") as writer:
        long_ago = time.time() - 10 * QUIET_SECONDS
        assert is_running(writer, long_ago)
        assert not is_running(replace(writer, started="1"), time.time())  # an id used again
        ended = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"],
                               capture_output=True, text=True, check=True)  # fmt: skip
        assert not is_running(replace(writer, process=int(ended.stdout)), time.time())


@pytest.mark.parametrize(("quiet", "running"), [(0.5, True), (1.1, False)])
def test_elsewhere_a_file_that_nobody_renews_tells_it(quiet: float, running: bool) -> None:
    writer = Writer(writer_id="w", operation="embed", snapshot=3, machine="other/boot/pid")
    assert is_running(writer, time.time() - quiet * QUIET_SECONDS) is running
    assert is_running(writer, None)


def test_writer_that_cannot_be_understood_keeps_everything(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.create_exclusive("writers/x.json", b'{"snapshot": "seven"}')
    [[writer], gone] = writers_of(store)
    assert (writer.writer_id, writer.snapshot, gone) == ("x", 0, [])


def test_fenced_or_missing_writer_cannot_commit(tmp_path: Path) -> None:
    corpus = CorpusView.open_or_create(tmp_path)
    with running_writer(corpus.store, "embed") as writer:
        fenced = commit(corpus, Change(operation="vacuum", fence=(writer.writer_id,)))
        change = Change(operation="embed", writer=writer.writer_id)
        with pytest.raises(CorpusError, match="a vacuum removed the files of this embed"):
            commit(fenced, change)
    again = commit(fenced, Change(operation="vacuum"))
    with pytest.raises(CorpusError, match="a vacuum removed the files of this embed"):
        commit(again, change)


def test_highest_segment_counts_reservations(tmp_path: Path) -> None:
    store = Store(tmp_path)
    assert highest_segment(store) == 0
    reserve_segment(store)
    reserve_segment(store, "w")
    assert highest_segment(store) == 2
    assert store.read("segments/00000002/reserved") == b"w"


def test_embed_and_vacuum_beside_each_other_both_succeed(
    write_jsonl: Run, run_embed: Run, rows_of: Run, interleave: Run, tmp_path: Path
) -> None:
    records = [{"id": f"d{n}", "text": f"Text {n} here."} for n in range(4)]
    run_embed(write_jsonl(records[:2]))
    corpus = str(tmp_path / "corpus")
    vacuum = ["vacuum", "--corpus", corpus, "--older-than", "0s"]
    interleave(lambda: main(vacuum))
    assert run_embed(write_jsonl(records), commit_every=1).written == 2
    assert len(rows_of("documents")) == 4
    assert main(["verify", "--corpus", corpus]) == 0


def test_purge_beside_an_embed_says_so_and_can_be_finished(
    write_jsonl: Run,
    run_embed: Run,
    rows_of: Run,
    interleave: Run,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    records = [{"id": f"d{n}", "text": f"Text {n} here."} for n in range(4)]
    run_embed(write_jsonl(records[:2]))
    corpus = str(tmp_path / "corpus")
    statuses = []
    purge = ["delete", "d0", "--purge", "--corpus", corpus]
    interleave(lambda: statuses.append(main([*purge, "--no-wait"])))
    assert run_embed(write_jsonl(records[1:])).written == 2
    assert statuses == [1]
    assert "rows are still on the disk: embed (process" in capsys.readouterr().err
    assert main(["info", "--corpus", corpus]) == 0
    assert "purge        not finished" in capsys.readouterr().out
    assert main(purge) == 0
    assert sorted(row["doc_id"] for row in rows_of("documents")) == ["d1", "d2", "d3"]
    rows = [
        doc_id
        for path in (tmp_path / "corpus").rglob("*.parquet")
        if "doc_id" in pq.read_schema(path).names
        for doc_id in pq.read_table(path, columns=["doc_id"])["doc_id"].to_pylist()
    ]
    assert set(rows) == {"d1", "d2", "d3"}
