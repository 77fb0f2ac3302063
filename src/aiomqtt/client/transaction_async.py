"""Transactions: rows of the program and its messages are committed together.

Like all coroutines that wait, these are not compiled.
"""

import time
from asyncio import ensure_future, get_running_loop
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self, TypeAlias

from aiomqtt.argument_checks import check_type
from aiomqtt.exceptions import MqttError
from aiomqtt.message import Message
from aiomqtt.payload import PayloadType
from aiomqtt.protocol.acknowledgements import AckTicket
from aiomqtt.protocol.delivery import Delivery, Origin
from aiomqtt.stores.sqlite.guard import Parameters
from aiomqtt.stores.sqlite.session_store import SQLiteSessionStore
from aiomqtt.stores.sqlite.transaction import SQLiteTransaction, StagedMessage
from aiomqtt.stores.times import epoch_offset
from aiomqtt.topic import TopicLike
from aiomqtt.types import PropertiesLike

from .outlast_async import limit, outlast
from .publication import to_publication
from .receipt_ids import check_unused, to_origin
from .waiters import UNWATCHED

if TYPE_CHECKING:
    from .durable_async import SessionKeeper, Turn

# The types of SQLite.
SQLValue: TypeAlias = str | int | float | bytes | None
# The seconds that a transaction may be open, unless the program says otherwise.
LIMIT: Final = 10.0


