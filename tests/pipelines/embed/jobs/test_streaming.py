"""The stream in this process: positions and documents in one snapshot, whatever happens between."""

import json
import os
import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipelines.corpus.view import CorpusView
from pipelines.embed.jobs import stream_commit, streaming
from pipelines.embed.jobs.stream_job import StopRequest, StreamJob, StreamOptions, StreamStatus
from pipelines.embed.options import ModelOptions
from pipelines.errors import CorpusError, UsageError
from pipelines.maintenance.vacuum import vacuum
from pipelines.reading import watched_files
from pipelines.reading.stream_batch import BatchLimits, RecordsLost, SourceUnavailable
from tests.message_log import Log, few, version


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


def test_it_says_that_it_waits_for_commits_when_a_batch_is_full(
    log: Log, run: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    status, said, real = StreamStatus(), list[str](), streaming.StreamCommitter.commit

    def commit(committer: Any, batch: Any) -> int:
        said.append(status.describe(0.0).partition(",")[0])
        return real(committer, batch)

    monkeypatch.setattr(streaming.StreamCommitter, "commit", commit)
    log.put("0", version("a", 1), version("b", 1), version("c", 1))
    run(status=status, ahead=few(2))
    assert said == [
        "committing (waiting for commits): 0 documents written",
        "committing: 2 documents written",
    ]


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


def test_what_fails_starts_again_and_nothing_is_lost(
    log: Log, run: Callable, texts: Callable
) -> None:
    log.put("0", version("a", 1), version("b", 1))

    class EndpointConnectionError(Exception):
        """As clients of stores have them: no OSError."""

    log.faults = [
        OSError("disk"),
        SourceUnavailable("away"),
        RuntimeError("broken"),
        EndpointConnectionError("no network"),
    ]
    assert run(max_starts=5).written == 2
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


@pytest.mark.slow
def test_a_clock_that_jumps_while_a_folder_is_streamed_loses_nothing(
    tmp_path: Path, tiny_elmo_dir: Path, texts: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The system's clock and the times of files go days ahead and back; vacuums look at both."""
    monkeypatch.setattr(watched_files, "QUIET_SECONDS", 0.05)
    monkeypatch.setattr(watched_files, "LIST_SECONDS", 0.01)
    real, offset = time.time, 0.0
    monkeypatch.setattr(time, "time", lambda: real() + offset)
    (tmp_path / "in").mkdir()
    jumps = iter([0.0, 3 * 86_400.0, -40 * 86_400.0, 10.0, -10.0])
    numbers = iter(range(1, 6))
    whole = streaming.StreamCommitter.commit

    def write_at_another_time() -> None:
        nonlocal offset
        offset = next(jumps, offset)
        number = next(numbers, None)
        if number is not None:
            path = tmp_path / "in" / f"{number % 2}.jsonl"
            path.write_text(json.dumps(version("a", number)) + "\n")
            os.utime(path, (time.time(), time.time()))

    def commit_then_jump(committer: Any, batch: Any) -> int:
        changed = whole(committer, batch)
        vacuum(CorpusView.open(tmp_path / "corpus"), older_than_seconds=86_400.0)
        write_at_another_time()
        return changed

    monkeypatch.setattr(streaming.StreamCommitter, "commit", commit_then_jump)
    write_at_another_time()
    job = StreamJob(
        source=f"watch:{tmp_path}/in/*.jsonl",
        corpus=str(tmp_path / "corpus"),
        model=ModelOptions(model=str(tiny_elmo_dir)),
        running=StreamOptions(every_seconds=0.01, until_idle_seconds=0.5),
    )
    report = streaming.stream(job, StopRequest(20.0), StreamStatus())
    assert (report.read, report.written) == (5, 5)
    assert texts() == [("a", "Version 5 of a.")]


class Killed(BaseException):
    """Ends a stream at once, as nothing catches it."""


def killing(real: Callable[..., Any], chance: random.Random) -> Callable[..., Any]:
    """Return a function that now and then ends the stream before or after its work."""

    def call(*arguments: Any, **options: Any) -> Any:
        moment = chance.random()
        if moment < 0.15:
            raise Killed
        found = real(*arguments, **options)
        if moment > 0.85:
            raise Killed
        return found

    return call


def test_a_stream_killed_between_its_steps_ends_with_the_latest_versions(
    log: Log, run: Callable, texts: Callable, view: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    """200 documents, versions and deletions; tests/.../test_stream_survival kills processes."""
    chance, latest, kills = random.Random(5), dict[str, str](), 0
    with monkeypatch.context() as patched:
        for place, name in (
            (streaming, "choose"),
            (streaming.RecordEmbedder, "write"),
            (stream_commit, "commit"),
            (streaming, "claim_stream"),
        ):
            patched.setattr(place, name, killing(getattr(place, name), chance))
        for number in range(12):
            for _ in range(40):
                doc = f"d{chance.randrange(200)}"
                if chance.random() < 0.1:
                    latest.pop(doc, None)
                    log.put(doc[-1], {"id": doc, "deleted": True})
                else:
                    latest[doc] = f"Version {number} of {doc}."
                    log.put(doc[-1], version(doc, number))
            try:
                run(ahead=few(15))
            except Killed:
                kills += 1
    run()
    assert kills > 6
    assert dict(texts()) == latest
    ends = {name: len(messages) for name, messages in log.partitions.items()}
    assert view().snapshot.stream.positions == ends
