"""The asyncio MQTT client for Python, with its own protocol engine."""

from typing import TYPE_CHECKING

from .build import __build__  # first: it decides which files the others load
from .client import (
    Client,
    MessagesIterator,
    ProtocolVersion,
    ProxySettings,
    TLSParameters,
    Will,
)
from .client.publish_async import Receipt
from .exceptions import (
    MqttCodeError,
    MqttConnectError,
    MqttError,
    MqttLimitError,
    MqttReentrantError,
)
from .message import Message
from .properties import Properties, ReasonCode, SubscribeOptions
from .topic import Topic, TopicLike, Wildcard, WildcardLike
from .types import Publication

if TYPE_CHECKING:
    from .broker import Broker
    from .client.pending import PendingMessage

__version__ = "2.6.0rc1"
__version_tuple__: tuple[int, int, int, str] = (2, 6, 0, "rc1")

__all__ = [
    "Broker",
    "Client",
    "Message",
    "MessagesIterator",
    "MqttCodeError",
    "MqttConnectError",
    "MqttError",
    "MqttLimitError",
    "MqttReentrantError",
    "PendingMessage",
    "Properties",
    "ProtocolVersion",
    "ProxySettings",
    "Publication",
    "Receipt",
    "ReasonCode",
    "SubscribeOptions",
    "TLSParameters",
    "Topic",
    "TopicLike",
    "Wildcard",
    "WildcardLike",
    "Will",
    "__build__",
    "__version__",
    "__version_tuple__",
]


if not TYPE_CHECKING:

    def __getattr__(name):
        """Import a name that most programs don't need on its first use."""
        if name == "Broker":
            from .broker import Broker

            return Broker
        if name == "PendingMessage":
            from .client.pending import PendingMessage

            return PendingMessage
        msg = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(msg)
