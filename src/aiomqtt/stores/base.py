"""The interface of a store: what a client asks of the place that keeps its session.

A store keeps one `SessionState` (`protocol/changes.py`) and the receipts of messages.
Each group of changes is kept as a whole or not at all. `aiomqtt.testing.check_store`
has the rules as tests.
"""

from collections.abc import Sequence
from typing import Literal, NamedTuple, Protocol, TypeAlias, runtime_checkable

from aiomqtt.exceptions import MqttError
from aiomqtt.protocol.changes import Change, SessionState, StoredDelivery

# How far a message with an `id` has come. The last six are final.
ReceiptState: TypeAlias = Literal[
    "queued",
    "in flight",
    "acknowledged",
    "refused",
    "expired",
    "dropped",
    "withdrawn",
    "session lost",
]


class SessionStoreError(MqttError):
    """The session can't be opened, read or stored. The text says what to do.

    It is raised before anything has changed. If it ends a connection, nothing that
    depends on the changes which could not be stored has left.
    """


class StoredReceipt(NamedTuple):
    """How far a message has come that was published with an `id`.

    Attributes:
        id: The `id` that the program gave it.
        state: "queued": it has not been sent. "in flight": it was sent, and is not
            acknowledged. "acknowledged": its flow is complete. "refused": the broker
            refused it, see `reason_code`. "expired": its Message Expiry Interval
            passed before it was sent. "dropped": by `Client.drop` or by the limits of
            an `OfflineQueue`. "withdrawn": it was taken back before it was sent.
            "session lost": the session ended before it was acknowledged.
        reason_code: The reason code of the acknowledgement, a number from the table
            of the standard (MQTT 5.0 §2.4); ``None``: there is none yet.
        changed_at: When it reached this state, in seconds since the epoch.
    """

    id: str
    state: ReceiptState
    reason_code: int | None
    changed_at: float


class OpenedSession(NamedTuple):
    """A session as it was stored.

    Attributes:
        state: Its state, but of the deliveries that wait only the first ones.
        remaining: How many further deliveries wait in the store.
        remaining_size: The sum of the sizes of their topics and payloads, in bytes.
        generation: The number of times that the session was opened, with this one. If
            it is one more than last time, nobody else has had it in between.
    """

    state: SessionState
    remaining: int
    remaining_size: int
    generation: int


@runtime_checkable
class SessionStore(Protocol):
    """Keeps the session of one client.

    The client makes one call at a time, all in one event loop, and no call may block
    that loop. The times in `StoredDelivery.expires` are in seconds since the epoch.

    Every method raises SessionStoreError if it fails. Then nothing has changed, except
    that a failed `commit` may turn out to have been stored when the session is opened
    again. After a failed `commit` the client only calls `close`. A call that is
    cancelled may have had its effect or not.
    """

    async def open(self, client_id: str, window: int) -> OpenedSession:
        """Open the session, and keep other processes from opening it until `close`.

        If there is none yet, it is created.

        Args:
            client_id: The client identifier. A session of another one is an error.
            window: How many of the deliveries that wait (whose state is QUEUED) to
                return; those in flight are returned in any case.
        """
        ...

    async def commit(self, changes: Sequence[Change]) -> None:
        """Store changes, in order, as a whole; returns when they are durable.

        Args:
            changes: The changes: see `ChangeKind`.
        """
        ...

    async def load_queued(self, after: int, count: int) -> list[StoredDelivery]:
        """Return deliveries that wait, in the order in which they are sent.

        Args:
            after: A sequence; the deliveries with a higher one are returned, also those
                that were put before others, which the client may know.
            count: How many at most.
        """
        ...

    async def find_receipt(self, receipt_id: str) -> StoredReceipt | None:
        """Return how far a message has come; None: there is none with this id."""
        ...

    async def list_receipts(self) -> list[StoredReceipt]:
        """Return the receipts of all messages with an id, the oldest first."""
        ...

    async def close(self) -> None:
        """Close the session, so that it can be opened again; harmless if it is closed.

        After a failure, too, nothing is left open, and no process is kept out.
        """
        ...
