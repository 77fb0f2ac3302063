"""Each reply goes to the request that it answers, and everything else is ignored."""

import asyncio

import pytest

from aiomqtt import Message, MqttError, Properties
from aiomqtt.net.sink import Room
from aiomqtt.streams.replies import PendingReplies, PendingReply, ReplyStream

TOPIC = "responses/me"


def reply(topic: str, correlation: bytes | None, *, is_v5: bool = True) -> Message:
    properties = Properties(correlation_data=correlation) if is_v5 else None
    return Message(topic, b"x", 0, False, 0, properties)


def waiting() -> "asyncio.Future[MqttError | None]":
    return asyncio.get_running_loop().create_future()


async def test_replies_in_any_order_go_to_their_requests():
    replies = PendingReplies()
    stream = ReplyStream(replies)
    pending = [PendingReply(bytes([n]), waiting(), TOPIC) for n in range(3)]
    for one in pending:
        replies.add(one)
    messages = [reply(TOPIC, bytes([n])) for n in (2, 0, 1)]
    assert stream.deliver(messages[:2], 200) is Room.ENOUGH
    assert [one.reply for one in pending] == [messages[1], None, messages[0]]
    assert stream.deliver(messages[2:], 100) is Room.ENOUGH
    assert all(one.waiter.result() is None for one in pending)
    assert pending[1].reply is messages[2]
    assert replies.ignored == 0
    # None of them waits for the program, nor takes room.
    assert len(stream) == stream.size == 0


@pytest.mark.parametrize(
    "message",
    [
        pytest.param(reply(TOPIC, b"other"), id="other correlation data"),
        pytest.param(reply(TOPIC, None), id="no correlation data"),
        pytest.param(reply(TOPIC, b""), id="empty correlation data"),
        pytest.param(reply("responses/you", b"mine"), id="another topic"),
        pytest.param(reply(TOPIC, b"mine", is_v5=False), id="no properties"),
    ],
)
async def test_what_answers_no_request_is_ignored_and_counted(message):
    replies = PendingReplies()
    pending = PendingReply(b"mine", waiting(), TOPIC)
    replies.add(pending)
    ReplyStream(replies).deliver([message], 100)
    assert pending.reply is None
    assert not pending.waiter.done()
    assert replies.ignored == 1


@pytest.mark.parametrize("how", ["answered", "timed out", "cancelled", "removed"])
async def test_a_reply_that_comes_too_late_is_ignored_and_counted(how):
    replies = PendingReplies()
    pending = PendingReply(b"mine", waiting(), TOPIC)
    replies.add(pending)
    first = None
    if how == "answered":
        first = reply(TOPIC, b"mine")
        replies.take(first)
    elif how == "timed out":
        pending.waiter.set_result(MqttError("Operation timed out"))
    elif how == "cancelled":
        pending.waiter.cancel()
    else:
        replies.remove(pending)
        assert len(replies) == 0
        assert not replies.has(b"mine")
    replies.take(reply(TOPIC, b"mine"))
    assert pending.reply is first
    assert replies.ignored == 1
