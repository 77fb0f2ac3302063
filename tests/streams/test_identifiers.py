"""Subscription Identifiers: filters that share one have no topic in common."""

import itertools

from aiomqtt import Topic
from aiomqtt.streams.identifiers import FIRST, to_common_identifier, to_identifier

LARGEST = 268_435_455


def test_filters_that_share_an_identifier_do_not_overlap():
    filters = [
        "/".join(levels)
        for count in (1, 2, 3)
        for levels in itertools.product(["a", "b", "+", "#"], repeat=count)
        if "#" not in levels[:-1]
    ]
    topics = [
        Topic("/".join(levels))
        for count in (1, 2, 3, 4)
        for levels in itertools.product("abc", repeat=count)
    ]
    matched = {name: {t for t in topics if t.matches(name)} for name in filters}
    for one, two in itertools.combinations(filters, 2):
        if to_identifier(one) == to_identifier(two):
            assert not matched[one] & matched[two], (one, two)


def test_few_identifiers_are_enough_for_many_filters():
    """They are what a SUBSCRIBE can have one of."""
    filters = [f"device/{n}/state" for n in range(1000)]
    filters += [f"device/{n}/+" for n in range(1000)] + ["#", "device/#"]
    assert len({to_identifier(name) for name in filters}) == 4


def test_they_are_valid_the_same_everywhere_and_not_those_of_a_program():
    names = ["a", "#", "a/+/#", "/".join("+" * 24), "/".join("+" * 25), "x/" * 9000]
    names += ["$share/g/a", "$share/h/a", "$share/g/+"]
    identifiers = [to_identifier(name) for name in names]
    assert len({*identifiers}) == len(names)
    identifiers.append(to_common_identifier(["a", "b"]))
    assert all(FIRST <= each <= LARGEST for each in identifiers)
    assert identifiers[:3] == [0x8000004, 0x8000003, 0x800000B]
    assert to_identifier("$share/g/a") == 0xC85970A
