"""Creation of the parts of a client from the arguments of the program.

The arguments of `Client` are passed by name; ValueError and TypeError name the wrong
one.
"""

import asyncio
import os
from collections.abc import Mapping
from typing import Any, Final

from aiomqtt.log import SafeLogger
from aiomqtt.message import Message
from aiomqtt.paho import to_properties
from aiomqtt.protocol.settings import Settings
from aiomqtt.standard.tables import ProtocolVersion
from aiomqtt.streams.custom_queue import CustomQueueStream
from aiomqtt.streams.stream import MessageStream

from .arguments import (
    check_range,
    check_type,
    to_bound,
    to_clean_start,
    to_credentials,
    to_identifier,
    to_version,
    to_will,
)

# The random bytes of a generated client identifier. Each becomes two characters, and
# 3.1 allows 23 (3.1 §3.1).
_ID_BYTES: Final = 11


def to_settings(given: Mapping[str, Any]) -> Settings:
    """Return the contents of every CONNECT, and the bounds of publishing."""
    identifier = to_identifier(given["identifier"])
    version = to_version(given["protocol"])
    if not identifier and version is ProtocolVersion.V31:
        identifier = os.urandom(_ID_BYTES).hex()
    return Settings(
        version,
        identifier,
        to_clean_start(
            version, identifier, given["clean_session"], given["clean_start"]
        ),
        check_range("keepalive", given["keepalive"], 0),
        *to_credentials(version, given["username"], given["password"]),
        to_will(given["will"]),
        to_properties("properties", given["properties"]),
        *(
            to_bound(name, given[name])
            for name in ("max_inflight_messages", "max_queued_outgoing_messages")
        ),
    )


def to_stream(
    queue_type: type[asyncio.Queue[Message]] | None,
    bound: int | None,
    logger: SafeLogger,
) -> MessageStream:
    """Return the queue of received messages."""
    check_type("queue_type", queue_type, type, type(None))
    bound = to_bound("max_queued_incoming_messages", bound)
    if queue_type is None and bound is None:
        return MessageStream()
    return CustomQueueStream(queue_type or asyncio.Queue, bound or 0, logger)
