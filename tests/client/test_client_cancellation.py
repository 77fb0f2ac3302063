"""Cancel every public await at every step of the loop: need 4, traps 1 and 2.

Whatever the step: no message is lost, no packet identifier and no quota leaks, no
error but CancelledError comes out, nothing complains, and the client goes on.
"""

import asyncio

import pytest

from aiomqtt import MqttError
from tests.peer import PUBACK, PUBCOMP, PUBLISH, PUBREC, PUBREL, SUBSCRIBE, serve
from tests.raw_scripts import (
    accept,
    ack_bytes,
    cancelled_after,
    expect_publish,
    gone,
    goodbye,
    lasting,
    new_client,
    polite,
    publish_bytes,
    resume_reading,
    serve_politely,
    stop_reading,
    turns,
    within,
)
from tests.raw_scripts import answer as reply

# The broker that the tests talk to lets this few be in flight: a leak shows at once.
QUOTA = 2
LIMITED = b"\x21\x00" + bytes([QUOTA])


@pytest.fixture(autouse=True)
async def nothing_complains(anyio_backend):
    """Fail for what the loop's exception handler is told (InvalidStateError)."""
    told = []
    loop = asyncio.get_running_loop()
    handler = loop.get_exception_handler()
    loop.set_exception_handler(lambda _, context: told.append(context))
    yield
    loop.set_exception_handler(handler)
    assert told == []


def limited(version):
    properties = {"properties": LIMITED} if version == 5 else {}
    return polite(version, **properties)


def limited_client(server, version, **options):
    return new_client(server, version, max_inflight_messages=QUOTA, **options)


CALLS = {
    "publish at QoS 0": lambda client: client.publish("a", b"x", 0),
    "publish at QoS 1": lambda client: client.publish("a", b"x", 1),
    "publish at QoS 2": lambda client: client.publish("a", b"x", 2),
    "subscribe": lambda client: client.subscribe("a"),
    "subscribe to several": lambda client: client.subscribe([("a", 0), ("b", 1)]),
    "unsubscribe": lambda client: client.unsubscribe("a"),
}


async def settled(client):
    """Wait until everything that was begun is complete."""
    outbound = client._engine.session.outbound
    async with asyncio.timeout(10):
        while len(outbound) or outbound._of_requests:  # noqa: ASYNC110
            await asyncio.sleep(0.001)


async def still_works(client):
    """More calls than the quota has places, and each gets an answer."""
    await within(
        asyncio.gather(
            *(client.publish("a", b"", 1 + n % 2) for n in range(2 * QUOTA + 1)),
            client.subscribe("a"),
            client.unsubscribe("a"),
        )
    )


@pytest.mark.parametrize("name", CALLS)
async def test_need_4_a_call_cancelled_at_every_step(version, name):
    async with (
        serve(limited(version)) as server,
        limited_client(server, version) as client,
    ):
        steps, finished = 0, False
        while not finished:
            task = await cancelled_after(steps, CALLS[name](client))
            finished = not task.cancelled()
            if finished:
                task.result()
            assert client.is_connected()
            await still_works(client)
            await settled(client)
            steps += 1
            assert steps < 1000
        # Nothing is left, in the client or in what drives it.
        assert client._calls.waiting == 0
        assert client._engine._requests._requests == {}


@pytest.mark.parametrize("name", CALLS)
async def test_need_4_a_call_that_times_out_at_every_moment(version, name):
    async with (
        serve(limited(version)) as server,
        limited_client(server, version) as client,
    ):
        for timeout in (0, 0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005):
            try:
                await within(timed(client, name, timeout))
            except MqttError as error:
                assert str(error) == "Operation timed out"  # noqa: PT017
            assert client.is_connected()
            await still_works(client)
            await settled(client)
        assert client._calls.waiting == 0


async def timed(client, name, timeout):
    before, client.timeout = client.timeout, timeout
    call = asyncio.create_task(CALLS[name](client))
    await asyncio.sleep(0)  # it has read the timeout by now
    client.timeout = before
    await call


