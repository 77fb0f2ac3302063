"""The router: who gets a message, which queues are full, and what moves."""

import asyncio
import itertools
import logging

import pytest

from aiomqtt import Message, MqttError, Properties
from aiomqtt.log import to_logger
from aiomqtt.net.sink import Room
from aiomqtt.properties import SubscribeOptions
from aiomqtt.streams.custom_queue import CustomQueueStream
from aiomqtt.streams.router import Router
from aiomqtt.streams.stream import MessageStream

OPTIONS = SubscribeOptions()
LOGGER = to_logger(None, logging.getLogger("mqtt"))


def message(topic, number=0, payload=b""):
    return Message(topic, payload or bytes([number]), 0, False, number, None)


def numbers(stream):
    """The numbers of all messages, as an iterator takes them."""
    return [each.mid for each in iter(stream.pop, None)]


class Routed:
    """A router that has begun a connection, and its queues by name."""

    def __init__(self, default=None):
        self.default = default or MessageStream()
        self.router = Router(self.default)
        self.resumed = 0
        self.queues = {}
        self.router.expect()
        self.router.open(self.resume)

    def resume(self):
        self.resumed += 1

    def stream(self, name, *filters, options=OPTIONS):
        """A stream whose SUBSCRIBE is written."""
        self.queues[name] = self.router.add(MessageStream())
        for each in self.router.route(self.queues[name], filters):
            each.options = options
            each.on_subscribe()
        return self.queues[name].stream

    def leave(self, name):
        return self.router.remove(self.queues.pop(name))

    def deliver(self, *topics, payload=b""):
        messages = [
            message(topic, number, payload) for number, topic in enumerate(topics)
        ]
        return self.router.deliver(messages, 0)


@pytest.fixture
async def routed():
    return Routed()


TOPICS = ["a", "a/b", "a/b/c", "b", "$SYS/x", "$share/g/a"]


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        (["a/b"], [1]),
        (["a/+"], [1]),
        (["+"], [0, 3]),
        (["a/#"], [0, 1, 2]),
        (["#"], [0, 1, 2, 3]),
        (["$SYS/#"], [4]),
        (["$share/g/a"], [0]),
        (["$share/g/a/+"], [1]),
        (["a", "b"], [0, 3]),
        (["a/b", "a/+", "a/#", "$share/g/a/b"], [0, 1, 2]),
        (["c"], []),
    ],
)
async def test_a_stream_gets_what_its_filters_match_once_and_in_order(
    routed, filters, expected
):
    stream = routed.stream("one", *filters)
    routed.deliver(*TOPICS)
    assert numbers(stream) == expected
    rest = [number for number in range(len(TOPICS)) if number not in expected]
    assert numbers(routed.default) == rest


async def test_each_of_several_streams_gets_what_it_wants(routed):
    streams = {
        "exact": routed.stream("exact", "a/b"),
        "same": routed.stream("same", "a/b"),
        "shared": routed.stream("shared", "$share/g/a/b"),
        "wild": routed.stream("wild", "a/+", "c"),
    }
    routed.deliver("a/b", "a/c", "c", "d", "a/b")
    got = {name: numbers(stream) for name, stream in streams.items()}
    assert got == {
        "exact": [0, 4],
        "same": [0, 4],
        "shared": [0, 4],
        "wild": [0, 1, 2, 4],
    }
    assert numbers(routed.default) == [3]


@pytest.mark.parametrize("has_others", [True, False])
async def test_what_comes_for_a_stream_that_was_left(routed, has_others):
    """Unless another subscription may be the cause, nobody waits for it."""
    routed.router.has_others = has_others
    routed.stream("one", "a/+", "b")
    routed.stream("two", "b")
    [unwanted] = routed.leave("one")
    assert unwanted.name == "a/+"
    routed.deliver("a/b", "b")
    assert numbers(routed.default) == ([0] if has_others else [])
    routed.router.drop(unwanted)
    routed.deliver("a/b", "b")
    assert numbers(routed.default) == [0]
    assert numbers(routed.queues["two"].stream) == [1, 1]


async def test_a_filter_that_is_wanted_again_is_not_dropped(routed):
    routed.stream("one", "a", "b/+")
    unwanted = routed.leave("one")
    stream = routed.stream("two", "a", "b/+")
    for each in unwanted:
        routed.router.drop(each)
    routed.deliver("a", "b/c")
    assert numbers(stream) == [0, 1]


