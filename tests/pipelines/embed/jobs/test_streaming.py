"""The stream in this process: positions and documents in one snapshot, whatever happens between."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pipelines.corpus import stream_owner
from pipelines.corpus.commits import Change, commit
from pipelines.corpus.view import CorpusView
from pipelines.embed.jobs import stream_commit, streaming
from pipelines.embed.jobs.stream_commit import StreamFenced
from pipelines.embed.jobs.stream_job import (
    StopRequest,
    StreamJob,
    StreamOptions,
    StreamReport,
    StreamStatus,
)
from pipelines.embed.jobs.streaming import stream
from pipelines.embed.options import ModelOptions
from pipelines.errors import CorpusError, UsageError
from pipelines.maintenance.compact import compact
from pipelines.maintenance.delete import delete, find_documents
from pipelines.reading.input_files import InputFile
from pipelines.reading.messages import message_from_payload
from pipelines.reading.options import InputOptions
from pipelines.reading.stream_batch import (
    BatchLimits,
    Lag,
    Mark,
    RecordsLost,
    SourceUnavailable,
    StreamBatch,
)


class Log:
    """A source in memory: for each partition its messages, and what is to go wrong."""

    source_id = "kafka:cluster/log"
    acknowledges = False

    def __init__(self) -> None:
        self.partitions: dict[str, list[bytes | None]] = {}
        self.next: dict[str, int] = {}
        self.faults: list[Exception] = []
        self.before_fill: Callable[[], object] | None = None
        self.told: list[dict[str, int]] = []

    def put(self, partition: str, *messages: Mapping[str, Any] | str) -> None:
        log = self.partitions.setdefault(partition, [])
        log += [m.encode() if isinstance(m, str) else json.dumps(m).encode() for m in messages]

    def start(self, positions: Mapping[str, int], marks: Mapping[str, Mark]) -> dict[str, int]:
        assert marks == {}
        ends = {name: len(log) for name, log in self.partitions.items()}
        if any(position > ends.get(name, 0) for name, position in positions.items()):
            raise RecordsLost("ends before what was read; give --replace-source")
        self.next = {name: positions.get(name, 0) for name in self.partitions}
        return dict(self.next)

    def fill(self, batch: StreamBatch, limits: BatchLimits, seconds: float) -> bool:
        del seconds
        if self.before_fill is not None:
            self.before_fill()
        if self.faults:
            raise self.faults.pop()
        before = len(batch.records)
        for name, log in self.partitions.items():
            if name not in self.next:
                batch.origins[name] = self.next[name] = 0
            while self.next[name] < len(log) and not batch.is_full(limits):
                at = self.next[name]
                file = InputFile(f"kafka:log/{name}", "jsonl")
                message = message_from_payload(file, InputOptions(), at, log[at], None)
                batch.add(message, 100)
                batch.cover(name, at, at + 1)
                self.next[name] = at + 1
        return len(batch.records) > before

    def committed(self) -> None:
        self.told.append(dict(self.next))

    def lag(self) -> Lag:
        waiting = sum(len(log) - self.next.get(n, 0) for n, log in self.partitions.items())
        return Lag(waiting, float(waiting))

    def close(self) -> None:
        pass


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> Log:
    source = Log()
    monkeypatch.setattr(streaming, "open_source", lambda *_: source)
    monkeypatch.setattr(streaming, "POLL_SECONDS", 0.01)
    monkeypatch.setattr(streaming, "MAX_PAUSE_SECONDS", 0.01)
    return source


@pytest.fixture
def run(tmp_path: Path, tiny_elmo_dir: Path) -> Callable[..., StreamReport]:
    """A function that streams until the log is at its end; keywords are StreamOptions."""

    def run(stop: StopRequest | None = None, **options: Any) -> StreamReport:
        chosen = StreamOptions(
            **{
                "every_seconds": 0.01,
                "until_idle_seconds": 0.02,
                "max_reject_fraction": 1.0,
                **options,
            }
        )
        job = StreamJob(
            source="kafka:here/log",
            corpus=str(tmp_path / "corpus"),
            model=ModelOptions(model=str(tiny_elmo_dir)),
            running=chosen,
        )
        return stream(job, stop or StopRequest(20.0), StreamStatus())

    return run


@pytest.fixture
def view(tmp_path: Path) -> Callable[[], CorpusView]:
    return lambda: CorpusView.open(tmp_path / "corpus")


@pytest.fixture
def texts(view: Callable[[], CorpusView]) -> Callable[[], list[tuple[str, str]]]:
    """A function that returns (id, text of the only sentence) of all live documents, sorted."""

    def read() -> list[tuple[str, str]]:
        corpus = view()
        documents = [d for b in corpus.read("documents") for d in b.column("doc_id").to_pylist()]
        found = [
            (row["doc_id"], row["text"])
            for batch in corpus.read("sentences", ["doc_id", "text"])
            for row in batch.to_pylist()
        ]
        assert sorted(documents) == sorted(doc_id for doc_id, _ in found)
        return sorted(found)

    return read


def version(name: str, number: int) -> dict[str, str]:
    return {"id": name, "text": f"Version {number} of {name}."}


def few(records: int) -> BatchLimits:
    return BatchLimits(records=records, bytes=1 << 30)


def test_documents_and_positions_are_in_one_snapshot(
    log: Log, run: Callable, view: Callable, texts: Callable
) -> None:
    log.put("0", version("a", 1), version("b", 1), version("c", 1))
    log.put("1", version("d", 1))
    report = run(ahead=few(2))
    assert (report.read, report.written, report.commits) == (4, 4, 2)
    entry = view().snapshot.stream
    assert entry.positions == {"0": 3, "1": 1}
    assert entry.lag == {"records": 0, "seconds": 0}
    assert entry.source_id == "kafka:cluster/log"
    assert [name for name, _ in texts()] == ["a", "b", "c", "d"]
    assert log.told == [{"0": 2, "1": 0}, {"0": 3, "1": 1}]


@pytest.mark.parametrize("ahead", [1, 2, 3, 100])
def test_the_last_version_in_the_order_of_the_source_stays(
    log: Log, run: Callable, texts: Callable, ahead: int
) -> None:
    # v1, v2, v1: to call the third unchanged beside the first would end in v2.
    log.put("0", version("a", 1), version("a", 2), version("a", 1), version("b", 1))
    log.put("0", {"id": "b", "deleted": True}, {"id": "gone", "deleted": True})
    log.put("0", version("c", 1), {"id": "c", "deleted": True}, version("c", 2))
    report = run(ahead=few(ahead))
    assert texts() == [("a", "Version 1 of a."), ("c", "Version 2 of c.")]
    assert report.read == 9
    assert run().read == 0


def test_a_second_start_reads_nothing_twice(log: Log, run: Callable, view: Callable) -> None:
    log.put("0", version("a", 1))
    run()
    log.put("0", version("a", 1), version("b", 1))
    report = run()
    assert (report.read, report.written, report.unchanged) == (2, 1, 1)
    assert view().snapshot.stream.epoch == 2


def test_rejects_are_written_with_their_positions_and_the_stream_goes_on(
    log: Log, run: Callable, view: Callable
) -> None:
    log.put("0", version("a", 1), "{poison", version("b", 1), {"text": "Nameless."})
    report = run()
    assert (report.read, report.written, report.rejected) == (4, 2, 2)
    assert report.reasons == {"invalid-json": 1, "missing-id": 1}
    rows = [row for batch in view().read("rejects") for row in batch.to_pylist()]
    assert [(r["uri"], r["position"], r["reason"]) for r in rows] == [
        ("kafka:log/0", 1, "invalid-json"),
        ("kafka:log/0", 3, "missing-id"),
    ]


def test_a_batch_of_nothing_but_rejects_moves_the_positions(
    log: Log, run: Callable, view: Callable
) -> None:
    log.put("0", "{poison")
    run()
    assert view().snapshot.stream.positions == {"0": 1}
    assert run().read == 0


def test_a_reject_does_not_replace_what_is_live(log: Log, run: Callable, texts: Callable) -> None:
    log.put("0", version("a", 1), {"id": "a", "text": " "})
    run()
    assert texts() == [("a", "Version 1 of a.")]


def test_too_many_rejects_fail_before_they_are_passed_over(
    log: Log, run: Callable, view: Callable
) -> None:
    log.put("0", *({"id": str(n), "body": "Hi."} for n in range(120)))
    with pytest.raises(UsageError, match=r"120 of 120 records .* \(120 missing-text\)"):
        run(max_reject_fraction=0.5)
    assert view().snapshot.stream.positions == {"0": 0}


def test_a_partition_that_is_new_is_read_from_its_beginning(
    log: Log, run: Callable, view: Callable, texts: Callable
) -> None:
    log.put("0", version("a", 1))
    added = iter([None, None, None, lambda: log.put("1", version("b", 1))])
    log.before_fill = lambda: (step := next(added, None)) and step()
    run(until_idle_seconds=0.2)
    assert view().snapshot.stream.positions == {"0": 1, "1": 1}
    assert [name for name, _ in texts()] == ["a", "b"]


def test_another_source_is_refused_unless_it_is_to_replace(
    log: Log, run: Callable, view: Callable, texts: Callable
) -> None:
    log.put("0", version("a", 1))
    run()
    log.source_id = "kafka:cluster/other"
    log.partitions = {}
    log.put("7", version("b", 1))
    with pytest.raises(UsageError, match="is fed by kafka:cluster/log, not by kafka:cluster/other"):
        run()
    run(replace_source=True)
    assert view().snapshot.stream.positions == {"7": 1}
    assert [name for name, _ in texts()] == ["a", "b"]


def test_a_source_made_anew_under_its_name_is_read_only_if_it_is_to_replace(
    log: Log, run: Callable, view: Callable, texts: Callable
) -> None:
    log.put("0", version("a", 1), version("b", 1))
    run()
    log.partitions = {}
    log.put("0", version("a", 2))
    with pytest.raises(RecordsLost, match="--replace-source"):
        run()
    run(replace_source=True)
    assert view().snapshot.stream.positions == {"0": 1}
    assert texts() == [("a", "Version 2 of a."), ("b", "Version 1 of b.")]


def test_other_settings_than_the_corpus_has_are_refused(
    log: Log, run: Callable, run_embed: Callable, write_jsonl: Callable, view: Callable
) -> None:
    run_embed(write_jsonl([version("a", 1)]), pooling="mean")
    log.put("0", version("b", 1))
    with pytest.raises(UsageError, match="was embedded with other settings"):
        run()
    assert view().snapshot.stream is None


def test_a_second_stream_on_this_machine_is_refused(
    log: Log, run: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    log.put("0", version("a", 1))
    run()
    monkeypatch.setattr(stream_owner.os, "getpid", lambda: 1)
    with pytest.raises(UsageError, match=r"another stream \(process \d+\) feeds the corpus"):
        run()


def test_a_stream_that_another_took_over_from_commits_no_more(
    log: Log, run: Callable, view: Callable, texts: Callable
) -> None:
    log.put("0", version("a", 1))
    run()
    log.put("0", version("b", 1))

    def take_over() -> None:
        log.before_fill = None
        entry = view().snapshot.stream
        newer = replace(entry, epoch=entry.epoch + 1, owner={})
        commit(view(), Change(operation="stream", stream=newer, stream_before=entry))

    log.before_fill = take_over
    with pytest.raises(StreamFenced, match=r"epoch 3, this one has 2\).*run one stream"):
        run()
    assert [name for name, _ in texts()] == ["a"]
    assert view().snapshot.stream.positions == {"0": 1}
    segments = Path(view().root) / "segments"
    assert [p.name for p in segments.glob("*/segment.json")] == ["segment.json"]


def test_a_commit_whose_answer_was_lost_is_not_made_twice(
    log: Log, run: Callable, texts: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, calls = commit, []

    def loses_answers(corpus: CorpusView, change: Change) -> CorpusView:
        calls.append(change)
        found = real(corpus, change)
        if change.add:
            raise OSError("the connection broke")
        return found

    log.put("0", version("a", 1), version("a", 2), version("b", 1))
    monkeypatch.setattr(stream_commit, "commit", loses_answers)
    report = run(ahead=few(1))
    assert texts() == [("a", "Version 2 of a."), ("b", "Version 1 of b.")]
    assert report.commits == 0  # each start found its batch committed
    assert len([change for change in calls if change.add]) == 3


def test_what_fails_starts_again_and_nothing_is_lost(
    log: Log, run: Callable, texts: Callable
) -> None:
    log.put("0", version("a", 1), version("b", 1))
    log.faults = [OSError("disk"), SourceUnavailable("away"), RuntimeError("broken")]
    assert run(max_starts=4).written == 2
    assert len(texts()) == 2


def test_a_stream_that_only_fails_is_given_up(log: Log, run: Callable) -> None:
    log.put("0", version("a", 1))
    log.faults = [OSError(f"disk {n}") for n in range(9, 0, -1)]
    with pytest.raises(RuntimeError, match=r"given up after 3 starts .* failed with: disk 3"):
        run(max_starts=3)


def test_a_source_that_is_not_there_at_the_first_start_is_bad_usage(
    log: Log, run: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: object) -> None:
        raise SourceUnavailable("no broker answers at here")

    monkeypatch.setattr(log, "start", away)
    with pytest.raises(UsageError, match="no broker answers at here"):
        run()


def test_lost_records_end_the_stream_at_once(log: Log, run: Callable) -> None:
    log.put("0", version("a", 1))
    log.faults = [RecordsLost("offsets 1 to 5 were removed")]
    with pytest.raises(RecordsLost, match="offsets 1 to 5"):
        run()


def test_a_request_to_stop_makes_a_last_commit(log: Log, run: Callable, texts: Callable) -> None:
    log.put("0", version("a", 1))
    stop = StopRequest(20.0)
    fills = iter([None, None, stop.request])
    log.before_fill = lambda: (step := next(fills)) and step()
    report = run(stop, every_seconds=3600.0, until_idle_seconds=None)
    assert report.written == 1
    assert [name for name, _ in texts()] == ["a"]


def test_a_last_commit_that_takes_too_long_is_left_to_the_next_start(
    log: Log, run: Callable, texts: Callable, view: Callable
) -> None:
    log.put("0", version("a", 1))
    stop = StopRequest(0.0)
    fills = iter([None, stop.request])
    log.before_fill = lambda: (step := next(fills)) and step()
    assert run(stop, every_seconds=3600.0).read == 0
    assert list((Path(view().root) / "segments").glob("*/sentences/*")) == []
    log.before_fill = None
    assert run().written == 1
    assert [name for name, _ in texts()] == ["a"]


def others(root: str, run_embed: Callable, write_jsonl: Callable) -> Sequence[Callable[[], object]]:
    """What other writers do between two commits of a stream."""

    def embed_same() -> None:
        run_embed(write_jsonl([version("a", 90), version("b", 90), version("x", 90)]))

    def remove() -> None:
        corpus = CorpusView.open(root)
        delete(corpus, find_documents(corpus, ["a"])[0])

    def merge() -> None:
        corpus = CorpusView.open(root)
        compact(corpus, [segment.segment_id for segment in corpus.segments])

    return embed_same, remove, merge


@pytest.mark.parametrize("which", [0, 1, 2])
def test_other_writers_beside_a_stream_lose_nothing(
    log: Log,
    run: Callable,
    view: Callable,
    texts: Callable,
    run_embed: Callable,
    write_jsonl: Callable,
    tmp_path: Path,
    which: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    other = others(str(tmp_path / "corpus"), run_embed, write_jsonl)[which]
    log.put("0", version("a", 1), version("b", 1), version("c", 1))
    run(ahead=few(1))
    log.put("0", version("a", 2), version("b", 2), version("d", 1))
    real = commit

    def after_the_other(corpus: CorpusView, change: Change) -> CorpusView:
        if change.add:
            monkeypatch.setattr(stream_commit, "commit", real)
            other()
        return real(corpus, change)

    monkeypatch.setattr(stream_commit, "commit", after_the_other)
    assert run().written == 3
    expected = {"a": 2, "b": 2, "c": 1, "d": 1} | ({"x": 90} if which == 0 else {})
    assert texts() == [(k, f"Version {v} of {k}.") for k, v in sorted(expected.items())]
    assert view().snapshot.stream.positions == {"0": 6}


def test_the_count_must_add_up(log: Log, run: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    real = streaming.choose

    def miscounts(*arguments: Any) -> Any:
        choice = real(*arguments)
        choice.read += 1
        return choice

    log.put("0", version("a", 1))
    monkeypatch.setattr(streaming, "choose", miscounts)
    with pytest.raises((CorpusError, RuntimeError), match="the counts must add up"):
        run(max_starts=1)


def test_a_partition_that_lags_is_read_whole(
    log: Log, run: Callable, texts: Callable, view: Callable
) -> None:
    log.put("0", *({"id": f"fast{n}", "text": "Hi."} for n in range(30)))
    log.put("1", {"id": "slow0", "text": "Hi."})
    late = iter([{"id": "slow1", "text": "Hi."}, {"id": "fast3", "text": "From the slow one."}])

    def trickle() -> None:
        message = next(late, None)
        if message is not None:
            log.put("1", message)

    log.before_fill = trickle
    run(ahead=BatchLimits(records=7, bytes=1 << 20))
    assert len(texts()) == 32
    assert view().snapshot.stream.positions == {"0": 30, "1": 3}


def test_a_claim_is_made_again_after_a_batch_of_the_stream_that_it_replaces(
    log: Log, run: Callable, view: Callable
) -> None:
    """Its workers elsewhere go on until they see that they are replaced."""
    log.put("0", {"id": "a", "text": "Hi."}, {"id": "b", "text": "Hi."})
    run()
    before = view()
    entry = before.snapshot.stream
    moved = replace(entry, positions={"0": 1})
    commit(before, Change(operation="stream", stream=moved, stream_before=entry))
    claimed, corpus = stream_commit.claim_stream(before, log, {})
    assert (claimed.epoch, claimed.positions) == (entry.epoch + 1, {"0": 1})
    assert corpus.snapshot.stream == claimed
    with pytest.raises(StreamFenced, match="another stream took over"):  # one with a newer epoch
        stream_commit.claim_stream(before, log, {})
