"""Message: what programs read, build and queue."""

import asyncio
import copy
import inspect
import pickle
from unittest import mock

import pytest

from aiomqtt import Message, Properties, Topic
from aiomqtt.protocol.packets import NO_TOPIC, Publish


def message(mid=1, payload=b"on", topic="a/b"):
    return Message(topic, payload, 1, False, mid, None)


def test_a_message_is_built_by_keyword():
    properties = Properties(content_type="text/plain")
    built = Message(
        topic="a/b", payload=b"on", qos=2, retain=True, mid=7, properties=properties
    )
    assert built.topic == Topic("a/b")
    assert (built.payload, built.qos, built.retain, built.mid) == (b"on", 2, True, 7)
    assert built.properties is properties


def test_a_message_is_hashable():
    first, second = message(), message()
    names = {first: "first", second: "second"}
    assert (names[first], names[second]) == ("first", "second")
    assert hash(first) != hash(second)


def test_the_topic_is_a_topic():
    topic = Topic("a/b")
    assert message(topic=topic).topic is topic
    assert isinstance(message().topic, Topic)
    assert message().topic.matches("a/+")
    assert str(message().topic) == "a/b"
    with pytest.raises(ValueError, match="Invalid topic: a/#"):
        message(topic="a/#")


def test_messages_are_ordered_by_their_id():
    messages = [message(mid) for mid in (3, 1, 2)]
    assert [m.mid for m in sorted(messages)] == [1, 2, 3]
    assert message(1) < message(2)
    assert not message(2) < message(2)


def test_a_priority_queue_takes_messages_of_the_same_priority():
    queue: asyncio.PriorityQueue[tuple[int, Message]] = asyncio.PriorityQueue()
    for mid in (2, 1):
        queue.put_nowait((0, message(mid)))
    assert queue.get_nowait()[1].mid == 1


def test_the_repr_shows_what_came():
    assert repr(message()) == (
        "Message(topic='a/b', payload=b'on', qos=1, retain=False, mid=1,"
        " properties=None)"
    )
    assert len(repr(message(payload=bytes(10_000)))) < 250


def test_a_mock_of_the_class_has_its_attributes():
    double = mock.Mock(spec=Message)
    for name in ("topic", "payload", "qos", "retain", "mid", "properties"):
        assert hasattr(double, name)
    double.payload = b"x"
    assert isinstance(double, Message)
    with pytest.raises(AttributeError):
        _ = double.nonsense


def test_a_program_may_change_a_message():
    changed = message()
    changed.payload = b"off"
    assert changed.payload == b"off"


def test_messages_are_copied_and_pickled():
    original = Message("a", b"x", 1, True, 3, Properties(topic_alias=1))
    for clone in (
        copy.copy(original),
        copy.deepcopy(original),
        pickle.loads(pickle.dumps(original)),
    ):
        assert type(clone) is Message
        assert repr(clone) == repr(original)


def test_a_message_is_small():
    # One for each message received.
    assert not hasattr(message(), "__dict__")


def test_a_received_message_is_a_message():
    received = Publish(Topic("a"), b"x", 1, False, 3, None, True)
    assert isinstance(received, Message)
    assert received.dup
    assert message(2) < received
    assert repr(received).startswith("Message(topic='a', payload=b'x'")
    assert not hasattr(received, "__dict__")
    assert pickle.loads(pickle.dumps(received)).mid == 3


def test_the_topic_of_an_alias_is_empty():
    assert NO_TOPIC.value == ""
    assert isinstance(NO_TOPIC, Topic)


def test_the_signature_is_that_of_2_5():
    assert list(inspect.signature(Message).parameters) == [
        "topic",
        "payload",
        "qos",
        "retain",
        "mid",
        "properties",
    ]
