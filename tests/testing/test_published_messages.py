"""Which messages were published, and the explanation if one was not."""

import pytest

from aiomqtt import Message, Topic, Wildcard
from aiomqtt.testing.published_messages import (
    KEPT_BYTES,
    KEPT_MESSAGES,
    ExpectedMessage,
    PublishedMessages,
)


def message(
    topic: str, payload: bytes = b"x", qos: int = 0, retain: bool = False
) -> Message:
    return Message(topic, payload, qos, retain, 0, None)


def kept(*messages: Message) -> PublishedMessages:
    published = PublishedMessages()
    for one in messages:
        published.add(one, 100)
    return published


@pytest.mark.parametrize(
    ("arguments", "is_met"),
    [
        (("a/b",), True),
        ((Topic("a/b"),), True),
        ((Wildcard("a/+"),), True),
        (("a/#", b"1"), True),
        (("#", "1"), True),
        (("a/b", 1), True),
        (("a/b", 1, 1, True), True),
        (("a/b", None), False),
        (("a/b", "2"), False),
        (("a/b", ..., 0), False),
        (("a/b", ..., 1, False), False),
        (("a",), False),
        (("a/c", b"1"), False),
    ],
)
def test_the_expected_message(arguments, is_met):
    found = message("a/b", b"1", 1, retain=True)
    assert ExpectedMessage(*arguments).is_met_by(found) is is_met


def test_an_empty_payload_is_expected_as_none():
    assert ExpectedMessage("a", None).is_met_by(message("a", b""))


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        (("a/#/b",), ValueError, "wildcard"),
        (("",), ValueError, "wildcard"),
        ((5,), TypeError, "str"),
        (("a", [1]), TypeError, "payload"),
        (("a", ..., 3), ValueError, "qos must be 0, 1, 2 or None, not 3"),
    ],
)
def test_expectations_that_mean_nothing(arguments, error, text):
    with pytest.raises(error, match=text):
        ExpectedMessage(*arguments)


def test_the_oldest_messages_are_forgotten():
    published = PublishedMessages()
    for number in range(KEPT_MESSAGES + 5):
        published.add(message("t", b"%d" % number), 100)
    found = published.find(lambda _: True)
    assert len(found) == KEPT_MESSAGES
    assert (found[0].payload, published.forgotten) == (b"5", 5)
    # Bytes count too, but the last message is there in any case.
    published.add(message("large", b"1"), KEPT_BYTES - 150)
    assert [one.topic.value for one in published.find(lambda _: True)] == ["t", "large"]
    published.add(message("large", b"2"), KEPT_BYTES + 1)
    assert [one.payload for one in published.find(lambda _: True)] == [b"2"]
    published.clear()
    assert not published.find(lambda _: True)
    assert not published.forgotten
    published.add(message("t"), KEPT_BYTES)
    assert not published.forgotten


def test_other_payloads_of_the_topic_are_shown():
    published = kept(
        message("lamp/1", b"off", 1),
        message("lamp/2", b"x" * 100, 2, retain=True),
        message("door", b"on"),
    )
    assert published.explain(ExpectedMessage("lamp/+", "on")).splitlines() == [
        "Published to it instead:",
        "  'lamp/1', payload b'off', QoS 1",
        f"  'lamp/2', payload b'{'x' * 80}'... (100 bytes), QoS 2, RETAIN",
    ]


def test_the_latest_payloads_are_shown():
    published = kept(*(message("t", b"%d" % number) for number in range(12)))
    lines = published.explain(ExpectedMessage("t", "on")).splitlines()
    assert lines[1] == "  (2 earlier messages)"
    assert lines[2] == "  't', payload b'2', QoS 0"
    assert lines[-1] == "  't', payload b'11', QoS 0"
    assert len(lines) == 12


def test_the_nearest_topics_are_shown():
    topics = [f"sensor/{number}" for number in range(20)]
    published = kept(*map(message, [*topics, "lamp/state", "lamp/set", "lamp/stat"]))
    published.add(message("lamp/state", b"off"), 100)
    lines = published.explain(ExpectedMessage("lamp/status")).splitlines()
    assert lines[0] == "Nothing was published to it. The nearest topics:"
    assert set(lines[1:3]) == {
        "  'lamp/state', payload b'off', QoS 0",
        "  'lamp/stat', payload b'x', QoS 0",
    }
    assert lines[3] == "  'lamp/set', payload b'x', QoS 0"
    assert lines[6:] == ["  (18 more topics)"]


def test_nothing_was_published():
    published = PublishedMessages()
    text = "Nothing was published at all."
    assert published.explain(ExpectedMessage("t")) == text
    for _ in range(KEPT_MESSAGES + 2):
        published.add(message("a"), 1)
    lines = published.explain(ExpectedMessage("t")).splitlines()
    assert lines[-1] == "2 older messages were not kept."


def test_the_explanation_of_many_topics_is_quick():
    """It compares the latest ones only."""
    published = kept(*(message(f"a/{number}") for number in range(KEPT_MESSAGES)))
    lines = published.explain(ExpectedMessage("b/9999")).splitlines()
    assert lines[1] == "  'a/9999', payload b'x', QoS 0"
    assert lines[-1] == "  (9995 more topics)"
