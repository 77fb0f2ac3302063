"""The programs under test, each in a process that ends at any moment.

The publisher numbers its messages, and goes on after the last number that its session
knows. The worker writes each message into a table of its own, in the transaction that
acknowledges it.
"""

import asyncio
import importlib
import os
import pkgutil
import resource
import signal
import sqlite3
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple

import aiomqtt
import aiomqtt.client
from aiomqtt.client.transaction_async import SQLValue
from aiomqtt.stores.sqlite.file import Durability
from aiomqtt.stores.sqlite.session_store import SQLiteSessionStore
from tests.rights import drop_rights

from . import recording
from .journal import Journal, read_journal
from .points import CancelledAt, Point
from .wrong_stores import WRONG_STORES

# The exit codes: after a cancellation; if the store was refused, or failed.
CANCELLED: Final = 7
REFUSED: Final = 3
# So many messages of the publisher are in flight at most.
WINDOW: Final = 20
# A process that hangs ends after so many seconds.
LIMIT: Final = 60
# The seconds in which a message would come twice.
LINGER: Final = 0.1
NUMBER: Final = 8  # bytes
# The Message Expiry Interval where the clock is set, which is less than a day.
EXPIRY: Final = 86_400  # seconds

READINGS: Final = "CREATE TABLE IF NOT EXISTS readings (number INTEGER)"
DONE: Final = "CREATE TABLE IF NOT EXISTS done (qos INTEGER, number INTEGER)"


class Order(NamedTuple):
    """What a process does, and how it ends.

    Attributes:
        role: "publisher" or "worker".
        directory: Where its file and its journal are.
        messages: The publisher publishes so many more; the worker ends when its table
            has so many, or those with the last two numbers: some may be missing.
        how: What happens at step `at` of its store: "kill", "cancel"; "full": its files
            can have `at` bytes; "cancel entering": its task is cancelled at the point
            of this number (see `Point.decode`) while it enters and leaves the client;
            "count" and "": nothing.
        store: The name of a wrong store; "": the real one.
        clock: By how many seconds the clock is wrong.
        is_nobody: Whether the process gives up the rights of root.
        durability: That of its session.
        is_recorded: Whether its writes are recorded, for a loss of power.
    """

    role: str
    port: int
    version: int
    name: str
    directory: Path
    messages: int
    how: str = ""
    at: int = 0
    store: str = ""
    clock: float = 0.0
    is_nobody: bool = False
    durability: Durability = "normal"
    is_recorded: bool = False

    @property
    def path(self) -> Path:
        return self.directory / "session.db"

    @property
    def journal(self) -> Path:
        return self.directory / "journal"

    @property
    def steps(self) -> Path:
        """The file that tells how many steps were counted."""
        return self.directory / "steps"

    @property
    def reached(self) -> Path:
        """The file that tells that a process has come to its step."""
        return self.directory / "reached"


def run(order: Order) -> None:
    """Do it, in this process."""
    signal.alarm(LIMIT)
    # Opened with all rights.
    refusals = (order.directory / "refusals").open("a")
    if order.is_recorded:
        recording.begin(order.directory)
    if order.is_nobody:
        import_all()
        drop_rights()
    if order.clock:
        now = time.time
        time.time = lambda: now() + order.clock
    try:
        asyncio.run(run_program(order))
    except asyncio.CancelledError:
        sys.exit(CANCELLED)
    except aiomqtt.MqttError as error:
        cause = find_refusal(error)
        if cause is None:
            raise
        refusals.write(f"{cause}\n")
        refusals.close()
        sys.exit(REFUSED)


def import_all() -> None:
    """Import what a client needs later: nobody may not read where root has it."""
    for module in pkgutil.iter_modules(aiomqtt.client.__path__, "aiomqtt.client."):
        importlib.import_module(module.name)


def find_refusal(error: BaseException | None) -> BaseException | None:
    """Return why the store has failed, if that is what an error comes from."""
    while error is not None and not isinstance(error, aiomqtt.SessionStoreError):
        error = error.__cause__
    return error


async def run_program(order: Order) -> None:
    session = aiomqtt.SQLiteSession(order.path, durability=order.durability)
    if order.store:
        store = WRONG_STORES[order.store](order.path)
        session.store = session._file = store
    session._file.on_step(make_step(order, session._file))
    client = aiomqtt.Client(
        "127.0.0.1",
        order.port,
        identifier=order.name,
        protocol=order.version,
        session=session,
        ack="manual",
        reconnect=aiomqtt.Reconnect(min_delay=0.01, max_delay=0.1, initial=True),
        timeout=LIMIT,
    )
    if order.how == "cancel entering":
        await cancel_entering(order, client)
    async with client:
        await PROGRAMS[order.role](order, client, session)