class Transaction:
    """One transaction in the file of a `SQLiteSession`, as ``async with`` enters it.

    It is committed when the block ends, and rolled back if the block raises an error
    or is cancelled. No change of the session is stored while it is open, so keep it
    short, and `publish` by its own method: to wait for `Client.publish` within it is to
    wait until it is over.
    """

    def __init__(
        self, keeper: "SessionKeeper", store: SQLiteSessionStore, timeout: float | None
    ) -> None:
        """Represent a transaction that has not begun."""
        self._keeper = keeper
        self._store = store
        self._limit = limit(timeout)
        # Valid within the block.
        self._open: SQLiteTransaction | None = None
        self._turn: Turn | None = None
        self._messages: list[Delivery] = []
        # The sum of their sizes, and the ids of their receipts.
        self._size = 0
        self._receipt_ids: set[str] = set()
        self._tickets: list[AckTicket] = []

    async def __aenter__(self) -> Self:
        """Begin; returns when no other transaction, and no commit, is in progress.

        Raises:
            SessionStoreError: The client that has the session is not entered, or the
                file can't be written.
            MqttError: This task is in a transaction already.
            TimeoutError: The time is over.
        """
        await self._limit.__aenter__()
        try:
            turn = await self._keeper.begin_transaction()
            try:
                self._open = await self._store.begin()
            except BaseException:
                turn.end()
                raise
            self._turn = turn
        except BaseException as error:
            await self._limit.__aexit__(type(error), error, error.__traceback__)
            raise
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        """Commit, or roll back after an error.

        When it returns without one, everything is durable, and the messages are on
        their way. A cancellation while it commits takes effect when that is done.

        Raises:
            SessionStoreError: It could not be committed: it is rolled back, and nothing
                was sent.
            sqlite3.Error: A constraint that is checked at the commit is violated: the
                same.
            TimeoutError: The block took longer than it may: the same.
        """
        # Only the block is limited: a commit that has begun ends.
        try:
            await self._limit.__aexit__(exc_type, exc, tb)
        except TimeoutError:
            await self._end(False)
            raise
        await self._end(exc is None)

    async def _end(self, commits: bool) -> None:
        opened, turn = self._opened(), self._turn
        assert turn is not None
        self._open = None
        ending = ensure_future(
            self._commit(opened, turn) if commits else opened.rollback()
        )
        # The thread ends what it has begun.
        cancellation = await outlast(ending)
        turn.end()
        failure = ending.exception()
        if cancellation is not None:
            raise cancellation
        if failure is not None:
            raise failure

    # --- what the program does ------------------------------------------------------

    async def execute(
        self, statement: str, parameters: Parameters = ()
    ) -> list[tuple[SQLValue, ...]]:
        """Execute one SQL statement, in the thread of the file.

        Args:
            statement: The statement. It may read and change all tables, except those
                named ``aiomqtt_*``, and neither begin nor end a transaction.
            parameters: The values of its parameters, as `sqlite3` takes them.

        Returns:
            The rows that it returns, such as those of SELECT and RETURNING.

        Raises:
            sqlite3.Error: It has failed.
            ValueError: It does what it may not.
            SessionStoreError: The file can't be written.
            MqttError: The transaction has ended.
        """
        executed = await self._opened().execute(statement, parameters)
        return executed.rows

    def publish(
        self,
        topic: TopicLike,
        payload: PayloadType = None,
        qos: int = 1,
        retain: bool = False,
        properties: PropertiesLike | None = None,
        *,
        id: str | None = None,  # noqa: A002 - the word that programs use
    ) -> None:
        """Publish a message when the transaction is committed, and only then.

        From the commit on it is in the session: it is sent, and sent again, until the
        broker has it, also by a later process.

        Args:
            topic: The topic name.
            payload: As for `Client.publish`.
            qos: 1 or 2.
            retain: Whether the broker retains the message.
            properties: The properties (5.0 only); ``None``: none.
            id: As for `Client.publish`.

        Raises:
            ValueError: An argument violates a rule.
            TypeError: An argument has a wrong type.
            MqttLimitError: The broker does not accept such a message.
            MqttCodeError: Too much is unfinished: see `Client.publish_nowait`.
            MqttError: The transaction has ended.
        """
        self._opened()
        name, data, qos, given = to_publication(topic, payload, qos, properties)
        if not qos:
            msg = "a message of a transaction needs QoS 1 or 2: QoS 0 may be lost"
            raise ValueError(msg)
        if not name:
            msg = "a message of a transaction needs a topic, also with a topic alias"
            raise ValueError(msg)
        engine = self._keeper.engine
        prepared = engine.prepare(name, data, qos, bool(retain), given)
        if id is not None:
            prepared.origin = to_origin(id, qos, engine.session.outbound, True)
            check_unused(id, self._receipt_ids)
        prepared.start_expiry(get_running_loop().time())
        self._stage(prepared)

    def acknowledge(self, message: Message) -> bool:
        """Acknowledge a message when the transaction is committed (MQTT 5.0 §4.3).

        It is for clients with ``ack="processed"`` or ``ack="manual"``. With QoS 2 the
        commit stores that the message was received, before PUBREC leaves: it is
        processed exactly once, also if the process is killed at any moment, as long as
        the broker keeps the session. With QoS 1 the broker may send it again.

        Args:
            message: The message, from this client.

        Returns:
            Whether to process it; ``False``: an earlier transaction has done so, and
            the broker has sent it again.

        Raises:
            ValueError: There is nothing to acknowledge, or several streams have it.
            TypeError: It is no message.
            MqttError: The transaction has ended.
        """
        self._opened()
        check_type("message", message, Message)
        ticket = message.ticket
        if not isinstance(ticket, AckTicket):
            msg = (
                "the message has no acknowledgement that a transaction could store: it"
                ' needs QoS 1 or 2, a client with ack="manual" or ack="processed", and'
                " at most one stream that gets it"
            )
            raise ValueError(msg)
        inbound = self._keeper.engine.session.inbound
        if not inbound.owns(ticket):
            msg = "the message is another client's: acknowledge it there"
            raise ValueError(msg)
        if ticket.is_decided or any(map(ticket.is_same, self._tickets)):
            return False
        if ticket.qos == 2 and inbound.has_received(ticket):
            return False
        self._tickets.append(ticket)
        return True

    def _stage(self, message: Delivery) -> None:
        """Keep a message until the commit.

        Raises:
            MqttCodeError: There is no room for it.
        """
        assert self._turn is not None
        count = len(self._messages)
        self._turn.check_room(message, count, self._size)
        self._messages.append(message)
        self._size += message.size
        if message.origin is not None:
            self._receipt_ids.add(message.origin.receipt_id)

    def _opened(self) -> SQLiteTransaction:
        if self._open is None:
            raise MqttError("The transaction is not open: enter it with `async with`")
        return self._open

    # --- the commit -------------------------------------------------------------------

    async def _commit(self, opened: SQLiteTransaction, turn: "Turn") -> None:
        session = self._keeper.engine.session
        connection = turn.hold()
        received: list[int] = []
        try:
            for receipt_id in self._receipt_ids:
                # Another task may have used it meanwhile.
                check_unused(receipt_id, session.outbound.receipt_ids)
            for message in self._messages:
                await _store(opened, message)
            for ticket in self._tickets:
                if ticket.qos == 2 and session.inbound.receive(ticket):
                    received.append(ticket.packet_id)
                    await opened.receive(ticket.packet_id)
            await opened.commit()
        except BaseException:
            turn.undo(received, connection)
            turn.release()
            await opened.rollback()
            raise
        turn.release()
        turn.follow(self._messages, self._tickets)


async def _store(opened: SQLiteTransaction, message: Delivery) -> None:
    """Store a message, which then knows its number."""
    expires = message.expires
    receipt_id = "" if message.origin is None else message.origin.receipt_id
    number = await opened.stage(
        StagedMessage(
            message.topic,
            message.payload,
            message.qos,
            message.retain,
            message.properties,
            None if expires is None else expires + epoch_offset(),
            receipt_id,
            time.time(),
        )
    )
    message.origin = Origin(receipt_id, number)
    message.observer = UNWATCHED
