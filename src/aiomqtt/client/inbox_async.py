"""Transactions in databases of the program, which record the messages it processed.

Like all coroutines that wait, these are not compiled.
"""

import asyncio
import secrets
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self

from aiomqtt.exceptions import MqttError
from aiomqtt.protocol.acknowledgements import AckTicket
from aiomqtt.protocol.engine import Engine
from aiomqtt.stores.base import SessionStoreError

from .databases_async import Database, Parameters, Rows, to_database
from .outlast_async import complete, limit

if TYPE_CHECKING:
    from .calls import Calls

# The statement that creates the table in a database of the program.
PROCESSED_TABLE: Final = """\
CREATE TABLE IF NOT EXISTS aiomqtt_processed (
    client_id VARCHAR(255) NOT NULL,
    packet_id INTEGER NOT NULL,
    flow VARCHAR(32) NOT NULL,
    PRIMARY KEY (client_id, packet_id)
)"""
_FIND: Final = (
    "SELECT packet_id FROM aiomqtt_processed"
    " WHERE client_id = {} AND packet_id = {} AND flow = {}"
)
_DELETE: Final = "DELETE FROM aiomqtt_processed WHERE client_id = {} AND packet_id = {}"
_INSERT: Final = (
    "INSERT INTO aiomqtt_processed (client_id, packet_id, flow) VALUES ({}, {}, {})"
)


class MessageTransaction:
    """One transaction in a database of the program, as ``async with`` enters it.

    It is committed when the block ends, and rolled back if the block raises an error
    or is cancelled. `Message.transaction` creates it.

    Attributes:
        repeated (bool): Whether an earlier transaction has processed the message, and
            the broker has sent it again: do nothing then. Always ``False`` at QoS 1.
    """

    def __init__(
        self,
        inbox: "Inbox",
        ticket: AckTicket,
        database: Database,
        timeout: float | None,
    ) -> None:
        """Represent a transaction that has not begun."""
        self._inbox = inbox
        self._ticket = ticket
        self._database = database
        self._limit = limit(timeout)
        # Valid within the block.
        self._is_open = False
        self.repeated: bool = False

    async def __aenter__(self) -> Self:
        """Begin; returns when no other transaction with this message is in progress.

        Raises:
            ValueError: The connection is in a transaction already, or commits each
                statement by itself; or that of sqlite3 belongs to another thread.
            MqttError: The message is acknowledged already, or the connection to the
                broker on which it came has ended.
            SessionStoreError: The session can't be stored.
            TimeoutError: The time is over.
            Exception: What the driver of the database raises, for example because the
                table does not exist.
        """
        await self._limit.__aenter__()
        try:
            await self._begin()
        except BaseException as error:
            await self._limit.__aexit__(type(error), error, error.__traceback__)
            raise
        return self

    async def _begin(self) -> None:
        await self._inbox.take_turn(self._ticket)
        try:
            name = await self._inbox.name(self._ticket)
            await self._database.begin()
            try:
                self.repeated = name is not None and not await self._record(name)
            except BaseException:
                await complete(self._database.end(False))
                raise
        except BaseException:
            self._inbox.end_turn(self._ticket)
            raise
        self._is_open = True

    async def _record(self, name: str) -> bool:
        """Record that the message is processed; return whether it was not yet."""
        key = (self._inbox.client_id, self._ticket.packet_id)
        if await self._run(_FIND, *key, name):
            return False
        await self._run(_DELETE, *key)
        await self._run(_INSERT, *key, name)
        return True

    async def _run(self, statement: str, *values: object) -> Rows:
        database = self._database
        markers = [database.marker(number) for number in range(1, len(values) + 1)]
        text = statement.format(*markers)
        return await database.execute(text, database.named(values))

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        """Commit and acknowledge the message, or roll back after an error.

        A cancellation while it commits takes effect when that is done.

        Raises:
            TimeoutError: The block took longer than it may: it is rolled back.
            Exception: What the driver of the database raises if it can't be committed.
                The message is not acknowledged. If the connection was lost in that
                moment, it may have been committed: another transaction with the
                message, or with its repetition, tells.
        """
        # Only the block is limited: a commit that has begun ends.
        try:
            await self._limit.__aexit__(exc_type, exc, tb)
        except TimeoutError:
            await self._end(False)
            raise
        await self._end(exc is None)

    async def _end(self, commits: bool) -> None:
        self._is_open = False
        try:
            cancellation = await complete(self._database.end(commits))
        finally:
            self._inbox.end_turn(self._ticket)
        if commits:
            self._ticket.finish()
        if cancellation is not None:
            raise cancellation

    async def execute(self, statement: str, parameters: Parameters = ()) -> Rows:
        """Execute one SQL statement, without blocking the event loop.

        With a connection of DB-API it runs in a thread, and a cancellation takes effect
        when it has ended. Neither begin nor end a transaction with it. The program may
        also use its connection directly.

        Args:
            statement: The statement, with parameters in the style of the driver.
            parameters: Their values.

        Returns:
            The rows that it returns, as the driver makes them.

        Raises:
            MqttError: The transaction is not open.
            Exception: What the driver of the database raises.
        """
        if not self._is_open:
            raise MqttError("The transaction is not open: enter it with `async with`")
        return await self._database.execute(statement, parameters)


class Inbox:
    """Lets databases of the program record which messages it has processed.

    Args:
        calls: The calls of the client.
        engine: Its engine.
    """

    def __init__(self, calls: "Calls", engine: Engine) -> None:
        # All is valid from entering to leaving.
        self._calls = calls
        self._engine = engine
        # The messages in a transaction, by QoS and packet identifier.
        self._turns: dict[tuple[int, int], asyncio.Future[None]] = {}

    @property
    def client_id(self) -> str:
        """The client identifier."""
        return self._engine.session.client_id

    def begin(
        self, ticket: AckTicket, connection: object, timeout: float | None
    ) -> MessageTransaction:
        """Return a transaction with a message: see `Message.transaction`."""
        ticket.check(0)
        database = to_database(connection)
        if ticket.qos == 2 and self._calls.commits is None:
            msg = (
                "a transaction with a message of QoS 2 needs a client with session=,"
                " such as aiomqtt.SQLiteSession: without it, a repetition after a"
                " restart can't be told from another message"
            )
            raise ValueError(msg)
        return MessageTransaction(self, ticket, database, timeout)

    async def take_turn(self, ticket: AckTicket) -> None:
        """Wait until no other transaction has the message.

        Raises:
            MqttError: The message can't be acknowledged any more.
        """
        key = (ticket.qos, ticket.packet_id)
        while key in self._turns:
            await asyncio.wait((self._turns[key],))
        ticket.check(0)
        self._turns[key] = asyncio.get_running_loop().create_future()

    def end_turn(self, ticket: AckTicket) -> None:
        """Let other transactions have the message."""
        self._turns.pop((ticket.qos, ticket.packet_id)).set_result(None)

    async def name(self, ticket: AckTicket) -> str | None:
        """Return the name of the flow of a message; None: QoS 1 has none.

        When it returns, the name is stored.

        Raises:
            SessionStoreError: It can't be stored.
            MqttError: The connection has ended meanwhile.
        """
        if ticket.qos != 2:
            return None
        calls, commits = self._calls, self._calls.commits
        name = self._engine.session.inbound.name_flow(ticket, secrets.token_hex(16))
        calls.flush()
        assert commits is not None
        if not await commits.stored():
            raise SessionStoreError("The session could not be stored")
        ticket.check(0)
        return name
