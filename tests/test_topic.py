"""Topic and Wildcard: validation, and matching as MQTT 5.0 §4.7 says."""

import copy
import dataclasses
import itertools
import pickle

import pytest

from aiomqtt import Topic, Wildcard
from aiomqtt.topic import (
    is_shared,
    split_shared,
    topic_filter_fault,
    topic_name_fault,
)

LONGEST = ["x" * 65_535, "é" * 32_767 + "x", "/" * 65_535]
TOO_LONG = ["x" * 65_536, "é" * 32_768, "\U0001f321" * 16_384]
NAMES = [
    "a",
    "/",
    "//",
    "a/b",
    "/a",
    "a/",
    "a b",
    "$SYS/x",
    "$share/g/a",
    "é",
    "\ufeffa",
]
FILTERS = [
    "#", "+", "+/+", "/+", "+/", "a/+/b", "a/#", "/#", "+/#", "$SYS/#", "$share/g/a/#",
]  # fmt: skip
MISPLACED = ["a#", "#a", "a/#/b", "#/", "##", "a+", "+a", "a/+b/c", "++", "a/b+", "+#"]


def short(value):
    return ascii(value[:12]) if isinstance(value, str) else None


# --- validation ----------------------------------------------------------------


@pytest.mark.conformance("5.0", "MQTT-4.7.3-1", "MQTT-4.7.3-3")
@pytest.mark.conformance("3.1.1", "MQTT-4.7.3-1", "MQTT-4.7.3-3")
@pytest.mark.parametrize("value", NAMES + LONGEST, ids=short)
def test_a_topic_name(value):
    assert str(Topic(value)) == Topic(value).value == value
    # It is a filter too, that matches itself only.
    assert str(Wildcard(value)) == value


@pytest.mark.conformance("5.0", "MQTT-4.7.1-1", "MQTT-4.7.1-2")
@pytest.mark.conformance("3.1.1", "MQTT-4.7.1-1", "MQTT-4.7.1-2", "MQTT-4.7.1-3")
@pytest.mark.parametrize("value", FILTERS, ids=short)
def test_a_filter(value):
    assert str(Wildcard(value)) == Wildcard(value).value == value
    assert topic_filter_fault(value) is None


def test_every_short_filter_by_its_levels():
    """The rules of §4.7.1 in the words of the standard, level by level."""
    for length in range(1, 7):
        for value in map("".join, itertools.product("a/+#", repeat=length)):
            levels = value.split("/")
            if "#" in levels[:-1]:
                fault = "must have # as the last level only"
            elif any(len(level) > 1 and {*level} & {*"+#"} for level in levels):
                fault = "must have + and # as whole levels only"
            else:
                fault = None
            assert topic_filter_fault(value) == fault, value


@pytest.mark.conformance("5.0", "MQTT-3.3.2-2", "MQTT-4.7.1-1")
@pytest.mark.conformance("3.1.1", "MQTT-3.3.2-2", "MQTT-4.7.1-1")
@pytest.mark.parametrize("value", [*FILTERS[:10], *MISPLACED], ids=short)
def test_a_topic_name_has_no_wildcards(value):
    with pytest.raises(ValueError, match="^Invalid topic: "):
        Topic(value)
    assert topic_name_fault(value) == "must not contain the wildcards + and #"


@pytest.mark.conformance("5.0", "MQTT-4.7.1-1", "MQTT-4.7.1-2")
@pytest.mark.conformance("3.1.1", "MQTT-4.7.1-2", "MQTT-4.7.1-3")
@pytest.mark.parametrize("value", MISPLACED, ids=short)
def test_wildcards_stand_alone_in_a_level(value):
    with pytest.raises(ValueError, match="^Invalid wildcard: "):
        Wildcard(value)