async def test_nothing_remains_of_streams_that_were_left(routed):
    for name in ("one", "two"):
        routed.stream(name, "a", "a/+", "$share/g/a/+", "#")
    for name in ("one", "two"):
        for unwanted in routed.leave(name):
            routed.router.drop(unwanted)
    assert not routed.router._queues
    assert not routed.router._filters.by_name


@pytest.mark.parametrize(
    "queue_type", [None, asyncio.Queue, asyncio.LifoQueue, asyncio.PriorityQueue]
)
async def test_waiting_messages_move_to_the_stream_that_comes(queue_type):
    default = None
    if queue_type is not None:
        default = CustomQueueStream(queue_type, 0, LOGGER)
    routed = Routed(default)
    routed.deliver("a", "b", "a/x", "a", "c")
    assert numbers(routed.stream("none", "d", "e/#")) == []
    assert numbers(routed.stream("one", "a", "a/+")) == [0, 2, 3]
    assert len(routed.default) == 2
    assert numbers(routed.stream("two", "#")) == [1, 4]
    assert routed.default._bytes == 0


async def test_moving_messages_leaves_the_size_of_the_rest_right(routed):
    big = Message("a", bytes(10_000), 0, False, 0, None)
    small = [message("b", number % 200) for number in range(600)]
    routed.router.deliver([*small[:300], big, *small[300:]], 400_000)
    assert routed.default.pop() is small[0]
    stream = routed.stream("one", "a")
    assert stream.pop() is big
    assert 599 * 512 < routed.default._bytes < 600 * 520
    assert [routed.default.pop() for _ in range(599)] == small[1:]
    assert routed.default.pop() is None
    assert routed.default._bytes == 0


async def test_a_waiting_iterator_of_a_stream_is_woken(routed):
    stream = routed.stream("one", "a")
    waiter = stream.waiter()
    routed.deliver("b")
    assert not waiter.done()
    routed.deliver("a")
    assert waiter.done()


# --- copies of a message ----------------------------------------------------------


def copy(topic, *identifiers, number=0, retain=False):
    properties = Properties(subscription_identifier=list(identifiers))
    return Message(topic, bytes([number]), 0, retain, number, properties)


def identified(routed, **streams):
    """Streams whose overlapping filters have identifiers, which are granted."""
    found = {name: routed.stream(name, *filters) for name, filters in streams.items()}
    for each in routed.router._filters.by_name.values():
        routed.router.identify(each)
        each.is_granted = True
    return found, {
        name: each.identifier for name, each in routed.router._filters.by_name.items()
    }


@pytest.mark.parametrize("is_one_copy", [True, False])
async def test_each_stream_gets_one_copy(routed, is_one_copy):
    """Whether the broker sends one for each subscription, or one for all."""
    streams, ids = identified(
        routed, one=["a/b"], two=["a/+", "a/#", "c"], three=["a/b", "#"]
    )
    assert len({ids[name] for name in ("a/b", "a/+", "a/#", "#")}) == 4
    for number in (1, 2):
        matching = [ids[name] for name in ("#", "a/b", "a/#", "a/+")]
        groups = [matching] if is_one_copy else [[each] for each in matching]
        for group in groups:
            routed.router.deliver([copy("a/b", *group, number=number)], 0)
    for stream in streams.values():
        assert numbers(stream) == [1, 2]
    assert len(routed.default) == 0


@pytest.mark.parametrize("unknown", [[], [7]])
async def test_a_copy_that_nothing_is_known_of_goes_to_all(routed, unknown):
    """It may have been queued before the subscriptions had identifiers."""
    streams, _ = identified(routed, one=["a/b"], two=["a/+", "a/#"])
    routed.router.deliver([copy("a/b", *unknown, number=1)], 0)
    for stream in streams.values():
        assert numbers(stream) == [1]


async def test_a_copy_for_a_filter_that_is_not_granted_is_not_relied_on(routed):
    streams, ids = identified(routed, two=["a/+", "a/#"])
    first, second = sorted(ids, key=ids.__getitem__)
    routed.router._filters.by_name[first].is_granted = False
    routed.router.deliver([copy("a/b", ids[second], number=1)], 0)
    assert numbers(streams["two"]) == [1]
    routed.router._filters.by_name[first].is_granted = True
    routed.router.deliver([copy("a/b", ids[second], number=2)], 0)
    assert numbers(streams["two"]) == []


