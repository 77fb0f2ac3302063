"""The table of topic filters: what matches a topic, and what overlaps a filter."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiomqtt import Topic, Wildcard
from aiomqtt.streams.filter_table import FilterTable
from tests.examples import examples

LEVELS = ["a", "b", "$c", ""]


def is_valid(kind):
    def check(name):
        try:
            kind(name)
        except ValueError:
            return False
        return True

    return check


def joined(*levels):
    return st.lists(st.sampled_from(levels), min_size=1, max_size=4).map("/".join)


TOPICS = joined(*LEVELS).filter(is_valid(Topic))
FILTERS = (
    st.tuples(
        st.sampled_from(["", "$share/g/", "$share/h/"]),
        joined(*LEVELS, "+"),
        st.sampled_from(["", "", "/#"]),
    )
    .map("".join)
    .filter(is_valid(Wildcard))
)


@examples(50)
@given(
    st.lists(FILTERS, max_size=12),
    st.lists(st.booleans(), min_size=12, max_size=12),
    TOPICS,
)
def test_it_finds_the_filters_that_are_in_it_and_match(names, are_removed, topic):
    table = FilterTable()
    for name in names:
        assert table.add(name) is table.add(name)
    for name, is_removed in zip(names, are_removed, strict=False):
        if is_removed and name in table.by_name:
            table.remove(table.by_name[name])
    gone = {name for name, removed in zip(names, are_removed, strict=False) if removed}
    assert {*table.by_name} == {*names} - gone
    expected = [name for name in table.by_name if Topic(topic).matches(Wildcard(name))]
    assert sorted(each.name for each in table.find(topic)) == sorted(expected)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a/b", {"a/b", "a/+", "#", "$share/g/a/b"}),
        ("a/+", {"a/b", "a/+", "#", "$share/g/a/b"}),
        ("c/+", {"c/+", "#"}),
        ("#", {"a/b", "a/+", "c/+", "#", "$share/g/a/b"}),
    ],
)
def test_filters_overlap_if_a_topic_matches_both(name, expected):
    table = FilterTable()
    for each in ("a/b", "a/+", "c/+", "#", "$share/g/a/b", "$SYS/+"):
        table.add(each)
    assert {each.name for each in table.overlapping(table.by_name[name])} == expected


def test_without_wildcards_there_is_no_tree():
    table = FilterTable()
    for name in ("a/b", "$share/g/a/b", "c"):
        table.add(name)
    assert table._tree is None
    assert [each.name for each in table.find("a/b")] == ["a/b", "$share/g/a/b"]
    assert table.find("d") == []


def test_nothing_remains_of_filters_that_were_removed():
    table = FilterTable()
    filters = [table.add(name) for name in ("a", "a/+", "$share/g/a/+", "#")]
    for routed in filters:
        table.remove(routed)
    assert not table.by_name
    assert not table._exact
    assert table._tree is not None
    assert table._tree.levels == 0
    table.add("a/+")
    table.clear()
    assert table.find("a/b") == []