async def cancel_entering(order: Order, client: aiomqtt.Client) -> None:
    """Enter and leave the client, and cancel that at a point.

    Raises:
        CancelledError: The process does not enter the client again.
    """

    async def enter_and_leave() -> None:
        async with client:
            await client.connected()

    point = Point.decode(order.at)
    try:
        await CancelledAt(enter_and_leave(), point, order.reached.touch)
    except asyncio.CancelledError:
        if not point.is_entered_again:
            raise


def make_step(order: Order, store: SQLiteSessionStore) -> Callable[[str], None]:
    """Return what ends this process at a step of the store."""
    task, loop = asyncio.current_task(), asyncio.get_running_loop()
    assert task is not None
    count = 0

    def step(_: str) -> None:
        nonlocal count
        count += 1
        if order.how == "count":
            order.steps.write_text(str(count))
        if count != order.at:
            return
        order.reached.touch()
        if order.how == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        elif order.how == "cancel":
            loop.call_soon_threadsafe(task.cancel)

    if order.how == "full":
        # Python ignores the signal, so writing fails with EFBIG.
        resource.setrlimit(resource.RLIMIT_FSIZE, (order.at, resource.RLIM_INFINITY))
    return step


# --- the publisher --------------------------------------------------------------------


async def publish(
    order: Order, client: aiomqtt.Client, session: aiomqtt.SQLiteSession
) -> None:
    """Publish at QoS 1 and 2: without waiting, in transactions, and waiting."""
    told = read_journal(order.journal)["promised"]
    journal = Journal(order.journal)
    known = {int(receipt.id) for receipt in await session.receipts()}
    for number in {*told} - known:
        journal.note("forgotten", number)
    properties = None
    if order.clock and order.version == 5:
        properties = aiomqtt.Properties(message_expiry_interval=EXPIRY)
    waiting: list[tuple[int, aiomqtt.Receipt]] = []
    first = max(known, default=-1) + 1
    for number in range(first, first + order.messages):
        topic, qos = topic_of(order.name, number), qos_of(number)
        payload = number.to_bytes(NUMBER)
        await client.connected()
        if way_of(number) == "transaction":
            # What was published before is stored before.
            await session.receipt("")
            async with session.transaction() as tx:
                await tx.execute(READINGS)
                await tx.execute("INSERT INTO readings VALUES (?)", (number,))
                tx.publish(topic, payload, qos, properties=properties, id=str(number))
            journal.note("promised", number)
        elif way_of(number) == "wait":
            await client.publish(
                topic, payload, qos, properties=properties, id=str(number)
            )
            journal.note("promised", number)
        else:
            if len(waiting) >= WINDOW:
                await settle(journal, *waiting.pop(0))
            # The connection may have been lost while it settled.
            receipt = client.publish_nowait(
                *(topic, payload, qos),
                properties=properties,
                offline="queue",
                id=str(number),
            )
            waiting.append((number, receipt))
    for each in waiting:
        await settle(journal, *each)


async def settle(journal: Journal, number: int, receipt: aiomqtt.Receipt) -> None:
    await receipt
    journal.note("promised", number)


def qos_of(number: int) -> int:
    return 1 + number % 2


def topic_of(name: str, number: int) -> str:
    return f"campaign/{name}/{qos_of(number)}"


def way_of(number: int) -> str:
    return ("nowait", "nowait", "transaction", "wait")[number // 2 % 4]


# --- the worker -----------------------------------------------------------------------


async def work(
    order: Order, client: aiomqtt.Client, session: aiomqtt.SQLiteSession
) -> None:
    """Process each message once, until all are in the table."""
    journal = Journal(order.journal)
    await client.subscribe(f"work/{order.name}/+", qos=2)
    async with session.transaction() as tx:
        await tx.execute(DONE)
        done = {*await tx.execute("SELECT qos, number FROM done")}
    messages = aiter(client.messages)
    last = {(qos_of(number), number) for number in range(order.messages)[-2:]}
    while len(done) < order.messages and not (last and last <= done):
        await process(session, journal, await anext(messages), done)
    try:
        async with asyncio.timeout(LINGER):
            while True:
                await process(session, journal, await anext(messages), done)
    except TimeoutError:
        return


async def process(
    session: aiomqtt.SQLiteSession,
    journal: Journal,
    message: aiomqtt.Message,
    done: set[tuple[SQLValue, ...]],
) -> None:
    assert isinstance(message.payload, bytes)
    number = int.from_bytes(message.payload)
    row = message.qos, number
    async with session.transaction() as tx:
        if tx.acknowledge(message):
            await tx.execute("INSERT INTO done VALUES (?, ?)", row)
    done.add(row)
    journal.note(f"processed-{message.qos}", number)


PROGRAMS: Final = {"publisher": publish, "worker": work}


def read_rows(path: Path, query: str) -> list[tuple[int, ...]]:
    """Return the rows of a program's table; none: it has not been created."""
    connection = sqlite3.connect(path)
    try:
        return connection.execute(query).fetchall()
    except sqlite3.OperationalError as error:
        if "no such table" in str(error):
            return []
        raise
    finally:
        connection.close()
