"""The shortest orders of two writers' steps that once lost or doubled data.

The state machine of test_interleaving found them in the code of version 0.1.0; each is kept.
"""

from collections.abc import Iterator

import pytest

from tests.pipelines.corpus.interleaving import Turns
from tests.pipelines.corpus.stepped_commands import clean, embed, index, merge, remove

AB = {"a": "a1", "b": "b1"}


@pytest.fixture
def turns() -> Iterator[Turns]:
    """An empty corpus in memory."""
    turns = Turns()
    yield turns
    turns.close()


def test_second_slice_sees_what_came_after_the_first_was_planned(turns: Turns) -> None:
    first = turns.begin("embed", embed(AB, slice_documents=1))
    turns.go_to(first, "create", "segments")
    turns.run("embed", embed({"b": "b2"}))
    turns.finish(first)
    assert "another writer has committed 1 of the same documents" in str(first.error)
    assert turns.live == {"a": "a1", "b": "b2"}


def test_documents_of_another_writer_are_seen_in_what_it_compacted(turns: Turns) -> None:
    first = turns.begin("embed", embed({"a": "a1"}))
    turns.go_to(first, "create", "segments")
    turns.run("embed", embed({"a": "a2"}))
    turns.run("embed", embed({"b": "b1"}))
    turns.run("compact", merge)
    turns.finish(first)
    assert "another writer has committed 1 of the same documents" in str(first.error)
    assert turns.live == {"a": "a2", "b": "b1"}


@pytest.mark.parametrize("times", [1, 2, 3])
def test_deletion_follows_a_document_through_any_number_of_compactions(
    turns: Turns, times: int
) -> None:
    turns.run("embed", embed(AB))
    deletion = turns.begin("delete", remove(["a"]))
    turns.go_to(deletion, "open", "segments")
    for number in range(times):
        turns.run("embed", embed({f"c{number}": "c"}))
        turns.run("compact", merge)
    turns.finish(deletion)
    assert deletion.error is None
    assert turns.live.keys() == {"b", *(f"c{number}" for number in range(times))}


@pytest.mark.parametrize("times", [1, 2, 3])
def test_old_version_is_superseded_through_any_number_of_compactions(
    turns: Turns, times: int
) -> None:
    turns.run("embed", embed(AB))
    change = turns.begin("embed", embed({"a": "a2"}))
    turns.go_to(change, "create", "segments")
    for number in range(times):
        turns.run("embed", embed({f"c{number}": "c"}))
        turns.run("compact", merge)
    turns.finish(change)
    assert change.error is None
    assert turns.live["a"] == "a2"


def test_other_writers_version_is_told_from_the_one_that_was_seen(turns: Turns) -> None:
    turns.run("embed", embed(AB))
    change = turns.begin("embed", embed({"a": "a2"}))
    turns.go_to(change, "create", "segments")
    turns.run("embed", embed({"a": "a3"}))
    turns.run("compact", merge)
    turns.finish(change)
    assert "another writer has committed 1 of the same documents" in str(change.error)
    assert turns.live == {"a": "a3", "b": "b1"}


@pytest.mark.parametrize("point", [("names", "segments"), ("files", "")])
@pytest.mark.parametrize("command", [clean, remove([], purged=True)], ids=["vacuum", "purge"])
def test_what_is_committed_after_a_vacuum_listed_stays(
    turns: Turns, command: object, point: tuple[str, str]
) -> None:
    turns.run("embed", embed(AB))
    turns.run("delete", remove(["a"]))
    vacuum = turns.begin("vacuum", command)  # type: ignore[arg-type]
    turns.go_to(vacuum, *point)
    turns.run("embed", embed({"c": "c1"}))
    turns.finish(vacuum)
    assert vacuum.error is None
    assert turns.live == {"b": "b1", "c": "c1"}


@pytest.mark.parametrize("command", [clean, remove([], purged=True)], ids=["vacuum", "purge"])
def test_vacuum_before_a_commit_takes_nothing_that_it_names(turns: Turns, command: object) -> None:
    turns.run("embed", embed(AB))
    job = turns.begin("embed", embed({"a": "a2", "c": "c1"}, slice_documents=2))
    turns.go_to(job, "create", "snapshots")
    turns.run("vacuum", command)  # type: ignore[arg-type]
    turns.finish(job)
    assert job.error is None
    assert turns.live == {"a": "a2", "b": "b1", "c": "c1"}


def test_writer_taken_for_dead_cannot_commit_what_a_vacuum_removed(turns: Turns) -> None:
    turns.run("embed", embed(AB))
    job = turns.begin("embed", embed({"c": "c1"}))
    turns.go_to(job, "create", "snapshots")
    job.given_up = True
    turns.run("vacuum", clean)
    turns.finish(job)
    assert "a vacuum removed the files of this embed" in str(job.error)
    assert turns.live == AB


def test_snapshot_made_in_the_hole_that_a_vacuum_left_is_no_commit(turns: Turns) -> None:
    turns.run("embed", embed(AB))
    deletion = turns.begin("delete", remove(["a"]))
    turns.go_to(deletion, "create", "snapshots")
    for number in range(3):
        turns.run("embed", embed({f"c{number}": "c"}))
    turns.run("vacuum", clean)
    turns.finish(deletion)
    assert deletion.error is None
    assert "a" not in turns.live
    assert turns.live.keys() == {"b", "c0", "c1", "c2"}


def test_index_that_is_being_built_keeps_what_it_reads(turns: Turns) -> None:
    turns.run("embed", embed(AB))
    turns.run("index", index)
    build = turns.begin("index", index)
    turns.go_to(build, "open", "segments")
    turns.run("embed", embed({"c": "c1"}))
    turns.run("compact", merge)
    turns.run("vacuum", clean)
    turns.finish(build)
    assert build.error is None


def test_compaction_goes_on_beside_a_stream_of_deletes(turns: Turns) -> None:
    for number in range(6):
        turns.run("embed", embed({f"d{number}": "v"}))
    compaction = turns.begin("compact", merge)
    for number in range(5):
        turns.go_to(compaction, "create", "")
        turns.run("delete", remove([f"d{number}"]))
    turns.finish(compaction)
    assert compaction.error is None
    assert turns.live == {"d5": "v"}
    assert sum("segment.json" in path for path in turns.paths()) == 7


@pytest.mark.parametrize("operations", [1, 5, 25, 60, 120])
def test_killed_purge_can_be_repeated(turns: Turns, operations: int) -> None:
    turns.run("embed", embed(AB))
    killed = turns.begin("purge", remove(["a"], purged=True))
    turns.step(killed, operations)
    killed.kill()
    turns.run("purge", remove(["a"], purged=True))
    assert turns.live == {"b": "b1"}
    assert turns.on_disk() == {("b", "b1")}
