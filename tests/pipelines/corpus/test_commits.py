"""Commits: which snapshot comes next, who gives way, numbers that are given once."""

import shutil
import tempfile
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipelines.api import Corpus
from pipelines.corpus.commits import Change, commit, commit_index, next_snapshot, reserve_segment
from pipelines.corpus.manifests import snapshot_numbers
from pipelines.corpus.segment_files import write_manifest
from pipelines.corpus.store import Store
from pipelines.errors import CorpusError
from pipelines.maintenance.compact import compact
from schemas import Segment


def ids(corpus: Corpus, table: str = "sentences", **settings: Any) -> list[str]:
    batches = corpus.read(table, **settings)
    return [doc_id for batch in batches for doc_id in batch.column("doc_id").to_pylist()]


def test_commits_at_once_are_all_kept(corpus: Corpus) -> None:
    barrier = threading.Barrier(4)
    errors: list[Exception] = []

    def delete(segment_id: str, doc_id: str) -> None:
        barrier.wait()
        try:
            commit(corpus, Change(operation="delete", supersede={segment_id: [doc_id]}))
        except Exception as error:
            errors.append(error)

    places = [("00000001", "d0"), ("00000002", "d2"), ("00000002", "d3"), ("00000003", "d4")]
    threads = [threading.Thread(target=delete, args=place) for place in places]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    after = corpus.refresh()
    assert ids(after, "documents") == ["d5"]
    assert after.snapshot.number == corpus.snapshot.number + 4


def test_reserved_numbers_are_never_given_twice(corpus: Corpus) -> None:
    found: list[int] = []
    threads = [
        threading.Thread(target=lambda: found.append(reserve_segment(corpus.store)[1]))
        for _ in range(6)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found) == [4, 5, 6, 7, 8, 9]


def test_index_is_committed_only_once_it_is_there(corpus: Corpus) -> None:
    with pytest.raises(CorpusError, match=r"indexes/i/index.json is missing; write it before"):
        commit_index(corpus, "i")
    with corpus.store.open("indexes/i/index.json", "wb") as file:
        file.write(b"{}")
    assert commit_index(corpus, "i").snapshot.index == "i"


