"""Incoming messages: iterating, sharing, queues, bounds and what slow programs do."""

import asyncio
import logging
import time
from itertools import chain
from typing import Any

import pytest

from aiomqtt import Client, Message, MessagesIterator, MqttError, Properties, Topic
from tests.peer import (
    PINGREQ,
    PINGRESP,
    PUBACK,
    PUBCOMP,
    PUBREC,
    PUBREL,
    SUBACK,
    SUBSCRIBE,
    serve,
)
from tests.ports import free_port
from tests.raw_scripts import (
    accept,
    ack_bytes,
    expect_publish,
    gone,
    goodbye,
    new_client,
    polite,
    publish_bytes,
    within,
)


async def take(client, count):
    """The payloads of the next messages."""
    payloads: list[bytes] = []
    async with asyncio.timeout(10):
        while len(payloads) < count:
            payloads.append((await anext(client.messages)).payload)
    return payloads


async def queued(client, count):
    """Wait until so many messages are in the queue."""
    async with asyncio.timeout(10):
        while len(client.messages) < count:  # noqa: ASYNC110
            await asyncio.sleep(0.001)


def sends(*payloads, version=4, ready=None):
    async def script(peer):
        await accept(peer, version)
        if ready is not None:
            await ready.wait()
        peer.send(
            b"".join(publish_bytes("t", data, version=version) for data in payloads)
        )
        await goodbye(peer)

    return script


# --- what a message is ---------------------------------------------------------


async def test_a_message(version):
    none: dict[str, Any] = (
        {"properties": b"\x03\x00\x01c\x08\x00\x01r"} if version == 5 else {}
    )

    async def script(peer):
        await accept(peer, version)
        peer.send(
            publish_bytes("a/b", b"\x00\xff", 1, 7, version, retain=True, **none)
            + publish_bytes("a/b", b"", 0, 0, version)
        )
        assert await peer.expect(PUBACK) == (0x40, b"\x00\x07")
        await goodbye(peer)

    async with serve(script) as server, new_client(server, version) as client:
        message = await within(anext(client.messages))
        assert isinstance(message, Message)
        assert isinstance(message.topic, Topic)
        assert str(message.topic) == "a/b"
        assert message.topic.matches("a/+")
        assert message.payload == b"\x00\xff"
        assert (message.qos, message.retain, message.mid) == (1, True, 7)
        if version == 5:
            assert message.properties is not None
            assert message.properties.content_type == "c"
            assert message.properties.ResponseTopic == "r"
        else:
            assert message.properties is None
        message = await within(anext(client.messages))
        assert (message.qos, message.retain, message.mid) == (0, False, 0)
        assert message.payload == b""


@pytest.mark.conformance("5.0", "MQTT-3.3.4-1", "MQTT-4.3.2-4", "MQTT-4.3.3-8")
@pytest.mark.conformance("5.0", "MQTT-4.3.3-11", "MQTT-4.5.0-2", "MQTT-3.3.2-3")
@pytest.mark.conformance("3.1.1", "MQTT-3.3.4-1", "MQTT-4.5.0-2", "MQTT-3.3.2-3")
async def test_each_is_acknowledged_as_its_qos_wants(version):
    """Nobody subscribed, and nobody iterates."""
    completed = asyncio.Event()

    async def script(peer):
        await accept(peer, version)
        for qos in (0, 1, 2):
            peer.send(publish_bytes("t", bytes([qos]), qos, 5, version))
        assert await peer.expect(PUBACK) == (0x40, b"\x00\x05")
        assert await peer.expect(PUBREC) == (0x50, b"\x00\x05")
        peer.send(ack_bytes(PUBREL, 5))
        assert await peer.expect(PUBCOMP) == (0x70, b"\x00\x05")
        completed.set()
        await goodbye(peer)

    async with serve(script) as server, new_client(server, version) as client:
        await within(completed.wait())
        assert await take(client, 3) == [b"\0", b"\1", b"\2"]


# --- iterating -----------------------------------------------------------------


async def test_the_iterator_and_its_length(version):
    ready = asyncio.Event()
    script = sends(b"1", b"2", b"3", version=version, ready=ready)
    async with serve(script) as server, new_client(server, version) as client:
        assert isinstance(client.messages, MessagesIterator)
        assert len(client.messages) == 0
        ready.set()
        await queued(client, 3)
        assert await take(client, 1) == [b"1"]
        assert len(client.messages) == 2
        assert await take(client, 2) == [b"2", b"3"]
        assert len(client.messages) == 0