async def test_filters_that_overlap_nothing_have_no_identifier(routed):
    _, ids = identified(routed, one=["a/+", "b"], two=["c/#"], three=["b", "d/+/e"])
    assert {*ids.values()} == {0}


async def test_a_filter_without_identifier_gets_every_copy(routed):
    """Such as one that the broker did not renew: nothing may be lost."""
    streams, ids = identified(routed, one=["a/b"], two=["a/+"])
    routed.router.set_identifier(routed.router._filters.by_name["a/b"], 0)
    routed.router.deliver([copy("a/b", ids["a/+"], number=1)], 0)
    assert numbers(streams["one"]) == numbers(streams["two"]) == [1]


async def test_what_calls_of_subscribe_want_goes_to_the_default_queue_too(routed):
    routed.stream("one", "a/b")
    routed.router.route_default(["a/+", "c"])
    routed.deliver("a/b", "a/c", "c", "d")
    assert numbers(routed.default) == [0, 1, 2, 3]
    assert numbers(routed.queues["one"].stream) == [0]
    # What waits for such a call stays there.
    routed.deliver("c")
    assert numbers(routed.stream("two", "c")) == []
    routed.router.unroute_default(["a/+", "c"])
    routed.deliver("a/b", "a/c", "c")
    assert numbers(routed.default) == [0, 1]


# --- retained messages --------------------------------------------------------------


def retained(routed, *copies):
    """Deliver copies of retained messages, in one read."""
    routed.router.deliver(
        [Message(topic, bytes([each]), 0, True, each, None) for topic, each in copies],
        0,
    )


async def test_a_retained_message_that_comes_again_is_for_the_new_stream(routed):
    one = routed.stream("one", "a")
    retained(routed, ("a", 1))
    # Without another SUBSCRIBE it is another message.
    retained(routed, ("a", 1))
    assert numbers(one) == [1, 1]
    two = routed.stream("two", "#")
    retained(routed, ("a", 1))
    assert (numbers(one), numbers(two)) == ([], [1])
    retained(routed, ("a", 1))
    retained(routed, ("a", 2))
    assert numbers(one) == numbers(two) == [1, 2]
    # On the next connection they may all be new.
    routed.stream("three", "b")
    routed.router.open(routed.resume)
    retained(routed, ("a", 2))
    assert numbers(one) == numbers(two) == [2]


@pytest.mark.parametrize("copies", sorted({*itertools.permutations([1, 2, 1, 2])}))
async def test_copies_on_their_way_when_a_stream_opens_are_recognized(routed, copies):
    """They may come before or after those for its own SUBSCRIBE."""
    one = routed.stream("one", "a/#")
    two = routed.stream("two", "a/1", "a/2")
    for number in copies:
        retained(routed, (f"a/{number}", number))
    assert sorted(numbers(one)) == sorted(numbers(two)) == [1, 2]
    retained(routed, ("a/1", 1))
    assert numbers(one) == numbers(two) == [1]


async def test_filters_of_one_stream_that_overlap_cause_one_message(routed):
    one = routed.stream("one", "a/1", "a/+", "#")
    retained(routed, ("a/1", 1), ("a/1", 1), ("a/2", 2), ("a/1", 1), ("a/2", 2))
    assert numbers(one) == [1, 2]


async def test_what_a_stream_that_was_left_has_caused_does_not_count_again(routed):
    one = routed.stream("one", "a/#")
    retained(routed, ("a/1", 1))
    assert numbers(one) == [1]
    for _ in range(3):
        two = routed.stream("two", "a/1")
        retained(routed, ("a/1", 1))
        assert (numbers(one), numbers(two)) == ([], [1])
        for each in routed.leave("two"):
            routed.router.drop(each)
    retained(routed, ("a/1", 1))
    assert numbers(one) == [1]


async def test_a_copy_counts_for_the_subscriptions_that_it_names(routed):
    streams, ids = identified(routed, one=["a/b"], two=["a/+"])
    for identifier, got in [
        (ids["a/b"], {"one": [1], "two": []}),
        (ids["a/+"], {"one": [], "two": [1]}),
        # No SUBSCRIBE is left that has caused these.
        (ids["a/b"], {"one": [1], "two": []}),
        (ids["a/+"], {"one": [], "two": [1]}),
    ]:
        routed.router.deliver([copy("a/b", identifier, number=1, retain=True)], 0)
        assert {name: numbers(each) for name, each in streams.items()} == got


