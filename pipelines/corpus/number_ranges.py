"""Sets of segment numbers, stored as ranges."""

from collections.abc import Iterable

Ranges = tuple[tuple[int, int], ...]  # (first, last) each, both included, rising, never touching


def add_numbers(ranges: Ranges, numbers: Iterable[int]) -> Ranges:
    """Return the ranges with some more numbers in them.

    >>> add_numbers(((1, 3), (7, 7)), [4, 9])
    ((1, 4), (7, 7), (9, 9))
    """
    return union(ranges, tuple((number, number) for number in numbers))


def union(left: Ranges, right: Ranges) -> Ranges:
    """Return the numbers of either."""
    merged: list[tuple[int, int]] = []
    for first, last in sorted((*left, *right)):
        if merged and first <= merged[-1][1] + 1:
            merged[-1] = (merged[-1][0], max(last, merged[-1][1]))
        else:
            merged.append((first, last))
    return tuple(merged)


def contains(ranges: Ranges, number: int) -> bool:
    """Say whether a number is in one of the ranges."""
    return any(first <= number <= last for first, last in ranges)
