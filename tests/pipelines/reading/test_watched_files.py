"""A watched folder: what appears or changes, once, whole, and in pieces where it is large."""

import gzip
import json
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from pipelines.errors import UsageError
from pipelines.reading import watched_files
from pipelines.reading.messages import Deletion
from pipelines.reading.options import InputOptions
from pipelines.reading.stream_batch import BatchLimits, Lag, Mark, SourceUnavailable, StreamBatch
from pipelines.reading.watched_files import WHOLE, WatchedFiles

MANY = BatchLimits(records=1000, bytes=1 << 30)


@pytest.fixture(autouse=True)
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watched_files, "QUIET_SECONDS", 0.05)
    monkeypatch.setattr(watched_files, "LIST_SECONDS", 0.01)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "in").mkdir()
    return tmp_path / "in"


@pytest.fixture
def write(folder: Path) -> Callable[..., Path]:
    def write(name: str, *ids: str, text: str = "Hi.") -> Path:
        lines = [json.dumps({"id": name_, "text": text}) + "\n" for name_ in ids]
        (folder / name).write_text("".join(lines))
        return folder / name

    return write


@pytest.fixture
def watch(folder: Path) -> Callable[..., WatchedFiles]:
    def start(
        positions: dict[str, int] | None = None, marks: dict[str, Mark] | None = None
    ) -> WatchedFiles:
        source = WatchedFiles(f"{folder}/*", InputOptions())
        source.start(positions or {}, marks or {})
        return source

    return start


def take(source: WatchedFiles, limits: BatchLimits = MANY, seconds: float = 0.6) -> StreamBatch:
    batch = StreamBatch()
    source.fill(batch, limits, seconds)
    return batch


def ids(batch: StreamBatch) -> list[str | None]:
    return [record.doc_id for record in batch.records]


def test_files_are_read_once(watch: Callable[..., WatchedFiles], write: Callable) -> None:
    write("1.jsonl", "a", "b")
    source = watch()
    batch = take(source)
    assert ids(batch) == ["a", "b"]
    assert batch.ranges == {"files": (0, 1)}
    assert take(source).ranges == {}
    write("2.jsonl", "c")
    batch = take(source)
    assert ids(batch) == ["c"]
    assert batch.ranges == {"files": (1, 2)}


def test_a_changed_file_is_read_again_and_a_restart_knows_what_was_read(
    watch: Callable[..., WatchedFiles], write: Callable
) -> None:
    write("1.jsonl", "a")
    write("2.jsonl", "b")
    first = take(watch())
    write("2.jsonl", "b", "c")
    again = watch({"files": 2}, first.marks)
    batch = take(again)
    assert ids(batch) == ["b", "c"]
    assert batch.ranges == {"files": (2, 3)}


def test_files_come_in_the_order_of_their_times(
    watch: Callable[..., WatchedFiles], write: Callable
) -> None:
    for number, name in enumerate(["z.jsonl", "a.jsonl", "m.jsonl"]):
        os.utime(write(name, name), (1000 + number, 1000 + number))
    assert ids(take(watch())) == ["z.jsonl", "a.jsonl", "m.jsonl"]


def test_a_file_that_is_being_written_waits_until_it_is_quiet(
    watch: Callable[..., WatchedFiles], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watched_files, "QUIET_SECONDS", 0.4)
    source, path = watch(), folder / "1.jsonl"
    for number in range(5):
        with path.open("a") as file:
            file.write(json.dumps({"id": str(number), "text": "Hi."}) + "\n")
        assert take(source, seconds=0.1).records == []
        assert source.lag().records == 1
    assert ids(take(source, seconds=2)) == ["0", "1", "2", "3", "4"]
    assert source.lag().records == 0


@pytest.mark.parametrize("jump", [-1e6, 1e6])
def test_a_file_from_another_time_is_taken(
    watch: Callable[..., WatchedFiles], write: Callable, jump: float
) -> None:
    now = time.time()
    os.utime(write("1.jsonl", "a"), (now + jump, now + jump))
    assert ids(take(watch())) == ["a"]


@pytest.mark.parametrize("jump", [-1e6, 1e6])
def test_a_clock_that_jumps_while_files_are_watched_changes_neither_order_nor_lag(
    watch: Callable[..., WatchedFiles],
    write: Callable,
    monkeypatch: pytest.MonkeyPatch,
    jump: float,
) -> None:
    monkeypatch.setattr(watched_files, "QUIET_SECONDS", 0.2)
    source = watch()
    write("1.jsonl", "a", text="Before.")
    assert take(source, seconds=0.1).records == []
    real, now = time.time, time.time()
    monkeypatch.setattr(watched_files.time, "time", lambda: real() + jump)
    os.utime(write("2.jsonl", "a", text="After."), (now + jump, now + jump))
    assert take(source, seconds=0.05).records == []
    time.sleep(0.3)  # both are ready now
    assert [r.text for r in take(source, seconds=0.5).records] == ["Before.", "After."]
    assert source.lag() == Lag()
    # A file that was read, written again by the clock that went back or ahead.
    os.utime(write("1.jsonl", "a", text="Again."), (now + 2 * jump, now + 2 * jump))
    assert take(source, seconds=0.1).records == []
    assert source.lag().records == 1
    assert source.lag().seconds >= 0
    assert [r.text for r in take(source, seconds=2).records] == ["Again."]


