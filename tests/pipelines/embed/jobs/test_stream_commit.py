"""Commits of a stream beside other streams and other writers."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from pipelines.corpus import stream_owner
from pipelines.corpus.commits import Change, commit
from pipelines.corpus.view import CorpusView
from pipelines.embed.jobs import stream_commit
from pipelines.embed.jobs.stream_commit import StreamFenced
from pipelines.errors import UsageError
from pipelines.maintenance.compact import compact
from pipelines.maintenance.delete import delete, find_documents
from tests.message_log import Log, few, version


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
