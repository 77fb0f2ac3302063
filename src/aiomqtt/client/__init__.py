"""The client: its public methods, and the waiting calls.

Programs of aiomqtt 2 import from this path what is in `__all__`.
"""

from aiomqtt.exceptions import (
    MqttCodeError,
    MqttConnectError,
    MqttError,
    MqttReentrantError,
)
from aiomqtt.message import Message
from aiomqtt.standard.tables import ProtocolVersion
from aiomqtt.streams.iterator import MessagesIterator
from aiomqtt.topic import Topic, TopicLike, Wildcard, WildcardLike
from aiomqtt.types import ProxySettings, TLSParameters, Will

from .client import Client

__all__ = [
    "Client",
    "Message",
    "MessagesIterator",
    "MqttCodeError",
    "MqttConnectError",
    "MqttError",
    "MqttReentrantError",
    "ProtocolVersion",
    "ProxySettings",
    "TLSParameters",
    "Topic",
    "TopicLike",
    "Wildcard",
    "WildcardLike",
    "Will",
]
