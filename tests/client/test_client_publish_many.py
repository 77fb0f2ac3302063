"""Publishing many messages in a window: order, bounds, and the first failure."""

import asyncio
import contextlib
import math
import sys
import time
from typing import Any

import pytest

from aiomqtt import MqttCodeError, MqttError, MqttLimitError, Publication, Topic
from aiomqtt.types import PublicationLike
from tests.peer import PUBACK, PUBLISH, serve
from tests.raw_scripts import (
    accept,
    ack_bytes,
    all_done,
    cancelled_after,
    expect_publish,
    gone,
    goodbye,
    lasting,
    new_client,
    polite,
    resume_reading,
    serve_politely,
    stop_reading,
    take_apart,
    turns,
    within,
)


def numbered(count, qos=1):
    return (Publication("a", str(n), qos) for n in range(count))


def recording(came, version=4, **connack):
    """A script that answers politely and notes the payloads."""

    async def script(peer):
        await accept(peer, version, **connack)
        for first, body in await serve_politely(peer, version):
            if first >> 4 == PUBLISH:
                came.append(take_apart(first, body, version).payload.decode())

    return script


# --- what arrives ----------------------------------------------------------------


@pytest.mark.parametrize("qos", [0, 1, 2])
@pytest.mark.parametrize("window", [1, 3, 200])
async def test_all_arrive_once_and_in_order(version, qos, window):
    came: list[Any] = []
    script = recording(came, version)
    async with serve(script) as server, new_client(server, version) as client:
        messages = numbered(150, qos)
        assert await within(client.publish_many(messages, window=window)) == 150
    assert came == [str(n) for n in range(150)]


async def test_what_a_message_can_be():
    came: list[Any] = []
    async with serve(recording(came)) as server, new_client(server) as client:
        messages: list[PublicationLike] = [
            ("a",),
            ("a", 28.4),
            ("a", bytearray(b"y"), 1),
            ("a", "z", 2, True),
            Publication("a", "p", 1, False, None),
            (Topic("a"), "t", 1),
            Publication(Topic("a"), "u"),
        ]
        assert await within(client.publish_many(messages)) == 7
        assert await within(client.publish_many([])) == 0
        assert await within(client.publish_many(iter(messages))) == 7
    assert came == ["", "28.4", "y", "z", "p", "t", "u"] * 2


async def test_every_qos_in_one_call():
    came: list[Any] = []
    async with serve(recording(came)) as server, new_client(server) as client:
        messages = [("a", str(n), n % 3) for n in range(999)]
        assert await within(client.publish_many(messages, window=10)) == 999
    for qos in range(3):
        assert [n for n in map(int, came) if n % 3 == qos] == list(range(qos, 999, 3))


async def test_large_messages_are_held_back_where_the_peer_is_slow():
    go_on = asyncio.Event()
    payload = bytes(100_000)
    taken = 0

    def messages():
        nonlocal taken
        for _ in range(200):
            taken += 1
            yield "a", payload

    async def script(peer):
        await accept(peer)
        stop_reading(peer)
        await within(go_on.wait())
        resume_reading(peer)
        for _ in range(200):
            await expect_publish(peer)
        await goodbye(peer)

    async with serve(script) as server, new_client(server) as client:
        task = asyncio.create_task(client.publish_many(messages()))
        await asyncio.wait([task], timeout=0.2)
        assert not task.done()
        assert taken < 150
        go_on.set()
        assert await within(task) == 200


async def test_many_publishers_share_a_connection():
    came: list[Any] = []
    async with serve(recording(came)) as server, new_client(server) as client:
        counts = await within(
            asyncio.gather(
                *(client.publish_many(numbered(300), window=7) for _ in range(5)),
                client.publish("a", "single", 1),
            )
        )
    assert counts == [300] * 5 + [None]
    assert len(came) == 1501


@pytest.mark.skipif(sys.version_info < (3, 12), reason="there are none")
@pytest.mark.parametrize("anyio_backend", [("asyncio", {"debug": True})])
async def test_with_eager_tasks(anyio_backend):
    came: list[Any] = []
    factory: Any = vars(asyncio)["eager_task_factory"]
    asyncio.get_running_loop().set_task_factory(factory)
    async with serve(recording(came)) as server, new_client(server) as client:
        many = asyncio.create_task(client.publish_many(numbered(300), window=7))
        await within(
            asyncio.gather(*(client.publish("a", "single", n % 3) for n in range(300)))
        )
        assert await within(many) == 300
    assert len(came) == 600


