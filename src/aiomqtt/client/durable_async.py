"""Durable sessions: what a client keeps in a store, so that it survives the process.

Like all coroutines that wait, these are not compiled.
"""

import asyncio
from typing import TYPE_CHECKING, Any

from aiomqtt.argument_checks import check_type
from aiomqtt.exceptions import MqttCodeError, MqttError
from aiomqtt.net.commits import CommitQueue
from aiomqtt.net.driver import Driver
from aiomqtt.protocol.changes import Change, StoredDelivery, shift_expiry
from aiomqtt.protocol.delivery import Delivery
from aiomqtt.protocol.engine import Engine
from aiomqtt.stores.base import SessionStore, SessionStoreError, StoredReceipt
from aiomqtt.stores.times import epoch_offset, to_loop_time

from .pages_async import FIRST_PAGE, Pages
from .waiters import UNWATCHED

if TYPE_CHECKING:
    from aiomqtt.protocol.acknowledgements import AckTicket

    from .calls import Calls


class DurableSession:
    """A session that is kept in a store: pass it to one `Client` as its ``session``.

    Everything that the standard calls the client's session state (MQTT 5.0 §4.1) is
    stored before the packets leave that depend on it, and so are the messages that wait
    for a connection, the subscriptions and the client identifier. So it goes on where
    it was when the process was killed.

    Args:
        store: Where the session is kept.

    Raises:
        TypeError: It is no `SessionStore`.
    """

    def __init__(self, store: SessionStore) -> None:
        if not isinstance(store, SessionStore):
            msg = f"store must be a SessionStore, not {type(store).__name__}"
            raise TypeError(msg)
        # Valid as long as this object.
        self.store: SessionStore = store
        # Valid from entering to leaving the client; a store takes one call at a time.
        self._turn: asyncio.Lock | None = None
        self._commits: CommitQueue[Change] | None = None
        self._keeper: SessionKeeper | None = None

    async def receipt(self, receipt_id: str) -> StoredReceipt | None:
        """Return how far the message has come that was published with this ``id``.

        Args:
            receipt_id: The ``id``, also one of an earlier process.

        Returns:
            The receipt; ``None``: there is none, or it was not kept for so long.

        Raises:
            SessionStoreError: The client is not entered, or the store failed.
            TypeError: It is no string.
        """
        check_type("receipt_id", receipt_id, str)
        async with await self._enter():
            return await self.store.find_receipt(receipt_id)

    async def receipts(self) -> list[StoredReceipt]:
        """Return the receipts of all messages with an ``id``, the oldest first.

        Raises:
            SessionStoreError: The client is not entered, or the store failed.
        """
        async with await self._enter():
            return await self.store.list_receipts()

    async def _enter(self) -> asyncio.Lock:
        """Return the lock of the store when all that has happened so far is in it."""
        if self._turn is None:
            raise not_open()
        self._check_not_in_transaction()
        turn = self._turn
        if self._commits is not None:
            await self._commits.stored()
        return turn

    def _check_not_in_transaction(self) -> None:
        keeper = self._keeper
        if keeper is not None and keeper.transaction_task is asyncio.current_task():
            msg = (
                "This task is in a transaction of the session already: what it calls"
                " would wait until that is over"
            )
            raise MqttError(msg)