@pytest.mark.parametrize("name", CALLS)
async def test_a_call_cancelled_while_it_waits_for_its_turn(version, name):
    answer = asyncio.Event()

    async def script(peer):
        await accept(peer, version)
        await expect_publish(peer, version)
        await answer.wait()
        peer.send(ack_bytes(PUBACK, 1))
        # Nothing of the cancelled ones comes.
        assert (await expect_publish(peer, version)).payload == b"next"
        peer.send(ack_bytes(PUBACK, 2))
        await goodbye(peer)

    async with (
        serve(script) as server,
        new_client(server, version, max_concurrent_outgoing_calls=1) as client,
    ):
        first = asyncio.create_task(client.publish("a", b"first", 1))
        await turns()
        for steps in range(4):
            task = await cancelled_after(steps, CALLS[name](client))
            assert task.cancelled()
        answer.set()
        await within(first)
        await within(client.publish("a", b"next", 1))


# --- trap 1: messages and futures ----------------------------------------------


async def test_trap_1_iterating_cancelled_at_every_step_loses_no_message(version):
    """Trap 1: a cancelled waiter eats no message."""
    count = 40
    go_on: asyncio.Queue[int] = asyncio.Queue()

    async def script(peer):
        await accept(peer, version)
        for _ in range(count):
            number = await go_on.get()
            peer.send(publish_bytes("t", bytes([number]), 1, number + 1, version))
            await peer.expect(PUBACK)
        await goodbye(peer)

    async with serve(script) as server, new_client(server, version) as client:
        got = []

        async def receive():
            got.append((await anext(client.messages)).payload[0])

        for number in range(count):
            go_on.put_nowait(number)
            # Sometimes before it comes, sometimes just when, sometimes after.
            await cancelled_after(number, receive())
        while len(got) < count:
            await within(receive())
        assert got == list(range(count))


async def test_trap_1_wait_for_around_the_iterator(version):
    """Trap 1: as programs do it, with a timeout on every message."""
    count = 200

    async def script(peer):
        await accept(peer, version)
        for number in range(count):
            peer.send(publish_bytes("t", bytes([number]), 0, 0, version))
            if number % 3 == 0:
                await asyncio.sleep(0.001)
        await goodbye(peer)

    async with serve(script) as server, new_client(server, version) as client:
        got: list[int] = []
        async with asyncio.timeout(10):
            while len(got) < count:
                try:
                    async with asyncio.timeout(0.0005):
                        got.append((await anext(client.messages)).payload[0])
                except TimeoutError:
                    pass
        assert got == list(range(count))


@pytest.mark.parametrize("name", list(CALLS)[1:])
async def test_trap_1_the_answer_to_a_cancelled_call_harms_nobody(version, name):
    """Trap 1: no InvalidStateError in the reader; the next answer finds its call."""
    answer = asyncio.Event()

    async def script(peer):
        await accept(peer, version)
        held = await peer.read_packet()
        await answer.wait()
        reply(peer, version, *held)
        await serve_politely(peer, version)

    async with serve(script) as server, new_client(server, version) as client:
        task = asyncio.create_task(CALLS[name](client))
        await turns()
        task.cancel()
        answer.set()  # the answer comes in the turn of the cancellation, or after
        await within(asyncio.wait([task]))
        assert task.cancelled()
        await still_works(client)
        await settled(client)


# --- trap 2: identifiers and quota ---------------------------------------------


@pytest.mark.parametrize("qos", [1, 2])
async def test_trap_2_what_may_be_on_the_wire_keeps_identifier_and_quota(version, qos):
    """Trap 2: until its acknowledgement comes, cancelled or not."""
    answer = asyncio.Event()

    async def script(peer):
        properties = {"properties": b"\x21\x00\x01"} if version == 5 else {}
        await accept(peer, version, **properties)
        assert (await expect_publish(peer, version)).packet_id == 1
        # Its place in the quota and its identifier are taken.
        await peer.expect(SUBSCRIBE)
        peer.packet(0x90, b"\x00\x02" + (b"\x00" if version == 5 else b"") + b"\x00")
        answer.set()
        peer.send(ack_bytes(PUBACK if qos == 1 else PUBREC, 1))
        if qos == 2:  # the flow goes on without the one who asked for it
            assert await peer.expect(PUBREL) == (0x62, b"\x00\x01")
            peer.send(ack_bytes(PUBCOMP, 1))
        published = await expect_publish(peer, version)
        assert (published.packet_id, published.payload) == (3, b"second")
        assert not published.dup
        peer.send(ack_bytes(PUBACK, 3))
        await goodbye(peer)

    async with (
        serve(script) as server,
        new_client(server, version, max_inflight_messages=1) as client,
    ):
        first = asyncio.create_task(client.publish("a", b"first", qos))
        await turns()
        first.cancel()
        await within(asyncio.wait([first]))
        second = asyncio.create_task(client.publish("a", b"second", 1))
        await turns()
        await client.subscribe("a")
        await within(answer.wait())
        await within(second)