# --- the window ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("window", "options", "properties", "most"),
    [
        (1, {}, b"", 1),
        (5, {}, b"", 5),
        (50, {}, b"\x21\x00\x04", 4),  # Receive Maximum
        (50, {"max_inflight_messages": 6}, b"", 6),
        (50, {"max_queued_outgoing_messages": 3}, b"", 3),
    ],
)
async def test_no_more_are_in_flight_than_the_window(window, options, properties, most):
    """Nor more than the broker allows; and each acknowledgement makes room."""
    taken = 0

    def messages():
        nonlocal taken
        for number in range(40):
            taken += 1
            yield "a", str(number), 1

    async def script(peer):
        await accept(peer, 5, properties=properties)
        waiting = [(await expect_publish(peer, 5)).packet_id for _ in range(most)]
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await peer.read_packet()
        assert taken <= max(window, most)
        for _ in range(40 - most):
            peer.send(ack_bytes(PUBACK, waiting.pop(0)))
            waiting.append((await expect_publish(peer, 5)).packet_id)
        for packet_id in waiting:
            peer.send(ack_bytes(PUBACK, packet_id))
        await goodbye(peer)

    async with serve(script) as server, new_client(server, 5, **options) as client:
        assert await within(client.publish_many(messages(), window=window)) == 40


# --- arguments -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "options", "error"),
    [
        ((5,), {}, TypeError),
        (([],), {"window": 0}, ValueError),
        (([],), {"window": 65536}, ValueError),
        (([],), {"window": "5"}, TypeError),
        (([],), {"timeout": "5"}, TypeError),
        (([],), {"timeout": math.nan}, ValueError),
    ],
)
async def test_wrong_arguments(arguments, options, error):
    async with serve(polite()) as server, new_client(server) as client:
        with pytest.raises(error):
            await client.publish_many(*arguments, **options)


async def test_without_a_connection_nothing_is_taken():
    messages = numbered(3)
    async with serve(polite()) as server:
        client = new_client(server)
        with pytest.raises(MqttCodeError, match="not currently connected"):
            await client.publish_many(messages)
        assert len(list(messages)) == 3
        async with client:
            assert await within(client.publish_many([("a",)])) == 1


# --- the first failure -------------------------------------------------------------


class TheirError(Exception):
    """An exception of the program's iterable."""


def failing(position, wrong):
    for number in range(10):
        if number == position:
            if wrong is TheirError:
                raise TheirError
            yield wrong
        yield "a", str(number), 1


@pytest.mark.parametrize("position", [0, 4])
@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        (("a/#", b"", 1), ValueError),
        (("a", b"", 3), ValueError),
        (("a", [], 1), TypeError),
        ("a", TypeError),
        (None, TypeError),
        ((), TypeError),
        (("a", b"", 0, False, None, 6), TypeError),
        (TheirError, TheirError),
    ],
)
async def test_a_wrong_message_raises_when_those_before_it_are_done(
    position, wrong, error
):
    acknowledged = 0

    async def script(peer):
        nonlocal acknowledged
        await accept(peer)
        for _ in range(position):
            published = await expect_publish(peer)
            await turns()
            peer.send(ack_bytes(PUBACK, published.packet_id))
            acknowledged += 1
        await goodbye(peer)

    async with serve(script) as server, new_client(server) as client:
        with pytest.raises(error) as caught:
            await within(client.publish_many(failing(position, wrong)))
        assert caught.value.__notes__ == [f"at message {position} of publish_many"]
        assert acknowledged == position


async def test_a_refusal_has_its_position_and_the_others_finish():
    """The first by position counts, not the first in time."""
    taken = 0

    def messages():
        nonlocal taken
        for number in range(100):
            taken += 1
            yield "a", str(number), 1

    async def script(peer):
        await accept(peer, 5)
        ids = [(await expect_publish(peer, 5)).packet_id for _ in range(5)]
        # 3 is refused before 1, and the others are accepted after that.
        for position, reason in ((3, 0x97), (1, 0x87), (0, 0), (2, 0), (4, 0)):
            peer.send(ack_bytes(PUBACK, ids[position], reason, 0))
            await asyncio.sleep(0.01)
        await goodbye(peer)

    async with serve(script) as server, new_client(server, 5) as client:
        with pytest.raises(MqttCodeError) as caught:
            await within(client.publish_many(messages(), window=5))
        assert caught.value.rc == 0x87
        assert caught.value.position == 1
        assert taken == 5