class SessionKeeper:
    """Keeps the session of one client in its store, from entering to leaving it.

    Args:
        session: The session.
        engine: The engine of the client.
    """

    def __init__(self, session: DurableSession, engine: Engine) -> None:
        # Valid as long as the client.
        self._session = session
        self.engine: Engine = engine
        # The number of times that the session was opened, when we were the last.
        self._generation = -1
        self._pages = Pages(session.store, engine.session.outbound)
        # Valid from entering to leaving.
        self._turn = asyncio.Lock()
        self._is_open = False
        self._calls: Calls | None = None
        # Whether its event loop was closed while it was open.
        self._is_abandoned = False
        # The task that is in a transaction.
        self.transaction_task: asyncio.Task[Any] | None = None

    async def open(self) -> bool:
        """Open the session, and continue from what is stored.

        Returns:
            Whether it was read; False: nobody else has had it since the last time.

        Raises:
            SessionStoreError: It can't be opened. Nothing has changed.
        """
        session, engine = self._session, self.engine
        if session._turn is not None:  # noqa: SLF001 - the two are one
            msg = "The session belongs to another client, which is entered"
            raise SessionStoreError(msg)
        self._turn = session._turn = asyncio.Lock()  # noqa: SLF001
        session._keeper = self  # noqa: SLF001
        try:
            if self._is_abandoned:
                await session.store.close()
                self._is_abandoned = False
            opened = await session.store.open(engine.settings.client_id, FIRST_PAGE)
        except BaseException:
            await self._close()
            raise
        self._is_open = True
        # Unless someone else had it meanwhile, we know the session better: callers may
        # still have receipts.
        is_known = opened.generation == self._generation + 1
        if not is_known:
            to_loop_time(opened.state.deliveries.values())
            engine.restore(
                opened.state,
                opened.remaining,
                opened.remaining_size,
                opened.remaining_qos0,
            )
            self._pages.restart(opened)
        self._generation = opened.generation
        return not is_known

    async def load(self) -> list[Delivery]:
        """Read more of the messages that wait, if few of those that were read are left.

        Returns:
            Them.

        Raises:
            SessionStoreError: They can't be read. The session is closed.
        """
        try:
            async with self._turn:
                page = await self._pages.read()
        except BaseException:
            self._generation = -1
            await self.close()
            raise
        return self._take_over(page)

    def _take_over(self, page: list[StoredDelivery]) -> list[Delivery]:
        # The session may have ended meanwhile.
        if not page or not self.engine.session.outbound.behind:
            return []
        to_loop_time(page)
        return self.engine.load_behind(page, asyncio.get_running_loop().time())

    def follow(self, calls: "Calls") -> None:
        """Let the session wait for the commits of these calls before it is read."""
        self._calls = calls
        self._session._commits = calls.commits  # noqa: SLF001

    async def commit(self, changes: list[Change]) -> None:
        """Store changes; returns when they are durable.

        Raises:
            SessionStoreError: They could not be stored.
        """
        shift_expiry(changes, epoch_offset())
        try:
            async with self._turn:
                if changes:
                    await self._session.store.commit(changes)
                page = await self._pages.read()
        except BaseException:
            # What the engine knows is not what is stored.
            self._generation = -1
            raise
        if page:
            self._go_on(page)

    def _go_on(self, page: list[StoredDelivery]) -> None:
        """Send the messages that were read."""
        loaded, offline = self._take_over(page), self._entered_calls().offline
        if offline is not None:
            offline.take_over(loaded)
        self._entered_calls().flush()

    async def close(self) -> None:
        """Close the session; harmless if it is not open."""
        if self._is_open:
            self._is_open = False
            try:
                await self._free_reserved()
            finally:
                await self._close()

    async def _free_reserved(self) -> None:
        """Store that no packet identifier is in use that the store does not know."""
        session = self.engine.session
        session.outbound.free_reserved()
        # In a transaction of the program nothing can be stored, and after a failure
        # nothing must be. Then the identifiers are in doubt when it is opened again.
        if session.has_changes and self._generation > 0 and not self._turn.locked():
            changes = session.take_changes()
            shift_expiry(changes, epoch_offset())
            try:
                await self._session.store.commit(changes)
            except BaseException as error:
                self._generation = -1
                if not isinstance(error, SessionStoreError):
                    raise

    async def _close(self) -> None:
        try:
            await self._session.store.close()
        finally:
            self._forget()

    def _forget(self) -> None:
        self._calls = self.transaction_task = None
        session = self._session
        session._turn = session._commits = session._keeper = None  # noqa: SLF001

    def abandon(self) -> None:
        """Forget the session: the event loop was closed while it was open."""
        self._is_abandoned = self._is_open
        self._is_open = False
        self._generation = -1
        self._forget()

    # --- transactions of the program ------------------------------------------------

    async def begin_transaction(self) -> "Turn":
        """Wait for the turn of a transaction, and return it.

        Raises:
            SessionStoreError: The session is not open.
            MqttError: This task is in a transaction already.
        """
        self.check_not_in_transaction()
        lock = self._turn
        await lock.acquire()
        calls = self._calls
        if not self._is_open or lock is not self._turn or calls is None:
            lock.release()
            raise not_open()
        self.transaction_task = asyncio.current_task()
        return Turn(self, lock, calls)

    def check_not_in_transaction(self) -> None:
        """Raise MqttError if this task is in a transaction, which it would wait for."""
        self._session._check_not_in_transaction()  # noqa: SLF001

    def end_transaction(self, lock: asyncio.Lock) -> None:
        """Let others have their turn."""
        if lock is self._turn:
            self.transaction_task = None
        lock.release()

    def has_open(self, lock: asyncio.Lock) -> bool:
        """Whether the session was not closed since this was its turn."""
        return self._is_open and lock is self._turn

    def _entered_calls(self) -> "Calls":
        if self._calls is None:
            raise not_open()
        return self._calls