async def test_several_tasks_share_the_messages(version):
    ready = asyncio.Event()
    payloads = [bytes([number]) for number in range(30)]
    script = sends(*payloads, version=version, ready=ready)
    got: list[list[bytes]] = [[], [], []]

    async with serve(script) as server, new_client(server, version) as client:

        async def worker(mine):
            async for message in client.messages:
                mine.append(message.payload)
                if sum(map(len, got)) == len(payloads):
                    done.set()
                await asyncio.sleep(0)

        done = asyncio.Event()
        tasks = [asyncio.create_task(worker(mine)) for mine in got]
        ready.set()
        await within(done.wait())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    assert sorted(chain(*got)) == payloads
    assert all(mine == sorted(mine) for mine in got)
    assert sum(map(bool, got)) == 3  # nobody went without


async def test_one_iterator_in_several_tasks():
    ready = asyncio.Event()
    script = sends(b"1", b"2", ready=ready)
    async with serve(script) as server, new_client(server) as client:
        messages = client.messages
        tasks = [asyncio.create_task(anext(messages)) for _ in range(2)]
        ready.set()
        got = await within(asyncio.gather(*tasks))
        assert [message.payload for message in got] == [b"1", b"2"]


async def test_it_raises_after_the_queue_is_drained(version):
    async def script(peer):
        await accept(peer, version)
        peer.send(b"".join(publish_bytes("t", b"x", version=version) for _ in range(3)))
        peer.close()

    async with serve(script) as server:
        client = new_client(server, version)
        got = []
        with pytest.raises(MqttError, match="^Disconnected during message iteration$"):
            async with asyncio.timeout(10), client:
                await asyncio.sleep(0.05)
                async for message in client.messages:
                    got.append(message.payload)  # noqa: PERF401 - it raises
        assert got == [b"x"] * 3
        with pytest.raises(MqttError, match="^Disconnected during message iteration$"):
            await anext(client.messages)


async def test_it_raises_after_leaving_too():
    async with serve(sends(b"left")) as server:
        async with new_client(server) as client:
            messages = client.messages
            await queued(client, 1)
        assert (await anext(messages)).payload == b"left"
        with pytest.raises(MqttError, match="Disconnected during message iteration"):
            await anext(messages)


async def test_one_who_waits_when_another_task_leaves():
    async with serve(polite()) as server:
        client = new_client(server)
        async with client:
            waiting = asyncio.create_task(anext(client.messages))
            await asyncio.sleep(0)
        with pytest.raises(MqttError, match="Disconnected during message iteration"):
            await within(waiting)


async def test_the_same_iterator_works_after_entering_again(version):
    scripts = [sends(data, version=version) for data in (b"1", b"2")]
    async with serve(*scripts) as server:
        client = new_client(server, version)
        messages = client.messages
        for expected in (b"1", b"2"):
            async with client:
                assert (await within(anext(messages))).payload == expected
            with pytest.raises(MqttError, match="Disconnected"):
                await within(anext(messages))


async def test_before_the_client_is_entered_an_iterator_raises():
    """It used to wait for ever."""
    client = Client("localhost")
    messages = client.messages
    with pytest.raises(MqttError, match="not entered: iterate within"):
        await anext(messages)
    async with serve(sends(b"1")) as server, new_client(server) as entered:
        # One that was made before is as good.
        assert (await within(anext(entered.messages))).payload == b"1"


async def test_entering_fails_for_those_who_iterate_too():
    client = Client("127.0.0.1", free_port())
    entering = asyncio.create_task(client.__aenter__())
    waiting = asyncio.create_task(anext(client.messages))
    with pytest.raises(MqttError, match="Could not connect"):
        await within(entering)
    with pytest.raises(MqttError, match="Disconnected during message iteration"):
        await within(waiting)


async def test_while_it_is_entered_an_iterator_waits():
    ready = asyncio.Event()
    async with serve(sends(b"1", ready=ready)) as server:
        client = new_client(server)
        waiting = asyncio.create_task(anext(client.messages))
        # The task runs when entering has begun.
        async with client:
            ready.set()
            assert (await within(waiting)).payload == b"1"


# --- queues of other kinds -----------------------------------------------------


class ByPayload(asyncio.PriorityQueue[Any]):
    """The example that documentation of aiomqtt 2 gives, but by payload."""

    def _put(self, item):
        super()._put((item.payload, item))

    def _get(self):
        return super()._get()[1]


