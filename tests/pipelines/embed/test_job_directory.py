"""Where workers of one job meet: whatever runs twice finds what the first attempt settled."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from pipelines.corpus.store import Store
from pipelines.embed import job_directory
from pipelines.embed.job_directory import JobDirectory
from pipelines.errors import CorpusError
from schemas import Part, PartSummary


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(str(tmp_path / "corpus"))


def attempt(store: Store, name: str, part: int = 0, parts: int = 2) -> PartSummary:
    """Write the file of an attempt at a part under a temporary name; returns its summary."""
    temporary = f"segments/00000001/documents/{name}"
    with store.open(temporary, "wb") as file:
        file.write(name.encode())
    written = Part(path=f"documents/part-{part:05d}.parquet", rows=1, bytes=1, sha256=name)
    return PartSummary(
        part=part,
        files={"documents": (temporary, written)},
        counts={"documents": 1},
        segment_id="00000001",
        segment_parts=parts,
        supersede={"00000009": ("a", "é")},
    )


def test_group_of_parts_keeps_its_segment_number_at_every_attempt(store: Store) -> None:
    first = JobDirectory(store, "job").reserve("0-0")
    assert JobDirectory(store, "job").reserve("0-0") == first
    other = JobDirectory(store, "job").reserve("0-1")
    assert other != first
    assert JobDirectory(store, "job").segment_ids() == {first[0], other[0]}
    assert JobDirectory(store, "another").reserve("0-0") not in (first, other)


def test_workers_that_reserve_at_once_agree(store: Store) -> None:
    def reserve(_: int) -> tuple[str, int]:
        return JobDirectory(store, "job").reserve("0-0")

    with ThreadPoolExecutor(8) as threads:
        found = set(threads.map(reserve, range(8)))
    assert len(found) == 1
    assert JobDirectory(store, "job").segment_ids() == {segment_id for segment_id, _ in found}


def test_of_two_attempts_at_a_part_the_first_counts_and_the_other_leaves_nothing(
    store: Store,
) -> None:
    directory = JobDirectory(store, "job")
    assert directory.settled("00000001", 0) is None
    assert directory.settled_parts("00000001") == 0
    first, second = attempt(store, "one"), attempt(store, "two")
    assert directory.settle(first) == first
    assert directory.settle(second) == first
    assert directory.settled("00000001", 0) == first
    assert store.names("segments/00000001/documents") == ["one"]
    assert directory.settled_parts("00000001") == 1
    directory.settle(attempt(store, "three", part=1))
    assert directory.settled_parts("00000001") == 2


def test_same_summary_settled_again_keeps_its_files(store: Store) -> None:
    """An engine may hand on the summary of an attempt twice."""
    directory, summary = JobDirectory(store, "job"), attempt(store, "one")
    for _ in range(3):
        assert directory.settle(summary) == summary
    assert store.names("segments/00000001/documents") == ["one"]


def test_creation_whose_answer_was_lost_is_the_attempt_s_own(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An object store's client sends a put again, and is told that the object is there."""
    create = Store.create_exclusive

    def twice(self: Store, path: str, data: bytes) -> None:
        create(self, path, data)
        if path.startswith("jobs/"):
            create(self, path, data)

    monkeypatch.setattr(Store, "create_exclusive", twice)
    directory, summary = JobDirectory(store, "job"), attempt(store, "one")
    assert directory.settle(summary) == summary
    assert store.names("segments/00000001/documents") == ["one"]
    assert directory.reserve("0-0") == directory.reserve("0-0")


def test_report_is_written_once_and_what_workers_needed_goes(store: Store, tmp_path: Path) -> None:
    directory = JobDirectory(store, "job")
    directory.reserve("0-0")
    directory.settle(attempt(store, "one"))
    assert directory.report() is None
    directory.write_report({"written": 1})
    directory.write_report({"written": 0})
    assert directory.report() == {"written": 1}
    assert store.names(directory.path) == ["report.json"]
    directory.remove()
    assert not (tmp_path / "corpus" / "jobs").exists()


def test_directory_of_another_job_stays(store: Store) -> None:
    mine, other = JobDirectory(store, "mine"), JobDirectory(store, "other")
    for directory in (mine, other):
        directory.reserve("0-0")
    mine.remove()
    assert store.names("jobs") == ["other"]
    assert len(other.segment_ids()) == 1


def test_worker_joins_the_job_that_was_announced(store: Store) -> None:
    directory = JobDirectory(store, "joined")
    directory.announce()
    for _ in range(3):  # each step of the job does
        directory.join()
    assert len(store.names(f"{directory.path}/workers")) == 1


def test_worker_that_sees_another_corpus_says_so(store: Store) -> None:
    with pytest.raises(CorpusError, match=r"does not see .*/jobs/none/job\.json, which the com"):
        JobDirectory(store, "none").join()


def test_worker_with_another_version_says_both(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = JobDirectory(store, "older")
    directory.announce()
    monkeypatch.setattr(job_directory, "written_by", lambda: "sensegrep 9.9")
    with pytest.raises(CorpusError, match=r"has sensegrep 9\.9, but .* planned with sensegrep 0"):
        directory.join()


def test_worker_that_cannot_write_says_what_to_do(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = JobDirectory(store, "read-only")
    directory.announce()

    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Store, "create_exclusive", refuse)
    for _ in range(2):  # it is not remembered as one that joined
        with pytest.raises(CorpusError, match=r"cannot write to the corpus at .*give workers the"):
            directory.join()
