"""Upkeep beside a writer: which segments are merged, and that they are, while commits go on."""

import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.corpus.view import CorpusView
from pipelines.errors import UsageError
from pipelines.maintenance.background_upkeep import (
    MAX_DOCUMENTS,
    BackgroundUpkeep,
    UpkeepOptions,
    next_merge,
)
from schemas import Segment


def segment(name: int, documents: int, recipe: str = "r") -> Segment:
    return Segment(
        segment_id=str(name),
        number=name,
        fingerprint="f",
        recipe=recipe,
        model={},
        options={},
        dim=8,
        counts={"documents": documents},
        parts={},
    )


def segments(*documents: int) -> list[Segment]:
    return [segment(name, count) for name, count in enumerate(documents)]


@pytest.mark.parametrize(
    ("documents", "expected"),
    [
        ((), []),
        ((1, 1), []),
        ((1, 1, 1), ["0", "1", "2"]),
        ((9, 1, 1, 2), ["1", "2", "3"]),  # tiers 2, 0, 0, 0
        ((9, 1, 1), []),
        ((100, 2, 2, 2), ["1", "2", "3"]),
        ((9, 1, 1, 9, 1), ["0", "1", "2", "3", "4"]),
        ((9, 1, 9, 1, 9), ["0", "1", "2", "3", "4"]),
        ((3, 4, 5, 1), ["0", "1", "2", "3"]),  # what lies beside is taken with them
        ((MAX_DOCUMENTS, 1, 1, MAX_DOCUMENTS, 1), []),
        ((0, 0, 0), ["0", "1", "2"]),  # rejects alone
    ],
)
def test_neighbours_of_like_size_are_merged(
    documents: tuple[int, ...], expected: list[str]
) -> None:
    assert next_merge(segments(*documents), {}, 3) == expected


def test_segments_of_another_recipe_are_not_merged() -> None:
    mixed = [segment(0, 1), segment(1, 1, "other"), segment(2, 1), segment(3, 1)]
    assert next_merge(mixed, {}, 3) == []


def test_a_segment_of_mostly_deleted_documents_is_rewritten() -> None:
    assert next_merge(segments(100, 10), {"0": 51}, 3) == ["0"]
    assert next_merge(segments(100, 10), {"0": 50}, 3) == []


@settings(deadline=None)
@given(
    st.lists(st.sampled_from([0, 1, 1, 1, 2, 5, 40, 900]), min_size=50, max_size=300),
    st.integers(2, 10),
)
def test_many_commits_leave_few_segments_and_rewrite_each_document_seldom(
    commits: list[int], fan_in: int
) -> None:
    live: list[Segment] = []
    rewritten, number = 0, 0
    for documents in commits:
        live.append(segment(number, documents))
        number += 1
        while chosen := next_merge(live, {}, fan_in):
            first = next(i for i, s in enumerate(live) if s.segment_id == chosen[0])
            assert [s.segment_id for s in live[first : first + len(chosen)]] == chosen
            size = sum(s.counts["documents"] for s in live[first : first + len(chosen)])
            live[first : first + len(chosen)] = [segment(number, size)]
            number += 1
            rewritten += size
    total = sum(commits)
    assert sum(s.counts["documents"] for s in live) == total
    doublings = math.log2(total + len(commits))
    assert len(live) <= fan_in * (doublings + 3)
    assert rewritten <= (doublings + 1) * (total + len(commits))


def test_upkeep_merges_what_is_there_and_a_corpus_may_be_missing(
    run_embed: Callable, write_jsonl: Callable, tmp_path: Path
) -> None:
    upkeep = BackgroundUpkeep(
        str(tmp_path / "corpus"), UpkeepOptions(compact_every=3, vacuum_older_than_seconds=0.0)
    )
    upkeep.tend()
    run_embed(
        write_jsonl([{"id": f"d{n}", "text": f"Bank {n}."} for n in range(7)]), commit_every=1
    )
    upkeep.tend()
    corpus = CorpusView.open(tmp_path / "corpus")
    assert len(corpus.segments) <= 3
    assert corpus.live_counts()["documents"] == 7


def test_what_fails_is_logged_and_does_not_end_the_writer(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "corpus").mkdir()
    (tmp_path / "corpus" / "snapshots").mkdir()
    (tmp_path / "corpus" / "snapshots" / "00000001.json").write_text("damaged")
    deadline = time.monotonic() + 20
    with BackgroundUpkeep(str(tmp_path / "corpus"), UpkeepOptions()):
        while not caplog.records and time.monotonic() < deadline:
            time.sleep(0.05)
    assert "failed and is tried again" in caplog.records[0].getMessage()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"compact_every": 1}, "--compact-every is 1, expected 2 or more"),
        ({"compact_every": -3}, "--compact-every is -3"),
        ({"index_every_seconds": 0.0}, "--index-every is 0.0s"),
    ],
)
def test_options_that_cannot_be_are_refused(options: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        UpkeepOptions(**options)