@pytest.mark.parametrize(
    ("queue_type", "order"),
    [
        (None, [b"2", b"3", b"1"]),
        (asyncio.Queue, [b"2", b"3", b"1"]),
        (asyncio.LifoQueue, [b"1", b"3", b"2"]),
        (ByPayload, [b"1", b"2", b"3"]),
        (asyncio.PriorityQueue, [b"2", b"3", b"1"]),  # by message id
    ],
)
async def test_the_order_is_the_queues(queue_type, order):
    ready = asyncio.Event()

    async def script(peer):
        await accept(peer)
        for number, data in enumerate((b"2", b"3", b"1"), 1):
            peer.send(publish_bytes("t", data, 1, number))
        for _ in range(3):
            await peer.expect(PUBACK)
        ready.set()
        await goodbye(peer)

    async with (
        serve(script) as server,
        new_client(server, queue_type=queue_type) as client,
    ):
        await within(ready.wait())
        await queued(client, 3)
        assert await take(client, 3) == order


# --- bounds --------------------------------------------------------------------


@pytest.mark.parametrize("queue_type", [None, asyncio.LifoQueue])
async def test_above_the_programs_bound_messages_are_discarded(caplog, queue_type):
    ready = asyncio.Event()

    async def script(peer):
        await accept(peer)
        for number in range(1, 6):
            peer.send(publish_bytes("t", bytes([number]), 1, number))
        for _ in range(5):
            await peer.expect(PUBACK)
        ready.set()
        await goodbye(peer)

    async with (
        serve(script) as server,
        new_client(
            server, max_queued_incoming_messages=2, queue_type=queue_type
        ) as client,
    ):
        await within(ready.wait())
        assert len(client.messages) == 2
        assert sorted(await take(client, 2)) == [b"\1", b"\2"]
        assert client.messages.discarded == 3
    said = [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]
    assert "Message queue is full. Discarding message." in said
    assert "3 messages were discarded." in said


@pytest.mark.parametrize("bound", [None, 0])
async def test_without_a_bound_nothing_is_discarded(bound):
    payloads = [number.to_bytes(2, "big") for number in range(2000)]
    ready = asyncio.Event()
    async with (
        serve(sends(*payloads, ready=ready)) as server,
        new_client(server, max_queued_incoming_messages=bound) as client,
    ):
        ready.set()
        await queued(client, len(payloads))
        assert await take(client, len(payloads)) == payloads
        assert client.messages.discarded == 0


@pytest.mark.parametrize(
    ("arguments", "kept"),
    [
        ({"overflow": "drop_newest", "max_queued_incoming_messages": 2}, [b"1", b"2"]),
        ({"overflow": "drop_oldest", "max_queued_incoming_messages": 2}, [b"4", b"5"]),
        # 516 bytes of memory for each.
        ({"overflow": "drop_newest", "max_queued_incoming_bytes": 1100}, [b"1", b"2"]),
        ({"overflow": "drop_oldest", "max_queued_incoming_bytes": 1100}, [b"4", b"5"]),
        (
            {
                "overflow": "drop_newest",
                "max_queued_incoming_bytes": 1100,
                "queue_type": asyncio.LifoQueue,
            },
            [b"2", b"1"],
        ),
        # Even though their acknowledgements would be up to the program.
        (
            {
                "overflow": "drop_oldest",
                "max_queued_incoming_messages": 2,
                "ack": "manual",
            },
            [b"4", b"5"],
        ),
        # Nothing is discarded, unless that was the program's wish.
        (
            {"max_queued_incoming_messages": 2, "ack": "manual"},
            [b"1", b"2", b"3", b"4", b"5"],
        ),
        (
            {"max_queued_incoming_messages": 2, "overflow": "pause"},
            [b"1", b"2", b"3", b"4", b"5"],
        ),
        (
            {
                "max_queued_incoming_messages": 2,
                "overflow": "pause",
                "queue_type": asyncio.LifoQueue,
            },
            [b"5", b"4", b"3", b"2", b"1"],
        ),
        ({"max_queued_incoming_bytes": 1100}, [b"1", b"2", b"3", b"4", b"5"]),
    ],
)
async def test_the_program_says_what_happens_above_its_bounds(arguments, kept):
    """A single read brings more than a bound, and pausing can only stop the next."""

    async def script(peer):
        await accept(peer, 5)
        peer.send(
            b"".join(
                publish_bytes("t", b"%d" % number, 1, number, 5)
                for number in range(1, 6)
            )
        )
        for _ in range(5):
            await peer.expect(PUBACK)
        await goodbye(peer)

    if arguments.get("ack"):
        arguments["properties"] = Properties(receive_maximum=10)
    async with serve(script) as server, new_client(server, 5, **arguments) as client:
        messages = []
        async with asyncio.timeout(10):
            messages.append(await anext(client.messages))
            # What came first is taken after all have come.
            while len(client.messages) + client.messages.discarded < 4:  # noqa: ASYNC110
                await asyncio.sleep(0)
            messages += [
                await anext(client.messages) for _ in range(len(client.messages))
            ]
        if arguments.get("ack"):
            for message in messages:
                message.ack()
        assert [message.payload for message in messages] == kept
        assert client.messages.discarded == 5 - len(kept)


