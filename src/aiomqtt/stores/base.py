"""The interface of a store: what a client asks of the place that keeps its session.

A store keeps one `SessionState` (`protocol/changes.py`) and the receipts of messages.
Each group of changes is kept as a whole or not at all. `aiomqtt.testing.check_store`
has the rules as tests.
"""

import asyncio
from collections.abc import Sequence
from typing import Final, Literal, NamedTuple, Protocol, TypeAlias, runtime_checkable

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


def to_store_error(error: BaseException, what: str) -> SessionStoreError:
    """Return the error of a store, from that which it has raised.

    Args:
        error: That error, whatever it is.
        what: What it has: "session", for example.
    """
    if isinstance(error, SessionStoreError):
        return error
    if isinstance(error, asyncio.CancelledError):
        return SessionStoreError(f"The task that stores the {what} was cancelled")
    failure = SessionStoreError(
        f"The {what} could not be stored: {type(error).__name__}: {error}"
    )
    failure.__cause__ = error
    return failure


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


# A place before all others.
FIRST_PLACE: Final = -(1 << 53)


class OpenedSession(NamedTuple):
    """A session as it was stored.

    Attributes:
        state: Its state, but of the deliveries that wait only the first ones.
        place: The place of the last of these among all that wait; if there is none, one
            before all others.
        remaining: How many further deliveries wait in the store.
        remaining_size: The sum of the sizes of their topics and payloads, in bytes.
        remaining_qos0: How many of them have QoS 0, or more: later messages with QoS 0
            wait for so many.
        generation: The number of times that the session was opened, with this one. If
            it is one more than last time, nobody else has had it in between.
    """

    state: SessionState
    place: int
    remaining: int
    remaining_size: int
    remaining_qos0: int
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

        If one of them is a reservation (`ChangeKind.RESERVED`), they and all before
        them also survive what may undo others, such as a loss of power, as far as the
        store is able to make sure of that. Otherwise packet identifiers might be used
        again that the broker still has.

        Args:
            changes: The changes: see `ChangeKind`.
        """
        ...

    async def load_queued(
        self, after: int, count: int
    ) -> list[tuple[int, StoredDelivery]]:
        """Return deliveries that wait, with their places, in the order of sending.

        Places are numbers which the store gives, in that order. A delivery keeps its
        place as long as it waits.

        Args:
            after: A place; only deliveries behind it are returned.
            count: How many to return at most.
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