async def test_what_the_broker_does_not_allow_has_its_position():
    async def script(peer):
        await accept(peer, 5, properties=b"\x24\x00")  # Maximum QoS 0
        await expect_publish(peer, 5)
        await goodbye(peer)

    async with serve(script) as server, new_client(server, 5) as client:
        messages: list[PublicationLike] = [("a",), ("a", "b", 1), ("a",)]
        with pytest.raises(MqttLimitError) as caught:
            await within(client.publish_many(messages))
        assert caught.value.position == 1


async def test_the_end_of_the_connection_has_the_position_of_the_first_unfinished():
    async def script(peer):
        await accept(peer)
        ids = [(await expect_publish(peer)).packet_id for _ in range(5)]
        for packet_id in ids[:2]:
            peer.send(ack_bytes(PUBACK, packet_id))
            await expect_publish(peer)  # the acknowledgement has arrived
        peer.close()

    with contextlib.suppress(MqttError):
        async with serve(script) as server, new_client(server) as client:
            with pytest.raises(MqttError, match="lost") as caught:
                await within(client.publish_many(numbered(50), window=5))
            assert caught.value.position == 2
            raise MqttError


async def test_what_was_in_flight_stays_in_a_session_that_lasts():
    came: list[Any] = []

    async def break_off(peer):
        await accept(peer)
        for _ in range(3):
            await expect_publish(peer)
        peer.close()

    async def resume(peer):
        await accept(peer, session_present=1)
        for _ in range(3):
            published = await expect_publish(peer)
            came.append(published.payload)
            peer.send(ack_bytes(PUBACK, published.packet_id))
        await goodbye(peer)

    async with serve(break_off, resume) as server:
        client = lasting(server, 4)
        with contextlib.suppress(MqttError):
            async with client:
                await within(client.publish_many(numbered(50), window=3))
        async with client:
            await all_done(client)
    assert came == [b"0", b"1", b"2"]


async def test_without_progress_it_times_out():
    acknowledged = math.inf

    async def script(peer):
        nonlocal acknowledged
        await accept(peer)
        packet_id = (await expect_publish(peer)).packet_id
        await asyncio.sleep(0.2)
        acknowledged = time.monotonic()
        peer.send(ack_bytes(PUBACK, packet_id))
        await gone(peer)

    with contextlib.suppress(ZeroDivisionError):
        async with serve(script) as server, new_client(server) as client:
            # So long that the acknowledgement is in time on a busy machine, too.
            publishing = client.publish_many(numbered(10), window=2, timeout=2)
            with pytest.raises(MqttError, match="timed out") as caught:
                await within(publishing)
            # Progress starts the time anew.
            assert time.monotonic() - acknowledged > 1.9
            assert caught.value.position == 1
            raise ZeroDivisionError


async def test_cancelled_what_was_not_sent_is_withdrawn():
    go_on = asyncio.Event()

    async def script(peer):
        await accept(peer)
        ids = [(await expect_publish(peer)).packet_id for _ in range(3)]
        await within(go_on.wait())
        for packet_id in ids:
            peer.send(ack_bytes(PUBACK, packet_id))
        published = await expect_publish(peer)
        assert published.payload == b"after"
        peer.send(ack_bytes(PUBACK, published.packet_id))
        await goodbye(peer)

    async with (
        serve(script) as server,
        new_client(server, max_inflight_messages=3) as client,
    ):
        task = asyncio.create_task(client.publish_many(numbered(50), window=10))
        await asyncio.sleep(0.05)
        task.cancel()
        await within(asyncio.wait([task]))
        assert task.cancelled()
        go_on.set()
        await within(client.publish("a", "after", 1))


async def test_cancelled_at_every_step_the_client_goes_on():
    async with serve(polite()) as server, new_client(server) as client:
        for steps in range(12):
            messages = numbered(2000, steps % 3)
            await cancelled_after(steps, client.publish_many(messages, window=20))
            await within(client.publish("a", "b", 2))
