"""The interface of a broker's store: what it is told, and what it returns at the start.

A broker keeps all of its state in memory. The store has a copy of what outlives the
process: the sessions, and the retained messages. All times are in seconds since the
epoch.
"""

from collections.abc import Sequence
from typing import NamedTuple, Protocol, TypeAlias, runtime_checkable

from aiomqtt.properties import Properties
from aiomqtt.protocol.changes import Change, SessionState
from aiomqtt.protocol.packets import WillMessage


class StoredMessage(NamedTuple):
    """A retained message (MQTT 5.0 §3.3.1.3).

    Attributes:
        topic: The topic name.
        payload: The payload.
        qos: The QoS at which it was published.
        properties: Its properties; None: there are none.
        expires: When it expires; None: never.
        number: Its number: the later it was retained, the larger it is.
    """

    topic: str
    payload: bytes
    qos: int
    properties: Properties | None
    expires: float | None
    number: int


class SessionAttributes(NamedTuple):
    """What a broker's session has besides its `SessionState`.

    Attributes:
        is_v5: Whether its client used 5.0 on its last connection.
        expiry: How long it lasts without a connection, in seconds.
        ends: When it ends; None: its client is connected, or it never ends.
        will: The will; None: there is none.
        will_due: When the will is published; None: its client is connected.
    """

    is_v5: bool
    expiry: int
    ends: float | None
    will: WillMessage | None
    will_due: float | None


class SessionChanged(NamedTuple):
    """Changes of a session; the first ones begin it.

    Attributes:
        client_id: Its client identifier.
        attributes: Its attributes; None: they are as before.
        changes: The changes, in order.
    """

    client_id: str
    attributes: SessionAttributes | None
    changes: list[Change]


class SessionEnded(NamedTuple):
    """The end of a session: nothing of it is kept.

    Attributes:
        client_id: Its client identifier.
    """

    client_id: str


class RetainedChanged(NamedTuple):
    """The retained message of a topic.

    Attributes:
        topic: The topic.
        message: The message in place of the last one; None: there is none any more.
    """

    topic: str
    message: StoredMessage | None


Record: TypeAlias = SessionChanged | SessionEnded | RetainedChanged


class StoredSession(NamedTuple):
    """A session as it was stored.

    Attributes:
        state: Its state.
        attributes: Its attributes.
    """

    state: SessionState
    attributes: SessionAttributes


class StoredBroker(NamedTuple):
    """All that was stored.

    Attributes:
        sessions: The sessions.
        retained: The retained messages, in the order in which they were retained.
    """

    sessions: list[StoredSession]
    retained: list[StoredMessage]


@runtime_checkable
class BrokerStore(Protocol):
    """Keeps the state of one broker.

    Every method raises SessionStoreError if it fails. After a failed `commit`, of which
    nothing or all is stored, the broker only calls `close`.
    """

    async def open(self) -> StoredBroker:
        """Return all that is stored, and keep other processes from it until `close`."""
        ...

    async def commit(self, records: Sequence[Record]) -> None:
        """Store records, in order, as a whole; return when they are durable."""
        ...

    async def close(self) -> None:
        """Close it, so that it can be opened again; harmless if it is closed."""
        ...

    def abandon(self) -> None:
        """Close it soon, without waiting; harmless if it is closed."""
        ...