class Turn:
    """The turn of one transaction: until `end`, no change of the session is stored.

    The client may be left meanwhile, and even be entered again.

    Args:
        keeper: The session.
        lock: It is held.
        calls: The calls of the client when the turn began.
    """

    def __init__(
        self, keeper: SessionKeeper, lock: asyncio.Lock, calls: "Calls"
    ) -> None:
        self._keeper = keeper
        self._lock = lock
        self.calls: Calls = calls

    def end(self) -> None:
        """Let others have their turn."""
        self._keeper.end_transaction(self._lock)

    def check_room(self, message: Delivery, count: int, size: int) -> None:
        """Check that a message may be published with the transaction.

        Args:
            message: The message, as `Engine.prepare` returned it.
            count: How many others are.
            size: The sum of their sizes.

        Raises:
            MqttCodeError: There is no room for it.
        """
        self._keeper.engine.check_unfinished(message.qos, count)
        calls, offline = self.calls, self.calls.offline
        if offline is None or not calls.is_waiting_for_connection:
            try:
                calls.check_unsent(count, size)
            except MqttCodeError:
                # There may be many from the time without a connection.
                if offline is None:
                    raise
            else:
                return
        offline.check_room(count + 1, size + message.size)

    def hold(self) -> Driver:
        """Let everything wait for a commit that begins; return the connection."""
        if self.calls.commits is not None:
            self.calls.commits.is_held = True
        return self.calls.driver

    def release(self) -> None:
        """Let everything go on after a commit."""
        if self.calls.commits is not None:
            self.calls.commits.is_held = False

    def undo(self, packet_ids: list[int], connection: Driver) -> None:
        """Take back what a commit that failed was to store as received.

        Args:
            packet_ids: The packet identifiers.
            connection: The connection when the commit began. A later one may have
                answered repetitions of these messages, which has not left: it is cut.
        """
        for packet_id in packet_ids:
            self._keeper.engine.session.inbound.take_back(packet_id)
        driver = self.calls.driver
        if packet_ids and driver is not connection:
            driver.abort()

    def follow(self, messages: list[Delivery], tickets: list["AckTicket"]) -> None:
        """Send what was committed: the messages and the acknowledgements."""
        if not self._keeper.has_open(self._lock):
            # The messages are read from the store when the client is entered again.
            return
        engine, now = self._keeper.engine, asyncio.get_running_loop().time()
        for message in messages:
            self.calls.observe(message, UNWATCHED)
            engine.accept(message, now)
        if self.calls.offline is not None and self.calls.is_waiting_for_connection:
            self.calls.offline.on_enqueued(messages)
        for ticket in tickets:
            engine.session.inbound.finish(ticket)
        self.calls.flush()


def not_open() -> SessionStoreError:
    """Return the error of a call that needs an entered client."""
    return SessionStoreError(
        "The session is not open: enter the client that has it first"
    )
