"""Ranges of numbers against sets of numbers."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from pipelines.corpus.number_ranges import Ranges, add_numbers, contains, union

NUMBERS = st.sets(st.integers(1, 40))


def members(ranges: Ranges) -> set[int]:
    return {number for first, last in ranges for number in range(first, last + 1)}


@given(NUMBERS, NUMBERS)
def test_ranges_hold_the_numbers_put_into_them(one: set[int], other: set[int]) -> None:
    ranges = add_numbers(add_numbers((), one), other)
    assert members(ranges) == one | other
    assert ranges == union(add_numbers((), one), add_numbers((), other))
    assert {n for n in range(50) if contains(ranges, n)} == one | other


@given(NUMBERS)
def test_ranges_never_touch(numbers: set[int]) -> None:
    ranges = add_numbers((), numbers)
    gaps = [following[0] - before[1] for before, following in pairwise(ranges)]
    assert all(gap > 1 for gap in gaps)
