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


async def test_a_retained_message_comes_again_only_after_another_subscribe():
    queue = RoutedQueue(MessageStream(), lambda queue: None)
    assert not queue.note_retained(retained("a", b"1"), 1)
    assert not queue.note_retained(retained("a", b"1"), 1)
    assert queue.note_retained(retained("a", b"1"), 2)
    assert not queue.note_retained(retained("a", b"2"), 2)
    assert not queue.note_retained(retained("b", b"2"), 3)


async def test_the_memory_for_retained_messages_is_bounded():
    queue = RoutedQueue(MessageStream(), lambda queue: None)
    for number in range(MOST_RETAINED + 10):
        queue.note_retained(retained(f"a/{number}"), 1)
    assert queue.retained is not None
    assert len(queue.retained) == 10


async def test_it_says_which_queue_has_room_again():
    found: list[RoutedQueue] = []
    queue = RoutedQueue(MessageStream(), found.append)
    queue.on_room()
    assert found == [queue]