def test_what_was_read_of_a_version_that_is_gone_is_dropped(
    watch: Callable[..., WatchedFiles], write: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    write("1.jsonl", "a", "old")
    source = watch()
    real = watched_files.scan_lines

    def changed_meanwhile(*arguments):  # type: ignore[no-untyped-def]
        monkeypatch.setattr(watched_files, "scan_lines", real)
        found = list(real(*arguments))
        write("1.jsonl", "a", "new", "more")
        yield from found

    monkeypatch.setattr(watched_files, "scan_lines", changed_meanwhile)
    batch = take(source)
    assert ids(batch) == ["a", "new", "more"]
    assert batch.ranges == {"files": (0, 1)}


@pytest.mark.parametrize("name", ["1.jsonl", "1.jsonl.gz", "1.csv"])
def test_a_large_file_is_taken_in_pieces_and_a_restart_goes_on_between_them(
    watch: Callable[..., WatchedFiles], folder: Path, name: str
) -> None:
    if name.endswith("csv"):
        text = "id,text\n" + "".join(f'{n},"One\nTwo."\n' for n in range(10))
    else:
        text = "".join(json.dumps({"id": str(n), "text": "Hi."}) + "\n" for n in range(10))
    data = text.encode()
    (folder / name).write_bytes(gzip.compress(data) if name.endswith("gz") else data)
    few = BatchLimits(records=4, bytes=1 << 30)
    source = watch()
    first = take(source, few)
    assert ids(first) == ["0", "1", "2", "3"]
    assert source.lag().records == 1
    second = take(source, few)
    assert ids(second) == ["4", "5", "6", "7"]
    assert second.ranges == {"files": (1, 2)}
    again = watch({"files": 1}, first.marks)
    assert ids(take(again)) == ["4", "5", "6", "7", "8", "9"]
    assert again.lag().records == 0


def test_a_batch_is_closed_by_its_bytes(
    watch: Callable[..., WatchedFiles], write: Callable
) -> None:
    write("1.jsonl", *"abcdef", text="x" * 1000)
    batch = take(watch(), BatchLimits(records=1000, bytes=2500))
    assert ids(batch) == ["a", "b", "c"]


def test_a_removed_file_is_forgotten_with_the_next_batch(
    watch: Callable[..., WatchedFiles], write: Callable
) -> None:
    path = write("1.jsonl", "a")
    source = watch()
    take(source)
    path.unlink()
    write("2.jsonl", "b")
    batch = take(source)
    assert ids(batch) == ["b"]
    assert batch.marks[str(path)] == Mark("")


def test_a_renamed_file_is_a_new_one_with_the_same_documents(
    watch: Callable[..., WatchedFiles], write: Callable
) -> None:
    path = write("1.jsonl", "a")
    source = watch()
    take(source)
    path.rename(path.with_name("2.jsonl"))
    assert ids(take(source)) == ["a"]


def test_deletions_and_rejects_stand_between_documents(
    watch: Callable[..., WatchedFiles], folder: Path
) -> None:
    (folder / "1.jsonl").write_text('{"id": "a", "deleted": true}\n{oops\n')
    deletion, reject = take(watch()).records
    assert isinstance(deletion, Deletion)
    assert (reject.position, getattr(reject, "reason", "")) == (29, "invalid-json")


def test_a_damaged_file_ends_with_a_reject(
    watch: Callable[..., WatchedFiles], folder: Path
) -> None:
    data = gzip.compress("".join(f'{{"id": "{n}", "text": "Hi."}}\n' for n in range(99)).encode())
    (folder / "1.jsonl.gz").write_bytes(data[:-20])
    batch = take(watch())
    assert getattr(batch.records[-1], "reason", "") == "damaged-file"
    [mark] = batch.marks.values()
    assert mark.position == WHOLE


def test_files_of_no_known_kind_are_passed_over(
    watch: Callable[..., WatchedFiles], folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (folder / "notes.doc").write_text("Hi.")
    (folder / "sub").mkdir()
    source = watch()
    assert take(source, seconds=0.2).ranges == {}
    assert source.lag().records == 0
    assert [record.getMessage() for record in caplog.records] == [
        f"file {folder}/notes.doc is skipped: its name does not say what it is (.txt, .jsonl,"
        " .ndjson, .csv, .tsv, .parquet)"
    ]


def test_a_folder_that_goes_away_is_an_error(
    watch: Callable[..., WatchedFiles], folder: Path
) -> None:
    source = watch()
    folder.rmdir()
    with pytest.raises(SourceUnavailable, match=r"its folder .* does not exist"):
        take(source)


@pytest.mark.parametrize("pattern", ["", "in", "in/1.jsonl"])
def test_a_source_without_a_star_is_refused(pattern: str) -> None:
    with pytest.raises(UsageError, match=r"has no \* in it"):
        WatchedFiles(pattern, InputOptions())


def test_a_glob_without_a_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceUnavailable, match=f"folder {tmp_path}/none does not exist; create"):
        WatchedFiles(f"{tmp_path}/none/*.jsonl", InputOptions())


def test_a_glob_of_another_store_is_watched() -> None:
    import fsspec

    memory = fsspec.filesystem("memory")
    memory.pipe_file("/watched/1.jsonl", b'{"id": "a", "text": "Hi."}\n')
    source = WatchedFiles("memory://watched/*.jsonl", InputOptions())
    source.start({}, {})
    assert ids(take(source)) == ["a"]
    memory.pipe_file("/watched/1.jsonl", b'{"id": "b", "text": "Hi, all."}\n')
    assert ids(take(source)) == ["b"]
