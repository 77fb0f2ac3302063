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
from .client.receipt import Receipt
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
    from .client.authentication import Authenticator
    from .client.capabilities import Capabilities
    from .client.durable_async import DurableSession
    from .client.inbox_async import PROCESSED_TABLE, MessageTransaction
    from .client.offline import OfflineQueue
    from .client.pending import PendingMessage
    from .client.reconnect import Reconnect
    from .client.redirection import Redirect
    from .client.redis_session_async import RedisSession
    from .client.scram import ScramSha256
    from .client.serving_async import RequestServer
    from .client.sqlite_session_async import SQLiteSession
    from .client.states import ConnectionState, StateChange
    from .client.statistics import ClientStatistics
    from .client.transaction_async import Transaction
    from .stores.base import SessionStore, SessionStoreError, StoredReceipt
    from .stores.sqlite.broker_store import SQLiteStore
    from .streams.parsing import ParsedMessage
    from .streams.subscription import Stream

__version__ = "2.6.0rc1"
__version_tuple__: tuple[int, int, int, str] = (2, 6, 0, "rc1")

__all__ = [
    "Authenticator",
    "Broker",
    "Capabilities",
    "Client",
    "ClientStatistics",
    "ConnectionState",
    "DurableSession",
    "Message",
    "MessageTransaction",
    "MessagesIterator",
    "MqttCodeError",
    "MqttConnectError",
    "MqttError",
    "MqttLimitError",
    "MqttReentrantError",
    "OfflineQueue",
    "PROCESSED_TABLE",
    "ParsedMessage",
    "PendingMessage",
    "Properties",
    "ProtocolVersion",
    "ProxySettings",
    "Publication",
    "Receipt",
    "Reconnect",
    "Redirect",
    "RedisSession",
    "RequestServer",
    "ReasonCode",
    "SQLiteSession",
    "SQLiteStore",
    "ScramSha256",
    "SessionStore",
    "SessionStoreError",
    "StoredReceipt",
    "Stream",
    "StateChange",
    "SubscribeOptions",
    "TLSParameters",
    "Topic",
    "TopicLike",
    "Transaction",
    "Wildcard",
    "WildcardLike",
    "Will",
    "__build__",
    "__version__",
    "__version_tuple__",
]


if not TYPE_CHECKING:
    # The names that most programs don't need, each with its module: they are imported
    # on first use.
    _MODULES = {
        "Authenticator": ".client.authentication",
        "Broker": ".broker",
        "Capabilities": ".client.capabilities",
        "ClientStatistics": ".client.statistics",
        "ConnectionState": ".client.states",
        "DurableSession": ".client.durable_async",
        "MessageTransaction": ".client.inbox_async",
        "OfflineQueue": ".client.offline",
        "PROCESSED_TABLE": ".client.inbox_async",
        "ParsedMessage": ".streams.parsing",
        "PendingMessage": ".client.pending",
        "Reconnect": ".client.reconnect",
        "Redirect": ".client.redirection",
        "RedisSession": ".client.redis_session_async",
        "RequestServer": ".client.serving_async",
        "SQLiteSession": ".client.sqlite_session_async",
        "SQLiteStore": ".stores.sqlite.broker_store",
        "ScramSha256": ".client.scram",
        "SessionStore": ".stores.base",
        "SessionStoreError": ".stores.base",
        "StateChange": ".client.states",
        "StoredReceipt": ".stores.base",
        "Stream": ".streams.subscription",
        "Transaction": ".client.transaction_async",
    }

    def __getattr__(name):
        """Import a name that most programs don't need on its first use."""
        module = _MODULES.get(name)
        if module is None:
            msg = f"module {__name__!r} has no attribute {name!r}"
            raise AttributeError(msg)
        from importlib import import_module

        return getattr(import_module(module, __name__), name)