@pytest.mark.conformance("5.0", "MQTT-4.7.3-1", "MQTT-4.7.3-2", "MQTT-4.7.3-3")
@pytest.mark.conformance("5.0", "MQTT-1.5.4-1")
@pytest.mark.conformance("3.1.1", "MQTT-4.7.3-1", "MQTT-4.7.3-2", "MQTT-4.7.3-3")
@pytest.mark.conformance("3.1.1", "MQTT-1.5.3-1")
@pytest.mark.parametrize(
    "value", ["", "\0", "a\0b", "\ud800", "a/\udfff", *TOO_LONG], ids=short
)
def test_what_is_neither(value):
    with pytest.raises(ValueError, match="^Invalid topic: "):
        Topic(value)
    with pytest.raises(ValueError, match="^Invalid wildcard: "):
        Wildcard(value)


def test_the_text_shows_the_topic():
    # Programs of aiomqtt 2 compare it.
    with pytest.raises(ValueError, match=r"^Invalid topic: a/b/#$"):
        Topic("a/b/#")
    with pytest.raises(ValueError, match=r"^Invalid wildcard: a/#/b$"):
        Wildcard("a/#/b")


@pytest.mark.parametrize("value", [None, 1, b"a", ["a"]])
def test_a_topic_is_a_str(value):
    with pytest.raises(TypeError, match="^Topic must be of type str"):
        Topic(value)
    with pytest.raises(TypeError, match="^Wildcard must be of type str"):
        Wildcard(value)


def test_topics_are_values():
    topic = Topic("a/b")
    assert topic == Topic("a/b")
    assert topic != Topic("a/c")
    assert {topic: 1}[Topic("a/b")] == 1
    assert repr(topic) == "Topic(value='a/b')"
    assert isinstance(topic, Wildcard)
    assert topic != Wildcard("a/b")
    assert dataclasses.replace(topic, value="c") == Topic("c")
    assert dataclasses.asdict(topic) == {"value": "a/b"}
    for clone in (copy.deepcopy(topic), pickle.loads(pickle.dumps(topic))):
        assert clone == topic
    for name in ("value", "another"):
        with pytest.raises(AttributeError):
            setattr(topic, name, "x")


# --- matching ------------------------------------------------------------------

MATCHES = [
    # The examples of §4.7.1.2 and §4.7.1.3.
    ("sport/tennis/player1", "sport/tennis/player1/#"),
    ("sport/tennis/player1/ranking", "sport/tennis/player1/#"),
    ("sport/tennis/player1/score/wimbledon", "sport/tennis/player1/#"),
    ("sport", "sport/#"),
    ("sport/", "sport/#"),
    ("anything/at/all", "#"),
    ("sport/tennis/player1", "sport/tennis/+"),
    ("sport/", "sport/+"),
    ("/finance", "+/+"),
    ("/finance", "/+"),
    ("/", "+/+"),
    ("a/b/c", "+/b/#"),
    ("a/b", "+/+/#"),
    ("a/b/c/d", "a/+/c/+"),
    ("a", "a"),
    ("/a", "/a"),
    ("a//b", "a//b"),
    ("a//b", "a/+/b"),
    ("$SYS/monitor/Clients", "$SYS/#"),
    ("$SYS/monitor/Clients", "$SYS/monitor/+"),
    ("$SYS", "$SYS/#"),
    ("a/$b", "a/+"),
    ("a/$b", "#"),
]
NO_MATCHES = [
    ("sport/tennis/player1/ranking", "sport/tennis/+"),
    ("sport", "sport/+"),
    ("/finance", "+"),
    ("sport/tennis", "sport"),
    ("sport", "sport/tennis"),
    ("sport", "sport/tennis/#"),
    ("a/b/c", "a/+"),
    ("a", "a/"),
    ("a/", "a"),
    ("a", "/a"),
    ("a/b", "b/#"),
]
DOLLAR = [
    ("$SYS/monitor/Clients", "#"),
    ("$SYS/monitor/Clients", "+/monitor/Clients"),
    ("$SYS/x", "+/#"),
    ("$SYS", "+"),
    ("$SYS/x", "/#"),
]
# §4.7.3: character by character, nothing is folded or normalised.
NOT_NORMALISED = [
    ("ACCOUNTS", "Accounts"),
    ("\u00e9", "e\u0301"),
    ("\u212b", "\u00c5"),
    ("stra\u00dfe", "strasse"),
    ("a/ b", "a/b"),
    ("a ", "a"),
    ("\ufeffa", "a"),
    ("a//b", "a/b"),
    ("a/./b", "a/b"),
]