def test_commit_whose_answer_was_lost_is_made_once(
    corpus: Corpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    create = Store.create_exclusive

    def sent_again(self: Store, path: str, data: bytes) -> None:
        create(self, path, data)
        create(self, path, data)

    monkeypatch.setattr(Store, "create_exclusive", sent_again)
    after = commit(corpus, Change(operation="delete", supersede={"00000002": ["d2"]}))
    assert after.snapshot.number == corpus.snapshot.number + 1
    assert ids(after, "documents") == ["d0", "d3", "d4", "d5"]


def test_commit_reads_no_manifest_twice(corpus: Corpus, monkeypatch: pytest.MonkeyPatch) -> None:
    read, paths = Store.read, []

    def noted(self: Store, path: str) -> bytes:
        paths.append(path)
        return read(self, path)

    monkeypatch.setattr(Store, "read", noted)
    after = commit(corpus, Change(operation="delete", supersede={"00000002": ["d2"]}))
    assert len(after.segments) == 3
    assert not [path for path in paths if path.endswith("segment.json")]


@pytest.fixture
def hand_corpus(make_corpus: Any, hand_document: Any) -> Corpus:
    """Three segments of two documents each: a0 a1, b0 b1, c0 c1."""
    return make_corpus(
        *(
            [hand_document(doc_id=f"{letter}{n}", sentences=[["A", "word"]]) for n in range(2)]
            for letter in "abc"
        )
    )


def another(corpus: Corpus, segment_id: str, documents: int = 2, **fields: Any) -> Segment:
    """A segment of so many documents and no files but its manifest."""
    known = corpus.segments[0]
    counts = {**known.counts, "documents": documents}
    named = {"segment_id": segment_id, "number": int(segment_id), "counts": counts, "parts": {}}
    segment = replace(known, **named, **fields)
    write_manifest(corpus.store, segment)
    return segment


def test_next_snapshot_adds_at_the_end_and_keeps_the_rest(hand_corpus: Corpus) -> None:
    added = another(hand_corpus, "00000004")
    found = next_snapshot(hand_corpus, hand_corpus, Change(operation="embed", add=(added,)))
    assert found.number == hand_corpus.snapshot.number + 1
    assert found.segments == ("00000001", "00000002", "00000003", "00000004")
    assert (found.operation, found.index, found.tombstones) == ("embed", None, ())


def test_what_replaces_segments_takes_the_place_of_the_first(hand_corpus: Corpus) -> None:
    merged = another(hand_corpus, "00000004", 4, compacted_from=("00000002", "00000003"))
    change = Change(operation="compact", add=(merged,), remove=("00000002", "00000003"))
    assert next_snapshot(hand_corpus, hand_corpus, change).segments == ("00000001", "00000004")


def test_index_is_kept_changed_or_dropped_as_asked(hand_corpus: Corpus) -> None:
    for name in ("old", "new"):
        hand_corpus.store.create_exclusive(f"indexes/{name}/index.json", b"{}")
    indexed = Corpus(
        hand_corpus.store, replace(hand_corpus.snapshot, index="old"), hand_corpus.segments
    )
    changes = {
        "old": Change(operation="embed"),
        "new": Change(operation="index", index="new"),
        None: Change(operation="delete", drop_index=True),
    }
    for expected, change in changes.items():
        assert next_snapshot(indexed, indexed, change).index == expected


def test_emptied_segment_and_tombstones_that_nothing_needs_are_dropped(hand_corpus: Corpus) -> None:
    one = commit(hand_corpus, Change(operation="delete", supersede={"00000002": ["b0"]}))
    assert len(one.snapshot.segments) == 3
    assert len(one.snapshot.tombstones) == 1
    both = commit(one, Change(operation="delete", supersede={"00000002": ["b1"]}))
    assert both.snapshot.segments == ("00000001", "00000003")
    assert both.snapshot.tombstones == ()
    assert ids(both, "documents") == ["a0", "a1", "c0", "c1"]


def test_deletion_follows_its_documents_into_what_replaced_their_segment(
    hand_corpus: Corpus,
) -> None:
    compact(hand_corpus, ["00000001", "00000002"])
    after = commit(hand_corpus, Change(operation="delete", supersede={"00000002": ["b0"]}))
    assert after.snapshot.segments == ("00000004", "00000003")
    assert ids(after, "documents") == ["a0", "a1", "b1", "c0", "c1"]


@pytest.mark.parametrize(
    ("meanwhile", "change", "words"),
    [
        (
            ["d0"],
            Change(operation="embed", claims=frozenset({"d0", "d1"})),
            "committed 1 of the same documents, such as 'd0'",
        ),
        (
            {"00000001": ["a0", "a1"]},
            Change(operation="compact", remove=("00000001",)),
            "run the command again",
        ),
    ],
    ids=["the same documents", "a merged segment"],
)
def test_change_gives_way_to_what_it_cannot_stand_on(
    hand_corpus: Corpus,
    add_segment: Any,
    hand_document: Any,
    meanwhile: Any,
    change: Change,
    words: str,
) -> None:
    if isinstance(meanwhile, dict):
        current = commit(hand_corpus, Change(operation="delete", supersede=meanwhile))
    else:
        documents = [hand_document(doc_id=name, sentences=[["x"]]) for name in meanwhile]
        current = add_segment(hand_corpus, documents)
    with pytest.raises(CorpusError, match=words):
        commit(hand_corpus, change)
    assert snapshot_numbers(hand_corpus.store)[-1] == current.snapshot.number


def test_other_documents_of_another_writer_are_no_conflict(
    hand_corpus: Corpus, add_segment: Any, hand_document: Any
) -> None:
    add_segment(hand_corpus, [hand_document(doc_id="d0", sentences=[["x"]])])
    after = commit(hand_corpus, Change(operation="embed", claims=frozenset({"d1"})))
    assert after.snapshot.segments[-1] == "00000004"


places = st.tuples(st.sampled_from("abc"), st.integers(0, 1))


@settings(
    max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(writers=st.lists(st.tuples(st.integers(0, 3), st.sets(places, max_size=3)), max_size=6))
def test_deletions_from_any_state_take_exactly_what_each_named(
    hand_corpus: Corpus, tmp_path: Path, writers: list[tuple[int, set[tuple[str, int]]]]
) -> None:
    root = Path(tempfile.mkdtemp(dir=tmp_path)) / "corpus"
    shutil.copytree(hand_corpus.root, root)
    states = [Corpus.open(root)]
    left = {f"{letter}{n}" for letter in "abc" for n in range(2)}
    for age, named in writers:
        base = states[max(0, len(states) - 1 - age)]  # a writer that began so many commits ago
        supersede: dict[str, list[str]] = {}
        for letter, n in sorted(named):
            supersede.setdefault(f"{'abc'.index(letter) + 1:08d}", []).append(f"{letter}{n}")
        states.append(commit(base, Change(operation="delete", supersede=supersede)))
        left -= {f"{letter}{n}" for letter, n in named}
    assert set(ids(Corpus.open(root), "documents")) == left
    assert [state.snapshot.number for state in states] == list(range(3, 4 + len(writers)))


def test_numbers_go_on_after_the_highest_and_over_what_is_taken(store: Store) -> None:
    assert reserve_segment(store) == ("00000001", 1)
    store.create_exclusive("segments/00000007/reserved", b"")
    store.create_exclusive("segments/notes/reserved", b"")  # no number: not a segment of ours
    assert reserve_segment(store) == ("00000008", 8)
    assert reserve_segment(store) == ("00000009", 9)