async def test_the_programs_bound_in_bytes_holds_the_broker_back():
    """Need 9: what waits stays at the bound, and all of it arrives."""
    count, size, bound = 2000, 20_000, 1024 * 1024

    async def script(peer):
        await accept(peer)
        for number in range(count):
            peer.send(publish_bytes("t", number.to_bytes(2, "big") + bytes(size)))
            await peer.drain()
        await goodbye(peer)

    async with (
        serve(script) as server,
        new_client(server, max_queued_incoming_bytes=bound) as client,
    ):
        most = taken = 0
        async with asyncio.timeout(60):
            while taken < count:
                message = await anext(client.messages)
                assert message.payload[:2] == taken.to_bytes(2, "big")
                taken += 1
                if not taken % 20:
                    # Slower than the broker.
                    await asyncio.sleep(0.001)
                most = max(most, len(client.messages))
        # What one read has besides: 256 KiB.
        assert most * size < bound + 2 * 256 * 1024
        assert client.messages.discarded == 0


def with_few_messages(client):
    """The same client, which reads on until 100 messages wait and not 65,536."""
    client._stream.maximum_messages = 100
    return client


async def test_above_the_librarys_bound_reading_pauses_and_nothing_is_lost():
    """Need 3 and need 9: TCP holds the broker back."""
    count, size = 4000, 10_000
    sent = 0

    async def script(peer):
        nonlocal sent
        await accept(peer)
        for number in range(count):
            peer.send(publish_bytes("t", number.to_bytes(2, "big") + bytes(size)))
            await peer.drain()
            sent += 1
        await goodbye(peer)

    async with serve(script) as server, with_few_messages(new_client(server)) as client:
        before = -1
        while before < sent:  # until the broker is held back
            before = sent
            await asyncio.sleep(0.2)
        assert sent < count
        assert len(client.messages) < count // 2
        for number in range(count):
            message = await within(anext(client.messages))
            assert message.payload[:2] == number.to_bytes(2, "big")
        assert client.messages.discarded == 0


async def test_trap_9_a_full_queue_does_not_stop_the_acks_the_program_waits_for(
    version,
):
    """Trap 9: the handler awaits a publish of its own, at QoS 1, for each message."""
    count = 300  # of a bound of 100, which may be stretched while a call waits
    none = b"\x00" if version == 5 else b""

    async def script(peer):
        await accept(peer, version)
        flood = b"".join(
            publish_bytes("t", bytes(1000), 1, number, version)
            for number in range(1, count + 1)
        )
        peer.send(flood)
        echoes = acked = subscribed = 0
        while echoes < count or acked < count or not subscribed:
            first, body = await peer.read_packet()
            if first >> 4 == PUBACK:
                acked += 1
            elif first >> 4 == SUBSCRIBE:
                subscribed += 1
                peer.packet(SUBACK << 4, body[:2] + none + b"\x00")
            else:
                echoes += 1
                packet_id = body[6:8]
                peer.packet(PUBACK << 4, packet_id)
        await goodbye(peer)

    async with (
        serve(script) as server,
        with_few_messages(new_client(server, version)) as client,
    ):
        await asyncio.sleep(0.1)  # by now the queue is above its bound
        await within(client.subscribe("echo"))
        for _ in range(count):
            await within(anext(client.messages))
            await within(client.publish("echo", b"", 1))


async def test_trap_9_a_full_queue_does_not_stop_the_pings():
    """Trap 9: a program that takes nothing for long stays connected."""

    async def script(peer):
        await accept(peer)
        peer.send(publish_bytes("t", bytes(1000)) * 300)
        for _ in range(2):
            await peer.expect(PINGREQ)
            peer.packet(PINGRESP << 4)
        pinged.set()
        await goodbye(peer)

    pinged = asyncio.Event()
    async with (
        serve(script) as server,
        with_few_messages(new_client(server, keepalive=1)) as client,
    ):
        await within(pinged.wait())
        assert client.is_connected()
        assert len(client.messages) > 100
        assert len(await take(client, 300)) == 300


