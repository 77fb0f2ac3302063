"""What leaves a broker with a store waits for it."""

import asyncio
from typing import Any

import pytest

from aiomqtt.broker.core.journal import Journal
from aiomqtt.broker.io.barrier import Barrier
from aiomqtt.net.held import HELD_LIMIT
from aiomqtt.properties import Properties
from aiomqtt.protocol.codec.encode import encode
from aiomqtt.protocol.packets import Publish
from aiomqtt.standard.tables import ProtocolVersion, Role
from aiomqtt.stores.broker import Record, SessionChanged
from aiomqtt.topic import Topic
from tests.broker.world import World
from tests.raw_scripts import turns, within

LASTING = Properties(session_expiry_interval=1000)


class Connection:
    """Writes down what is released."""

    def __init__(self, name: str, seen: list[str]) -> None:
        self.name = name
        self.seen = seen

    def write_held(self, data: list[bytes]) -> None:
        self.seen.append(f"{self.name} {b''.join(data).decode()}")

    def end_held(self) -> None:
        self.seen.append(f"{self.name} ends")

    def abort(self) -> None:
        self.seen.append(f"{self.name} is aborted")


class Broken(Connection):
    """It can't be written to."""

    def write_held(self, data: list[bytes]) -> None:
        raise RuntimeError


class Stored:
    """A barrier whose store waits until the test opens its gate.

    `options` are those of `World`.
    """

    def __init__(self, **options: Any) -> None:
        self.world = World(**options)
        journal = Journal()
        self.world.state.record(journal)
        self.client = self.world.client(client_id="me", properties=LASTING)
        journal.take()
        self.gate = asyncio.Event()
        self.error: Exception | None = None
        self.groups: list[list[Record]] = []
        self.failures: list[BaseException] = []
        self.full: list[bool] = []
        self.seen: list[str] = []
        self.one = Connection("one", self.seen)
        self.other = Connection("other", self.seen)
        self.barrier = Barrier(
            self.world.state,
            journal,
            self.commit,
            self.failures.append,
            self.full.append,
        )

    async def commit(self, records: list[Record]) -> None:
        self.groups.append(records)
        await self.gate.wait()
        if self.error is not None:
            raise self.error

    def change(self, payload: bytes = b"x") -> None:
        self.client.publish("t", payload, retain=True)

    async def settled(self) -> None:
        await within(self.barrier.close())


async def test_nothing_waits_if_nothing_has_changed():
    stored = Stored()
    stored.barrier.end_turn()
    stored.barrier.hold(stored.one, [b"a", b"b"])
    stored.barrier.hold(stored.one, None)
    assert stored.seen == []
    stored.barrier.end_turn()
    assert stored.seen == ["one ab", "one ends"]
    assert stored.groups == []


async def test_all_that_leaves_waits_in_order_for_what_has_changed():
    stored = Stored()
    barrier = stored.barrier
    stored.change()
    barrier.hold(stored.one, [b"a"])
    barrier.hold(stored.other, [b"b"])
    barrier.end_turn()
    await turns(3)
    # It depends on nothing, but must not overtake what came before it.
    barrier.hold(stored.one, None)
    barrier.end_turn()
    await turns(3)
    assert (stored.seen, len(stored.groups)) == ([], 1)
    stored.gate.set()
    await stored.settled()
    assert stored.seen == ["one a", "other b", "one ends"]
    assert len(stored.groups) == 1


async def test_if_it_is_not_stored_nothing_leaves():
    stored = Stored()
    stored.error = OSError("full")
    stored.gate.set()
    for data in (b"a", b"b"):
        stored.change()
        stored.barrier.hold(stored.one, [data])
        stored.barrier.end_turn()
        await turns(5)
    assert stored.failures == [stored.error]
    assert stored.seen == []
    await stored.settled()


async def test_a_connection_that_can_not_be_written_to_does_no_harm_to_others():
    stored = Stored()
    stored.gate.set()
    errors: list[dict[str, Any]] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: errors.append(context))
    broken = Broken("broken", stored.seen)
    stored.change()
    for connection in (stored.one, broken, stored.other):
        stored.barrier.hold(connection, [b"a"])
    stored.barrier.end_turn()
    await stored.settled()
    loop.set_exception_handler(None)
    assert stored.seen == ["one a", "broken is aborted", "other a"]
    assert isinstance(errors[0]["exception"], RuntimeError)


async def test_what_waits_is_limited():
    stored = Stored()
    barrier = stored.barrier
    piece = b"x" * (HELD_LIMIT // 4)
    for number in range(5):
        if number % 2:
            stored.change(piece)
        else:
            stored.change()
            barrier.hold(stored.one, [piece])
        barrier.end_turn()
        assert stored.full == ([] if number < 3 else [True])
    stored.gate.set()
    await stored.settled()
    assert stored.full == [True, False]


async def test_what_a_broker_stores_as_it_is_killed_does_not_leave():
    stored = Stored()
    for data in (b"a", b"b"):
        stored.change()
        stored.barrier.hold(stored.one, [data])
        stored.barrier.end_turn()
        await turns(3)
    stored.barrier.abandon()
    stored.gate.set()
    await stored.settled()
    assert (stored.seen, len(stored.groups)) == ([], 1)
    assert stored.failures == []


@pytest.mark.parametrize("is_closed", [False, True])
async def test_a_message_of_qos_2_is_stored_for_all_of_its_subscribers(is_closed):
    stored = Stored(work_per_turn=1000)
    world, client = stored.world, stored.client
    stored.gate.set()
    for number in range(190):
        one = world.client(client_id=f"{number}", properties=LASTING)
        one.subscribe("t", 2)
    stored.barrier.end_turn()
    await turns(5)
    stored.groups.clear()
    # The first ones use up most of the turn.
    client.send(5 * publish(0) + publish(2))
    stored.barrier.hold(stored.one, [b"a"])
    stored.barrier.end_turn()
    await turns(5)
    assert world.state.is_amid_message
    assert (stored.groups, stored.seen) == ([], [])
    if is_closed:
        await stored.settled()
    else:
        while world.state.is_amid_message:
            world.pass_time(0.01)
        stored.barrier.end_turn()
        await turns(5)
    (group,) = stored.groups
    added = [one for one in group if isinstance(one, SessionChanged) and one.changes]
    assert len(added) == 191
    assert stored.seen == ["one a"]


def publish(qos: int) -> bytes:
    packet = Publish(Topic("t"), b"x", qos, False, qos, None, False)
    return encode(packet, ProtocolVersion.V5, Role.CLIENT)
