"""Consecutive numbers as ranges."""

from aiomqtt.stores.sqlite.runs import paired_runs, runs


def test_consecutive_numbers_are_one_run():
    assert [*runs([])] == []
    assert [*runs([7])] == [(7, 7)]
    assert [*runs([3, 1, 2])] == [(1, 3)]
    assert [*runs([9, 1, -1, 0, 4, 5])] == [(-1, 1), (4, 5), (9, 9)]


def test_pairs_are_one_run_while_both_count_up():
    assert [*paired_runs([])] == []
    assert [*paired_runs([(3, 13), (2, 12)])] == [(2, 3, 10)]
    # The packet identifiers begin again at 1.
    assert [*paired_runs([(1, 65_535), (2, 1), (3, 2)])] == [
        (1, 1, 65_534),
        (2, 3, -1),
    ]
    assert [*paired_runs([(1, 1), (3, 3)])] == [(1, 1, 0), (3, 3, 0)]