async def test_trap_2_what_was_not_written_is_withdrawn(version):
    """Trap 2: before its bytes may be on the wire, a cancelled one leaves no trace."""
    answer = asyncio.Event()

    async def script(peer):
        properties = {"properties": b"\x21\x00\x01"} if version == 5 else {}
        await accept(peer, version, **properties)
        assert (await expect_publish(peer, version)).payload == b"first"
        await answer.wait()
        peer.send(ack_bytes(PUBACK, 1))
        published = await expect_publish(peer, version)
        assert (published.payload, published.packet_id) == (b"third", 2)
        peer.send(ack_bytes(PUBACK, 2))
        await goodbye(peer)

    async with (
        serve(script) as server,
        new_client(
            server, version, max_inflight_messages=1, max_queued_outgoing_messages=2
        ) as client,
    ):
        first = asyncio.create_task(client.publish("a", b"first", 1))
        await turns()
        for _ in range(5):  # each frees its place in the queue of two
            second = await cancelled_after(2, client.publish("a", b"second", 2))
            assert second.cancelled()
        third = asyncio.create_task(client.publish("a", b"third", 1))
        await turns()
        answer.set()
        await within(asyncio.gather(first, third))


@pytest.mark.parametrize("qos", [0, 1])
async def test_trap_2_cancelled_while_it_waits_for_the_network(qos):
    """Trap 2: blocked by a peer that does not read; cancelled, it is never sent."""
    go_on = asyncio.Event()

    async def script(peer):
        await accept(peer)
        stop_reading(peer)
        await within(go_on.wait())
        resume_reading(peer)
        came = await serve_politely(peer)
        payloads = [body[-9:] for first, body in came if first >> 4 == PUBLISH]
        assert b"cancelled" not in payloads
        assert payloads[-1] == b"last word"

    async with (
        serve(script) as server,
        new_client(server, max_inflight_messages=1000) as client,
    ):
        fillers = [
            asyncio.create_task(client.publish("a", bytes(100_000))) for _ in range(300)
        ]
        await asyncio.wait(fillers, timeout=0.2)
        for steps in range(5):
            task = await cancelled_after(steps, client.publish("a", b"cancelled", qos))
            assert task.cancelled()
        with pytest.raises(MqttError, match="^Operation timed out$"):
            await within(client.publish("a", b"cancelled", qos, timeout=0.01))
        go_on.set()
        await within(asyncio.gather(*fillers))
        await within(client.publish("a", b"last word", qos))


async def test_trap_2_cancelled_just_when_the_connection_ends(version):
    """Trap 2: what is in flight stays with the session, whoever gave up waiting."""

    async def first(peer):
        await accept(peer, version)
        assert (await expect_publish(peer, version)).packet_id == 1
        peer.close()

    async def second(peer):
        await accept(peer, version, session_present=int(version > 3))
        published = await expect_publish(peer, version)
        assert (published.packet_id, published.dup) == (1, True)
        peer.send(ack_bytes(PUBACK, 1))
        await gone(peer)

    async with serve(first, second) as server:
        client = lasting(server, version)
        async with client:
            publish = asyncio.create_task(client.publish("a", b"x", 1))
            await turns()
            publish.cancel()
            with pytest.raises(MqttError):
                await within(anext(client.messages))
            assert publish.cancelled()
        async with client:
            await settled(client)
