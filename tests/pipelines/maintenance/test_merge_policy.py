"""Which segments are merged, by a stream and by a run every night."""

import math
from collections.abc import Callable, Sequence
from functools import partial

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.maintenance.merge_policy import (
    LEAST_GROWTH,
    MAX_DOCUMENTS,
    next_merge,
    next_merge_over,
)
from schemas import Segment

Choose = Callable[[Sequence[Segment], dict[str, int]], list[str]]


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
        ((4, 1, 1), ["0", "1", "2"]),  # 5 is not over twice 4, with one more each
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


@pytest.mark.parametrize(
    "choose", [partial(next_merge, fan_in=3), partial(next_merge_over, limit=3)]
)
def test_a_segment_of_many_deleted_documents_is_rewritten(choose: Choose) -> None:
    assert choose(segments(100, 10), {"0": 31}) == ["0"]
    assert choose(segments(100, 10), {"0": 30}) == []


@pytest.mark.parametrize(
    ("documents", "limit", "expected"),
    [
        ((50, 50, 50), 3, []),
        ((50, 50, 50, 50), 3, ["0", "1", "2", "3"]),
        ((9000, 500, 50, 50, 50), 4, ["2", "3", "4"]),  # no four of like size, but three
        ((900, 300, 50, 60), 3, ["2", "3"]),
        ((900, 300, 100, 30, 9), 3, []),  # each larger than all after it: to merge them is no gain
        ((MAX_DOCUMENTS, 1, MAX_DOCUMENTS), 1, []),
        ((5, 5), 1, ["0", "1"]),
    ],
)
def test_a_limit_is_kept_by_the_widest_merge_there_is(
    documents: tuple[int, ...], limit: int, expected: list[str]
) -> None:
    assert next_merge_over(segments(*documents), {}, limit) == expected


def commit_all(commits: Sequence[int], choose: Choose) -> tuple[list[int], int, int]:
    """Commit segments one by one, and merge as told.

    Returns the documents of each segment at the end, how many documents were rewritten, and the
    most segments that stood side by side after a merge.
    """
    live: list[Segment] = []
    rewritten, number, most = 0, 0, 0
    for documents in commits:
        live.append(segment(number, documents))
        number += 1
        while chosen := choose(live, {}):
            first = next(i for i, s in enumerate(live) if s.segment_id == chosen[0])
            assert [s.segment_id for s in live[first : first + len(chosen)]] == chosen
            size = sum(s.counts["documents"] for s in live[first : first + len(chosen)])
            live[first : first + len(chosen)] = [segment(number, size)]
            number += 1
            rewritten += size
        most = max(most, len(live))
    return [s.counts["documents"] for s in live], rewritten, most


COMMITS = st.lists(st.sampled_from([0, 1, 1, 1, 2, 5, 40, 900]), min_size=50, max_size=300)


@settings(deadline=None)
@given(COMMITS, st.integers(2, 10))
def test_many_commits_leave_few_segments_and_rewrite_each_document_seldom(
    commits: list[int], fan_in: int
) -> None:
    left, rewritten, _ = commit_all(commits, partial(next_merge, fan_in=fan_in))
    total = sum(commits)
    assert sum(left) == total
    growths = math.log(total + len(commits), LEAST_GROWTH)
    assert len(left) <= fan_in * (growths + 3)
    assert rewritten <= (growths + 1) * (total + len(commits))


@settings(deadline=None)
@given(COMMITS, st.integers(1, 20))
def test_a_limit_of_segments_holds_up_to_what_differs_in_size(
    commits: list[int], limit: int
) -> None:
    left, rewritten, most = commit_all(commits, partial(next_merge_over, limit=limit))
    total = sum(commits)
    assert sum(left) == total
    growths = math.log(total + len(commits), LEAST_GROWTH)
    # What is left over it are sizes that more than halve from one to the next: there are few.
    assert most <= limit + growths
    assert rewritten <= (growths + 1) * (total + len(commits))


@pytest.mark.parametrize(("limit", "times"), [(5, 5.5), (20, 3)])
def test_a_year_of_nights_keeps_the_limit_and_rewrites_little(limit: int, times: float) -> None:
    left, rewritten, most = commit_all([50] * 365, partial(next_merge_over, limit=limit))
    assert sum(left) == 365 * 50
    assert most <= limit
    assert rewritten <= times * sum(left)
