"""The tree of filters and of topics, held against matching one by one."""

import itertools
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import aiomqtt
from aiomqtt.routing.trie import Trie
from aiomqtt.topic import Topic
from tests.examples import examples

LEVELS = st.sampled_from(["a", "b", "", "$SYS", "c"])
TOPICS = st.lists(LEVELS, min_size=1, max_size=4).map("/".join).filter(bool)
FILTERS = (
    st.tuples(
        st.lists(st.sampled_from(["a", "b", "", "+", "$SYS"]), min_size=1, max_size=4),
        st.booleans(),
    )
    .map(lambda parts: "/".join([*parts[0], "#"] if parts[1] else parts[0]))
    .filter(bool)
)


def trie_of(names) -> Trie[str]:
    trie: Trie[str] = Trie()
    for name in names:
        trie.set(name, name)
    return trie


@examples(50)
@given(st.sets(FILTERS), TOPICS)
def test_it_finds_the_filters_that_match_a_topic(filters, topic):
    expected = {name for name in filters if Topic(topic).matches(name)}
    found = trie_of(filters).matching(topic)
    assert len(found) == len(set(found))
    assert set(found) == expected


@examples(50)
@given(st.sets(TOPICS), FILTERS)
def test_it_finds_the_topics_that_a_filter_matches(topics, topic_filter):
    expected = {name for name in topics if Topic(name).matches(topic_filter)}
    found = trie_of(topics).matched_by(topic_filter)
    assert len(found) == len(set(found))
    assert set(found) == expected


@examples(50)
@given(st.sets(FILTERS), st.sets(TOPICS), TOPICS, FILTERS, st.integers(1, 3))
def test_it_finds_the_same_a_portion_at_a_time(filters, topics, topic, wanted, most):
    for search, expected in (
        (trie_of(filters).search(topic), trie_of(filters).matching(topic)),
        (trie_of(topics).search_topics(wanted), trie_of(topics).matched_by(wanted)),
    ):
        while not search.is_done:
            assert 0 <= search.go_on(most) <= most
        assert search.found == expected
        assert search.go_on(most) == 0


@examples(50)
@given(st.sets(FILTERS), st.sets(FILTERS), TOPICS)
def test_what_is_removed_is_found_no_more(filters, removed, topic):
    trie = trie_of(filters)
    for name in removed:
        trie.remove(name)
    left = filters - removed
    assert {name for name in filters if trie.get(name) is not None} == left
    assert set(trie.matching(topic)) == {n for n in left if Topic(topic).matches(n)}


@examples(50)
@given(st.sets(FILTERS))
def test_nothing_is_left_of_what_was_removed(filters):
    trie = trie_of(filters)
    for name in filters:
        trie.remove(name)
    assert not trie._root.children
    assert trie._root.value is None


def test_a_value_is_replaced():
    trie: Trie[int] = Trie()
    trie.set("a/b", 1)
    trie.set("a/b", 2)
    assert trie.get("a/b") == 2
    assert trie.matching("a/b") == [2]
    assert trie.get("a") is None
    trie.remove("a")  # nothing there
    assert trie.get("a/b") == 2


@pytest.mark.parametrize("topic", ["$SYS/a", "$x"])
def test_wildcards_at_the_first_level_do_not_match_a_dollar(topic):
    trie = trie_of(["#", "+/a", "+", "+/#", "$SYS/#", "$SYS/+", "$x"])
    assert set(trie.matching(topic)) == (
        {"$SYS/#", "$SYS/+"} if topic == "$SYS/a" else {"$x"}
    )


def test_very_deep_topics_need_no_stack():
    deep = "/".join(["a"] * 30_000)
    trie = trie_of([deep])
    assert trie.matching(deep) == [deep]
    assert trie.matched_by("#") == [deep]
    trie.remove(deep)
    assert trie.matching(deep) == []


class Counted(dict[str, Any]):
    """Counts how often something is looked up."""

    looked_up = 0

    def get(self, *arguments):
        Counted.looked_up += 1
        return super().get(*arguments)


def test_the_cost_is_the_number_of_levels():
    trie = trie_of(f"house/{number}/temperature" for number in range(100_000))
    pending = [trie._root]
    while pending:
        node = pending.pop()
        if node.children is not None:
            pending += node.children.values()
            node.children = Counted(node.children)
    Counted.looked_up = 0
    assert trie.matching("house/77777/temperature") == ["house/77777/temperature"]
    # At each of three levels: the name, + and #; and # below the last one. Compiled, it
    # looks up in C, and nothing is counted.
    assert Counted.looked_up <= 10
    assert Counted.looked_up or aiomqtt.__build__ == "compiled"


FEW = ["a", "b", "+", "#", "$x"]


def made_filters():
    """All filters of up to three of a few levels."""
    return [
        "/".join(levels)
        for count in (1, 2, 3)
        for levels in itertools.product(FEW, repeat=count)
        if "#" not in levels[:-1]
    ]


def test_overlapping_filters():
    """Two filters overlap if there is a topic that both match: tried with topics."""
    filters = made_filters()
    names = ["a", "b", "c", "$x", "$y"]
    topics = [
        Topic("/".join(levels))
        for count in (1, 2, 3, 4)
        for levels in itertools.product(names, repeat=count)
    ]
    matched = {
        name: {topic.value for topic in topics if topic.matches(name)}
        for name in filters
    }
    trie: Trie[str] = Trie()
    for name in filters:
        trie.set(name, name)
    for name in filters:
        expected = [other for other in filters if matched[name] & matched[other]]
        assert sorted(trie.overlapping(name)) == sorted(expected), name
