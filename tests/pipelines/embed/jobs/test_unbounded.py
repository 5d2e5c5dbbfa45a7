"""The steps of a stream's job on an engine, one by one: vacuums, later streams, failing readers.

tests/engines/test_stream.py runs the whole job on Prism.
"""

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipelines.corpus.commits import CommitRefusedError
from pipelines.corpus.view import CorpusView
from pipelines.corpus.writers import QUIET_SECONDS
from pipelines.embed.inference import describe_model
from pipelines.embed.jobs import stream_reader, unbounded
from pipelines.embed.jobs.stream_commit import claim_stream
from pipelines.embed.jobs.stream_job import StreamJob, StreamOptions
from pipelines.embed.jobs.unbounded import (
    CommitBatchesFn,
    EmbedBatchFn,
    Readers,
    ReadStreamFn,
    UnboundedPlan,
)
from pipelines.embed.options import ModelOptions
from pipelines.embed.recipe import make_recipe
from pipelines.errors import CorpusError
from pipelines.maintenance.vacuum import vacuum
from tests.message_log import Log, version


class Bag(list[Any]):
    """A bag of state, as the engine keeps it."""

    add = list.append
    read = list.copy


class Turn:
    """A restriction of which the reader may take a turn; counts what it puts off."""

    def __init__(self) -> None:
        self.deferred = 0

    def current_restriction(self) -> Any:
        return range(0, 1)

    def try_claim(self, _: int) -> bool:
        return True

    def defer_remainder(self, _: Any) -> None:
        self.deferred += 1


@pytest.fixture
def begin(
    log: Log, tmp_path: Path, tiny_elmo_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[str], UnboundedPlan]:
    """A function that takes the corpus's stream over for a job, as the launcher does."""
    monkeypatch.setattr(stream_reader, "open_source", lambda *_: log)
    options = StreamOptions(every_seconds=0.01, until_idle_seconds=None)
    model = ModelOptions(model=str(tiny_elmo_dir))
    job = StreamJob(source="kafka:here/log", corpus=str(tmp_path), model=model, running=options)

    def begin(job_id: str) -> UnboundedPlan:
        corpus = CorpusView.open_or_create(tmp_path / "corpus")
        tokenizer = job.embedding.make_tokenizer()
        owner = {"job": job_id, "counts": {}, "reasons": {}}
        entry, corpus = claim_stream(corpus, log, owner)
        return UnboundedPlan(
            job=job,
            store=corpus.store,
            job_id=job_id,
            epoch=entry.epoch,
            recipe=make_recipe(describe_model(model), model, job.embedding, tokenizer),
            tokenizer=tokenizer,
        )

    monkeypatch.setattr(unbounded, "READERS", Readers())
    return begin


def read(plan: UnboundedPlan) -> tuple[list[Any], int]:
    """Give the reader one turn; returns its batches, and how often it asked for another."""
    turn = Turn()
    return list(ReadStreamFn(plan).process(0, turn)), turn.deferred


def embed(plan: UnboundedPlan) -> Any:
    [batch], _ = read(plan)
    [summary] = EmbedBatchFn(plan).process(batch)
    return summary


def commit(plan: UnboundedPlan, *summaries: Any) -> Bag:
    bag, committer = Bag(), CommitBatchesFn(plan)
    for summary in summaries:
        committer.process(("stream", summary), bag)
    return bag


def age(corpus: CorpusView, seconds: float) -> None:
    """Make all files of segments look as old as that."""
    for path in (Path(corpus.root) / "segments").rglob("*"):
        os.utime(path, (time.time() - seconds,) * 2)


def test_a_vacuum_leaves_a_segment_that_waits_for_its_commit(
    log: Log, begin: Callable, view: Callable, texts: Callable
) -> None:
    """No writer's id is in it: its worker may be gone when another one commits it."""
    log.put("0", version("a", 1))
    plan = begin("job")
    summary = embed(plan)
    age(view(), QUIET_SECONDS / 2)
    vacuum(view(), older_than_seconds=0)
    assert commit(plan, summary) == []
    assert texts() == [("a", "Version 1 of a.")]


def test_a_segment_that_a_vacuum_took_is_not_committed_and_its_records_are_read_again(
    log: Log, begin: Callable, view: Callable, texts: Callable
) -> None:
    log.put("0", version("a", 1))
    plan = begin("slow")
    summary = embed(plan)
    age(view(), QUIET_SECONDS + 60)
    assert vacuum(view(), older_than_seconds=0).files
    with pytest.raises(CommitRefusedError, match="a vacuum removed the files of this stream"):
        commit(plan, summary)
    assert view().snapshot.stream.positions == {"0": 0}
    plan = begin("again")  # as the launcher does when a job failed
    assert commit(plan, embed(plan)) == []
    assert texts() == [("a", "Version 1 of a.")]
    assert view().snapshot.stream.positions == {"0": 1}


def test_a_job_that_a_later_stream_replaced_ends_and_commits_nothing(
    log: Log, begin: Callable, view: Callable, texts: Callable
) -> None:
    """An engine that tries for ever what fails would never be done with it."""
    log.put("0", version("a", 1))
    old = begin("old")
    summary = embed(old)
    new = begin("new")
    log.put("0", version("b", 1))
    assert read(old) == ([], 0)
    assert commit(old, summary) == []
    assert view().snapshot.stream.positions == {"0": 0}
    assert commit(new, embed(new)) == []
    assert [name for name, _ in texts()] == ["a", "b"]


def test_a_worker_that_sees_another_corpus_fails(log: Log, begin: Callable) -> None:
    log.put("0", version("a", 1))
    begin("there")
    elsewhere = begin("here")
    begin("there")  # of a lower epoch, as another corpus may have it
    with pytest.raises(CorpusError, match="or this worker sees another corpus"):
        read(UnboundedPlan(**{**vars(elsewhere), "epoch": 100}))


def test_readers_that_fail_again_and_again_wait_longer_and_longer(
    log: Log, begin: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    slept: list[float] = []
    monkeypatch.setattr(unbounded.time, "sleep", slept.append)
    log.put("0", version("a", 1))
    plan = begin("job")
    log.faults = [OSError("the network is away")] * 8
    for _ in range(8):
        with pytest.raises(OSError, match="the network is away"):
            read(plan)
    assert [s for s in slept if s >= 1] == [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0]
    slept.clear()
    assert len(read(plan)[0]) == 1
    assert slept[0] == 60.0
    log.faults = [OSError("once more")]
    with pytest.raises(OSError, match="once more"):
        read(plan)
    slept.clear()
    read(plan)
    assert slept[0] == 1.0