async def test_the_flag_of_retain_as_published_says_nothing(routed):
    """Of a copy for several filters one may have it (MQTT 5.0 §3.3.1.3)."""
    one = routed.stream("one", "a")
    retained(routed, ("a", 1))
    options = SubscribeOptions(retain_as_published=True)
    two = routed.stream("two", "#", options=options)
    retained(routed, ("a", 1), ("a", 1))
    assert (numbers(one), numbers(two)) == ([1, 1, 1], [1, 1])
    retained(routed, ("b", 1), ("b", 1))
    assert numbers(two) == [1, 1]


# --- room ---------------------------------------------------------------------------


async def test_the_least_room_counts(routed):
    one, two = routed.stream("one", "a"), routed.stream("two", "b")
    one.maximum_messages = two.maximum_messages = 2
    assert routed.deliver("a", "b", "a", "b") is Room.ENOUGH
    assert routed.deliver("a") is Room.LITTLE
    assert routed.deliver("c") is Room.LITTLE
    # Eight MiB above the bound, and then twelve.
    large = bytes(1024 * 1024)
    assert routed.deliver(*"b" * 10, payload=large) is Room.NONE
    assert routed.deliver(*"b" * 4, payload=large) is Room.USED_UP
    assert "16 wait" in str(routed.router.overflow())
    numbers(two)
    assert routed.router.room() is Room.LITTLE
    assert routed.resumed == 0
    numbers(one)
    assert routed.router.room() is Room.ENOUGH
    assert routed.resumed == 1


async def test_leaving_a_full_stream_makes_room(routed):
    stream = routed.stream("one", "a")
    stream.maximum_messages = 1
    assert routed.deliver("a", "a") is Room.LITTLE
    routed.leave("one")
    assert routed.router.room() is Room.ENOUGH
    assert routed.resumed == 1


async def test_the_default_queue_counts_too(routed):
    routed.default.maximum_messages = 1
    assert routed.deliver("a", "a") is Room.LITTLE
    routed.stream("one", "b")
    assert routed.deliver("b") is Room.LITTLE
    # What moves to another stream makes room as well.
    routed.stream("two", "a")
    assert routed.router.room() is Room.ENOUGH
    assert routed.resumed == 1


async def test_a_router_takes_over_a_queue_that_is_full():
    default = MessageStream()
    default.maximum_messages = 1
    default.expect()
    default.open(lambda: None)
    default.deliver([message("a"), message("a")], 0)
    routed = Routed(default)
    assert routed.router.room() is Room.LITTLE
    numbers(default)
    assert routed.resumed == 1


# --- the end --------------------------------------------------------------------------


async def test_all_queues_end_with_the_connection_and_are_forgotten(routed):
    stream = routed.stream("one", "a")
    routed.deliver("a", "b")
    routed.router.close(MqttError("gone"))
    for each in (stream, routed.default):
        assert each.is_closed
        assert str(each.end().__cause__) == "gone"
        assert numbers(each) in ([0], [1])
    routed.router.expect()
    routed.router.open(routed.resume)
    routed.deliver("a")
    assert numbers(routed.default) == [0]
    assert len(stream) == 0


async def test_a_stream_that_could_not_be_opened_loses_nothing(routed):
    routed.stream("other", "a/+")
    routed.stream("one", "a/#")
    routed.deliver("a", "a/b", "a/b/c")
    queue = routed.queues["one"]
    routed.leave("one")
    routed.router.give_back(queue)
    assert numbers(routed.default) == [0, 2]
    assert numbers(routed.queues["other"].stream) == [1]


async def test_the_totals_of_all_queues(routed):
    one, two = routed.stream("one", "a"), routed.stream("two", "#")
    routed.deliver("a", "b")
    size = one.size + two.size
    assert size > 0
    assert routed.router.totals() == (3, size, 0)
    routed.default.discarded, one.discarded, two.discarded = 1, 2, 4
    assert routed.router.totals() == (3, size, 7)
    # What a stream has discarded still counts when it was left, ...
    routed.leave("one")
    assert routed.router.totals() == (2, two.size, 7)
    # ... and when the client was entered again.
    routed.router.expect()
    assert routed.router.totals() == (0, 0, 7)