async def test_a_pingresp_that_can_not_be_read_ends_the_connection():
    """The program takes nothing, and the PINGRESP is behind more than it may hold."""
    # Five times the bound is more than 10 MiB above it.
    count, size = 1000, 30_000

    async def script(peer):
        await accept(peer)
        peer.send(publish_bytes("t", bytes(size)) * count)
        await peer.expect(PINGREQ)
        peer.packet(PINGRESP << 4)
        await gone(peer)

    async with (
        serve(script) as server,
        with_few_messages(new_client(server, keepalive=1)) as client,
    ):
        calls: Any = client._calls
        await within(calls.driver.closed)
        waiting = len(client.messages)
        # And what one read has besides: 256 KiB.
        assert 500 < waiting < 520
        assert len(await take(client, waiting)) == waiting
        with pytest.raises(MqttError) as caught:
            await anext(client.messages)
        assert caught.value.reason_code == 0x97
        assert f"the program takes no messages: {waiting} wait" in str(
            caught.value.__cause__
        )


@pytest.mark.parametrize(
    ("topic", "properties"),
    [
        ("t" * 40_000, b""),
        ("t", b"\x26\x00\x01a\x00\x01b" * 500),
        ("t", b"\x26\x4e\x20" + bytes(20_000).replace(b"\0", b"a") + b"\x00\x00"),
    ],
    ids=["topic", "user properties", "large property"],
)
async def test_the_bound_counts_topics_and_properties(topic, properties):
    """Reading pauses though there is no payload at all."""
    count = 300

    async def script(peer):
        await accept(peer, 5)
        peer.send(publish_bytes(topic, version=5, properties=properties) * count)
        await goodbye(peer)

    async with serve(script) as server:
        client = new_client(server, 5)
        client._stream.maximum_bytes = 1024 * 1024
        async with client:
            before = -1
            # Until there are some, and the broker is held back.
            while before < max(len(client.messages), 1):
                before = len(client.messages)
                await asyncio.sleep(0.2)
            # A megabyte, and what one read has besides.
            assert 0 < before < 120
            assert len(await take(client, count)) == count


async def test_an_iterator_that_always_finds_a_message_lets_others_run():
    payloads = [b"x"] * 5000
    turned = 0

    async def others():
        nonlocal turned
        while True:
            await asyncio.sleep(0)
            turned += 1

    async with serve(sends(*payloads)) as server, new_client(server) as client:
        await queued(client, len(payloads))
        task = asyncio.create_task(others())
        left = len(payloads)
        async for _ in client.messages:
            # As long as a program takes for one, without waiting.
            done = time.perf_counter() + 0.00001
            while time.perf_counter() < done:
                pass
            left -= 1
            if not left:
                break
        task.cancel()
        # It takes 50 ms or more, and 2 ms or 256 messages at one go.
        assert turned > 5


async def test_a_program_that_publishes_what_it_gets_at_qos_2(version):
    """Both directions use the same identifiers; they are independent."""

    async def script(peer):
        await accept(peer, version)
        for number in (1, 2, 3):
            peer.send(publish_bytes("t", b"in", 2, number, version))
            assert await peer.expect(PUBREC) == (0x50, bytes([0, number]))
            published = await expect_publish(peer, version)
            assert published.packet_id == number
            peer.send(ack_bytes(PUBREC, number) + ack_bytes(PUBREL, number))
            assert await peer.expect(PUBREL) == (0x62, bytes([0, number]))
            assert await peer.expect(PUBCOMP) == (0x70, bytes([0, number]))
            peer.send(ack_bytes(PUBCOMP, number))
        await gone(peer)

    async with serve(script) as server, new_client(server, version) as client:
        for _ in range(3):
            await within(anext(client.messages))
            await within(client.publish("t", b"out", 2))


async def test_a_flood_while_a_call_waits_is_bounded():
    """Trap 9 needs room above the bound, not room without end."""
    count, sent = 20_000, 0
    flooded = asyncio.Event()

    async def script(peer):
        nonlocal sent
        await accept(peer)
        await peer.expect(SUBSCRIBE)  # it will not be answered
        try:
            async with asyncio.timeout(2):
                while sent < count:
                    peer.send(publish_bytes("t", bytes(5000)))
                    await peer.drain()
                    sent += 1
        except TimeoutError:
            pass
        flooded.set()
        await gone(peer)

    async with serve(script) as server, with_few_messages(new_client(server)) as client:
        call = asyncio.create_task(client.subscribe("a"))
        await within(flooded.wait())
        assert len(client.messages) <= 16 * 100 + 100
        call.cancel()
        while len(client.messages):
            await anext(client.messages)
