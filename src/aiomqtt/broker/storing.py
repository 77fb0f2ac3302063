"""The life of a broker's store, from its start to its end."""

from collections.abc import Iterable

from aiomqtt.log import SafeLogger
from aiomqtt.protocol.changes import shift_expiry
from aiomqtt.stores.base import SessionStoreError, to_store_error
from aiomqtt.stores.broker import (
    BrokerStore,
    Record,
    RetainedChanged,
    SessionAttributes,
    SessionChanged,
    StoredMessage,
    StoredSession,
)
from aiomqtt.stores.times import epoch_offset, loop_time, to_loop_time

from .core.journal import Journal
from .core.message import MessagePool
from .core.state import BrokerState
from .io.barrier import Barrier
from .io.connection_set import ConnectionSet


class Storing:
    """Loads the state of a broker from its store, and keeps the store up to date.

    Args:
        store: The store.
        logger: The broker's logger.

    Attributes:
        error: Why nothing is stored any more; None: all is.

    Raises:
        TypeError: It is no store of a broker.
    """

    def __init__(self, store: object, logger: SafeLogger) -> None:
        # A class has the methods, too.
        if isinstance(store, type) or not isinstance(store, BrokerStore):
            msg = (
                "store must be a store of a broker, such as aiomqtt.SQLiteStore(path),"
                f" not {store!r}"
            )
            raise TypeError(msg)
        self._store: BrokerStore = store
        self._logger = logger
        self._journal = Journal()
        # Whether the store was closed without waiting for it.
        self._is_abandoned = False
        # Valid while the broker runs.
        self._barrier: Barrier | None = None
        self.error: SessionStoreError | None = None

    async def load(self, state: BrokerState) -> None:
        """Open the store, and load all that it has into a new state.

        Raises:
            SessionStoreError: It can't be used; nothing in it has changed.
        """
        self._is_abandoned = False
        stored = await self._store.open()
        self.error = None
        self._journal = Journal()
        state.record(self._journal)
        try:
            for message in stored.retained:
                state.restore_retained(_message_to_loop_time(message))
            pool = MessagePool()
            to_loop_time(
                delivery
                for session in stored.sessions
                for delivery in session.state.deliveries.values()
            )
            for session in stored.sessions:
                attributes = _attributes_to_loop_time(session.attributes)
                state.restore(StoredSession(session.state, attributes), pool)
        except BaseException:
            await self._store.close()
            raise
        if stored.sessions or stored.retained:
            self._logger.info(
                "Restored %d sessions and %d retained messages.",
                len(stored.sessions),
                len(stored.retained),
            )

    def begin(self, connection_set: ConnectionSet) -> None:
        """Store what the connections of a broker change, from now on."""

        def on_failure(error: BaseException) -> None:
            self.error = to_store_error(error, "state of the broker")
            self._logger.error("No client is served any more: %s", self.error)
            connection_set.abort()

        self._barrier = connection_set.barrier = Barrier(
            connection_set.state,
            self._journal,
            self._commit,
            on_failure,
            connection_set.hold_up,
        )

    async def _commit(self, records: list[Record]) -> None:
        offset = epoch_offset()
        await self._store.commit(list(_in_epoch(records, offset)))

    async def close(self) -> None:
        """Store what is left, and close the store."""
        barrier, self._barrier = self._barrier, None
        try:
            if barrier is not None:
                await barrier.close()
        finally:
            await self._store.close()

    def abandon(self) -> None:
        """Close the store as in a crash: what waits to be stored is lost."""
        barrier, self._barrier = self._barrier, None
        if barrier is not None:
            barrier.abandon()
        self._store.abandon()
        self._is_abandoned = True

    async def settled(self) -> None:
        """Wait, after `abandon`, until the store is closed."""
        if self._is_abandoned:
            self._is_abandoned = False
            await self._store.close()

    def check(self) -> None:
        """Raise SessionStoreError if the store has failed."""
        if self.error is not None:
            raise SessionStoreError(str(self.error)) from self.error


def _in_epoch(records: list[Record], offset: float) -> Iterable[Record]:
    """Yield records with their times in seconds since the epoch."""
    for record in records:
        if isinstance(record, SessionChanged):
            shift_expiry(record.changes, offset)
            attributes = record.attributes
            if attributes is not None:
                attributes = attributes._replace(
                    ends=_add(attributes.ends, offset),
                    will_due=_add(attributes.will_due, offset),
                )
            yield record._replace(attributes=attributes)
        elif isinstance(record, RetainedChanged) and record.message is not None:
            message = record.message
            expires = _add(message.expires, offset)
            yield record._replace(message=message._replace(expires=expires))
        else:
            yield record


def _add(when: float | None, offset: float) -> float | None:
    return None if when is None else when + offset


def _message_to_loop_time(message: StoredMessage) -> StoredMessage:
    expires, properties = message.expires, message.properties
    if expires is None or properties is None:
        return message
    interval = properties.message_expiry_interval or 0
    return message._replace(expires=loop_time(expires, interval))


def _attributes_to_loop_time(attributes: SessionAttributes) -> SessionAttributes:
    ends, due, expiry = attributes.ends, attributes.will_due, attributes.expiry
    return attributes._replace(
        ends=None if ends is None else loop_time(ends, expiry),
        # It is no later than the end of the session; its delay limits it, too.
        will_due=None if due is None else loop_time(due, expiry),
    )
