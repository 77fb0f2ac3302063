"""What the router knows about a queue and about a filter."""

import pytest

from aiomqtt import Message
from aiomqtt.streams.routed import MOST_RETAINED, RoutedFilter, RoutedQueue
from aiomqtt.streams.stream import MessageStream


@pytest.mark.parametrize(
    ("name", "topic_filter", "has_wildcard"),
    [
        ("a/b", "a/b", False),
        ("a/+", "a/+", True),
        ("#", "#", True),
        ("$share/g/a/b", "a/b", False),
        ("$share/g/+", "+", True),
    ],
)
def test_topics_are_compared_without_the_share_name(name, topic_filter, has_wildcard):
    routed = RoutedFilter(name)
    assert routed.name == name
    assert routed.topic_filter == topic_filter
    assert routed.has_wildcard is has_wildcard


def retained(topic, payload=b""):
    return Message(topic, payload, 0, True, 0, None)


async def test_a_queue_recognizes_the_retained_message_that_it_got_last():
    queue = RoutedQueue(MessageStream(), lambda queue: None)
    known = [
        queue.note_retained(retained(topic, payload))
        for topic, payload in [
            *[("a", b"1"), ("a", b"1"), ("b", b"1"), ("a", b"2")],
            *[("b", b"1"), ("a", b"1"), ("a", b"1")],
        ]
    ]
    assert known == [False, True, False, False, True, False, True]


@pytest.mark.parametrize("subscribes", [0, 1, 2])
def test_each_subscribe_causes_one_copy_of_a_retained_message(subscribes):
    routed = RoutedFilter("a/#")
    for _ in range(subscribes):
        routed.on_subscribe()
    for topic in ("a/1", "a/2"):
        expected = [routed.count_retained(topic) for _ in range(4)]
        assert expected == [True] * subscribes + [False] * (4 - subscribes)
    # The next connection may restore it.
    routed.begin()
    assert [routed.count_retained("a/1") for _ in range(2)] == [True, False]


async def test_the_memory_for_retained_messages_is_bounded():
    queue = RoutedQueue(MessageStream(), lambda queue: None)
    routed = RoutedFilter("a/#")
    routed.begin()
    for number in range(MOST_RETAINED + 10):
        queue.note_retained(retained(f"a/{number}"))
        assert routed.count_retained(f"a/{number}")
    assert queue.retained is not None
    assert routed.retained is not None
    assert len(queue.retained) == len(routed.retained) == 10


async def test_it_says_which_queue_has_room_again():
    found: list[RoutedQueue] = []
    queue = RoutedQueue(MessageStream(), found.append)
    queue.on_room()
    assert found == [queue]