@pytest.mark.conformance("5.0", "MQTT-4.7.1-1", "MQTT-4.7.1-2")
@pytest.mark.conformance("3.1.1", "MQTT-4.7.1-2", "MQTT-4.7.1-3")
@pytest.mark.parametrize(("topic", "wildcard"), MATCHES)
def test_a_topic_matches(topic, wildcard):
    assert Topic(topic).matches(wildcard)
    assert Topic(topic).matches(Wildcard(wildcard))


@pytest.mark.parametrize(("topic", "wildcard"), NO_MATCHES)
def test_a_topic_does_not_match(topic, wildcard):
    assert not Topic(topic).matches(wildcard)


@pytest.mark.conformance("5.0", "MQTT-4.7.2-1")
@pytest.mark.conformance("3.1.1", "MQTT-4.7.2-1")
@pytest.mark.parametrize(("topic", "wildcard"), DOLLAR)
def test_a_leading_wildcard_does_not_match_a_topic_with_a_dollar(topic, wildcard):
    assert not Topic(topic).matches(wildcard)
    assert not Topic(topic).matches(f"$share/group/{wildcard}")


@pytest.mark.conformance("5.0", "MQTT-4.7.3-4")
@pytest.mark.conformance("3.1.1", "MQTT-4.7.3-4")
@pytest.mark.parametrize(("topic", "wildcard"), NOT_NORMALISED)
def test_topics_are_not_normalised(topic, wildcard):
    assert not Topic(topic).matches(wildcard)
    assert not Topic(wildcard).matches(topic)
    assert Topic(topic).matches(topic)
    assert Topic(topic).matches(f"{topic}/#")


@pytest.mark.parametrize(("topic", "wildcard"), MATCHES)
def test_a_shared_filter_matches_what_its_filter_matches(topic, wildcard):
    assert Topic(topic).matches(f"$share/group/{wildcard}")


@pytest.mark.parametrize(("topic", "wildcard"), NO_MATCHES)
def test_a_shared_filter_matches_nothing_else(topic, wildcard):
    assert not Topic(topic).matches(f"$share/group/{wildcard}")


def test_only_share_means_shared():
    assert Topic("$shared/g/a").matches("$shared/g/a")
    assert not Topic("a").matches("$shared/g/a")
    assert not Topic("a").matches("$share/g")
    assert not Topic("g").matches("$share/g")


def test_a_topic_matches_another_topic():
    assert Topic("a/b").matches(Topic("a/b"))
    assert not Topic("a/b").matches(Topic("a/c"))


def test_matching_refuses_what_is_no_filter():
    with pytest.raises(ValueError, match="^Invalid wildcard: a#"):
        Topic("a").matches("a#")
    with pytest.raises(TypeError, match="^Wildcard must be of type str"):
        Topic("a").matches(None)  # type: ignore[arg-type]


def test_matching_takes_topics_of_many_levels():
    levels = "a/" * 30_000 + "a"
    assert Topic(levels).matches("a/" * 30_000 + "+")
    assert Topic(levels).matches("+/#")
    assert not Topic(levels).matches("a/" * 29_999 + "+")


@pytest.mark.parametrize(
    ("topic_filter", "name", "rest"),
    [
        ("$share/g/a/b", "g", "a/b"),
        ("$share/g//", "g", "/"),
        ("$share//a", "", "a"),
        ("$share/g", "g", ""),
    ],
)
def test_a_shared_filter_has_a_name_and_a_filter(topic_filter, name, rest):
    assert is_shared(topic_filter)
    assert split_shared(topic_filter) == (name, rest)


@pytest.mark.parametrize("topic_filter", ["a/b", "$share", "$shared/g/a", "/$share/g"])
def test_other_filters_are_not_shared(topic_filter):
    assert not is_shared(topic_filter)
    assert split_shared(topic_filter) == ("", topic_filter)
