"""The asyncio MQTT client for Python, with its own protocol engine."""

from .build import __build__  # first: it decides what the others load
from .client import (
    Client,
    MessagesIterator,
    ProtocolVersion,
    ProxySettings,
    TLSParameters,
    Will,
)
from .exceptions import (
    MqttCodeError,
    MqttConnectError,
    MqttError,
    MqttLimitError,
    MqttReentrantError,
)
from .message import Message
from .properties import Properties, ReasonCode, SubscribeOptions
from .publishing import Receipt
from .topic import Topic, TopicLike, Wildcard, WildcardLike
from .watchers import Publication

__version__ = "2.6.0"
__version_tuple__ = (2, 6, 0)

__all__ = [
    "Client",
    "Message",
    "MessagesIterator",
    "MqttCodeError",
    "MqttConnectError",
    "MqttError",
    "MqttLimitError",
    "MqttReentrantError",
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
