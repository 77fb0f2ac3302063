"""Consecutive numbers as ranges: one statement for each of them, instead of each row.

The interpreter's lock is released for every execution of a statement, and getting it
back from a busy event loop takes far longer than a row.
"""

from collections.abc import Iterable, Iterator


def runs(numbers: Iterable[int]) -> Iterator[tuple[int, int]]:
    """Yield the first and the last of each run of consecutive numbers, sorted.

    Args:
        numbers: The numbers, in any order, each of them once.
    """
    ordered = sorted(numbers)
    if not ordered:
        return
    first = last = ordered[0]
    for number in ordered[1:]:
        if number != last + 1:
            yield first, last
            first = number
        last = number
    yield first, last


def paired_runs(pairs: Iterable[tuple[int, int]]) -> Iterator[tuple[int, int, int]]:
    """Yield the runs in which both numbers of a pair count up.

    Args:
        pairs: The pairs, no first number twice.

    Yields:
        The first and the last of the first numbers, and what to add to each for the
        second one.
    """
    ordered = sorted(pairs)
    if not ordered:
        return
    first = last = ordered[0][0]
    offset = ordered[0][1] - first
    for number, other in ordered[1:]:
        if number != last + 1 or other - number != offset:
            yield first, last, offset
            first, offset = number, other - number
        last = number
    yield first, last, offset
