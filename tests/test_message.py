"""Message: what programs read, build and queue."""

import asyncio
import copy
import gc
import inspect
import pickle
import tracemalloc
import weakref
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


class Derived(Message):
    """A subclass of Message, as a program may define it."""

    def __init__(self, number):
        super().__init__("a/b", number, 0, 1, None, None)
        self.numbers = [number]

    @property
    def double(self):
        return 2 * self.payload


class Slim(Message):
    """A derived class that saves memory."""

    __slots__ = ("own",)


def received() -> Publish:
    return Publish(Topic("a"), b"x", 1, False, 300, None, True)


KINDS = {
    "made": message,
    "received": received,
    "derived": lambda: Derived(5),
    "slim": lambda: Slim("a", b"x", 0, False, 0, None),
}
kinds = pytest.mark.parametrize("make", KINDS.values(), ids=KINDS)


@kinds
def test_a_message_takes_attributes(make):
    marked = make()
    with pytest.raises(AttributeError, match="handled"):
        _ = marked.handled
    marked.handled = "yes"
    assert marked.handled == "yes"
    assert vars(marked)["handled"] == "yes"
    assert "handled" in dir(marked)
    assert not hasattr(make(), "handled")
    for clone in (copy.copy(marked), copy.deepcopy(marked)):
        assert clone.handled == "yes"
        assert repr(clone) == repr(marked)
    assert pickle.loads(pickle.dumps(marked)).handled == "yes"
    del marked.handled
    assert not hasattr(marked, "handled")


@kinds
def test_a_message_takes_weak_references(make):
    referred = make()
    gone: list[weakref.ref[Message]] = []
    first = weakref.ref(referred, gone.append)
    assert first() is referred
    assert weakref.ref(referred) in weakref.getweakrefs(referred)
    numbers = weakref.WeakKeyDictionary({referred: 1})
    del referred
    assert first() is None
    assert gone == [first]
    assert not numbers


@kinds
def test_messages_in_a_circle_are_collected(make):
    one, other = make(), make()
    one.other, other.other = other, one
    gone = weakref.ref(one)
    del one, other
    gc.collect()
    assert gone() is None


CIRCLES = {
    "set": lambda m: setattr(m, "itself", m),
    "dict": lambda m: m.__dict__.update(itself=m),
    "payload": lambda m: setattr(m, "payload", [m]),
}


@kinds
@pytest.mark.parametrize("close", CIRCLES.values(), ids=CIRCLES)
def test_a_message_that_holds_itself_is_collected(make, close):
    """Compiled ones are known to the garbage collector once they can hold anything."""
    message = make()
    close(message)
    gone = weakref.ref(message)
    del message
    gc.collect()
    assert gone() is None


@kinds
def test_attributes_and_weak_references_leak_nothing(make):
    def use(count):
        for number in range(count):
            used = make()
            used.attribute = bytes(1000)
            references = [weakref.ref(used), weakref.ref(used, str)]
            used.number = number
            if number % 2:
                del references, used.number
            used = None

    use(100)
    gc.collect()
    tracemalloc.start()
    use(100)
    gc.collect()
    left = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert left < 10_000


def test_a_derived_class_has_its_own():
    derived = Derived(3)
    assert isinstance(derived, Message)
    assert (derived.double, derived.numbers, derived.retain) == (6, [3], True)
    assert derived.topic.matches("a/+")
    again = pickle.loads(pickle.dumps(derived))
    assert type(again) is Derived
    assert (again.double, again.numbers) == (6, [3])
    assert derived < message(1)


def test_the_flag_and_the_id_are_taken_as_programs_give_them():
    made = Message("a", b"", 0, 1, None, None)
    assert made.retain == 1
    assert made.mid is None
    assert "mid=None" in repr(made)
    assert copy.copy(made).mid is None
    made.mid = 7
    assert made.mid == 7


def test_a_received_message_is_a_message():
    came = received()
    assert Message in type(came).__mro__
    assert came.dup
    assert came.duplicate
    assert copy.copy(came).duplicate
    assert message(2) < came
    assert repr(came).startswith("Message(topic='a', payload=b'x'")
    assert type(pickle.loads(pickle.dumps(came))) is Message
    assert pickle.loads(pickle.dumps(came)).mid == 300


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
