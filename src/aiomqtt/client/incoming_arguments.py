"""The arguments about incoming messages: when they are acknowledged, how many may wait.

They are those of `Client` and of its streams. ValueError and TypeError name the
wrong one.
"""

import asyncio
import sys
from collections.abc import Mapping
from typing import Any, Final

from aiomqtt.argument_checks import check_type
from aiomqtt.log import SafeLogger
from aiomqtt.message import Message
from aiomqtt.protocol.engine import Engine
from aiomqtt.streams.stream import MAXIMUM_BYTES, MAXIMUM_MESSAGES, MessageStream

from .arguments import to_bound

# The acknowledgement modes.
RECEIVE: Final = "receive"
PROCESSED: Final = "processed"
MANUAL: Final = "manual"
ACK_MODES: Final = (RECEIVE, PROCESSED, MANUAL)
# What happens to messages above the bounds.
PAUSE: Final = "pause"
DROP_OLDEST: Final = "drop_oldest"
DROP_NEWEST: Final = "drop_newest"
OVERFLOWS: Final = (PAUSE, DROP_OLDEST, DROP_NEWEST)


def check_ack(ack: str) -> str:
    """Return the acknowledgement mode."""
    check_type("ack", ack, str)
    if ack not in ACK_MODES:
        msg = f'ack must be "receive", "processed" or "manual", not {ack!r}'
        raise ValueError(msg)
    return ack


def to_stream(
    given: Mapping[str, Any], engine: Engine, logger: SafeLogger
) -> MessageStream:
    """Return the queue of received messages; the engine acknowledges them or does not.

    Args:
        given: The arguments of the client.
        engine: Its engine.
        logger: The logger for warnings about discarded messages.
    """
    queue_type, overflow = given["queue_type"], check_overflow(given["overflow"])
    check_type("queue_type", queue_type, type, type(None))
    messages = to_bound(
        "max_queued_incoming_messages", given["max_queued_incoming_messages"]
    )
    size = to_bound("max_queued_incoming_bytes", given["max_queued_incoming_bytes"])
    if overflow is None and messages is not None and given["ack"] == RECEIVE:
        # As in aiomqtt 2, which counted only messages.
        overflow, size = DROP_NEWEST, size or sys.maxsize
    if queue_type is not None and overflow == DROP_OLDEST:
        msg = (
            'overflow="drop_oldest" is for queues that return the oldest message first:'
            " leave out queue_type"
        )
        raise ValueError(msg)
    stream = make_stream(messages, size, overflow or PAUSE, logger, queue_type)
    set_mode(stream, given["ack"])
    if stream.is_late:
        engine.session.inbound.set_manual(False)
    return stream


def set_mode(stream: MessageStream, ack: str) -> None:
    """Set who acknowledges the messages of a queue, and when."""
    stream.is_late = ack != RECEIVE
    stream.is_processed = ack == PROCESSED


def check_overflow(overflow: str | None) -> str | None:
    """Return what happens to messages above the bounds; None: the default."""
    check_type("overflow", overflow, str, type(None))
    if overflow is not None and overflow not in OVERFLOWS:
        msg = (
            'overflow must be "pause", "drop_oldest", "drop_newest" or None, not'
            f" {overflow!r}"
        )
        raise ValueError(msg)
    return overflow


def make_stream(
    messages: int | None,
    size: int | None,
    overflow: str,
    logger: SafeLogger,
    queue_type: type[asyncio.Queue[Message]] | None = None,
) -> MessageStream:
    """Return a queue of received messages.

    Args:
        messages: How many messages may wait; None: the default.
        size: How much memory they may use, in bytes; None: the default.
        overflow: What happens to messages above these bounds.
        logger: The logger for warnings about discarded messages.
        queue_type: A class like asyncio.Queue; None: first in, first out.
    """
    stream: MessageStream
    if queue_type is not None:
        from aiomqtt.streams.custom_queue import CustomQueueStream

        maximum = 0 if overflow == PAUSE else messages or MAXIMUM_MESSAGES
        stream = CustomQueueStream(queue_type, maximum, logger)
    elif overflow == PAUSE:
        stream = MessageStream()
    else:
        from aiomqtt.streams.discarding_stream import DiscardingStream

        drops_oldest = overflow == DROP_OLDEST
        stream = DiscardingStream(logger, not drops_oldest, drops_oldest)
    stream.maximum_messages = messages or MAXIMUM_MESSAGES
    stream.maximum_bytes = size or MAXIMUM_BYTES
    return stream
