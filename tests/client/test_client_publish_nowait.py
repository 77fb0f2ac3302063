"""Publishing without waiting: its bounds, and leaving the client meanwhile."""

import asyncio
import contextlib
import time

import pytest

from aiomqtt import MqttCodeError, MqttError
from tests.peer import PUBACK, PUBCOMP, PUBLISH, PUBREC, PUBREL, serve
from tests.raw_scripts import (
    SMALL_SEND_BUFFER,
    accept,
    ack_bytes,
    expect_publish,
    gone,
    goodbye,
    new_client,
    polite,
    resume_reading,
    serve_politely,
    stop_reading,
    turns,
    within,
)

BOUND = 65_536


async def test_thousands_without_a_pause_arrive_in_order():
    count = 2001
    came = []

    async def script(peer):
        await accept(peer)
        for first, body in await serve_politely(peer):
            if first >> 4 == PUBLISH:
                came.append(int(body[-5:]))

    async with serve(script) as server, new_client(server) as client:
        receipts = [client.publish_nowait("a", f"{n:05}", n % 3) for n in range(count)]
        for receipt in receipts:
            await within(receipt)
    # QoS 0 does not wait for the quota of the others.
    for qos in (0, 1, 2):
        assert [n for n in came if n % 3 == qos] == list(range(qos, count, 3))


# --- bounds and arguments ------------------------------------------------------


async def test_without_a_connection_it_raises():
    async with serve(polite()) as server:
        client = new_client(server)
        with pytest.raises(MqttCodeError, match="not currently connected"):
            client.publish_nowait("a")
        async with client:
            client.publish_nowait("a")
        with pytest.raises(MqttCodeError, match="not currently connected"):
            client.publish_nowait("a")


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (("a/#",), ValueError),
        (("",), ValueError),
        (("a", b"", 3), ValueError),
        ((1,), TypeError),
        (("a", []), TypeError),
        (("a", "\ud800"), ValueError),
    ],
)
async def test_wrong_arguments_raise_and_nothing_is_sent(arguments, error):
    async def script(peer):
        await accept(peer)
        await goodbye(peer)

    async with serve(script) as server, new_client(server) as client:
        with pytest.raises(error):
            client.publish_nowait(*arguments)


async def test_a_bound_of_the_program_raises_and_what_was_accepted_goes_on():
    go_on = asyncio.Event()

    async def script(peer):
        await accept(peer)
        await within(go_on.wait())
        await serve_politely(peer)

    async with (
        serve(script) as server,
        new_client(server, max_queued_outgoing_messages=3) as client,
    ):
        receipts = [client.publish_nowait("a", "b", 1) for _ in range(3)]
        with pytest.raises(MqttCodeError, match="3 are unfinished"):
            client.publish_nowait("a", "b", 1)
        client.publish_nowait("a", "b", 0)
        go_on.set()
        for receipt in receipts:
            await within(receipt)
        await within(client.publish_nowait("a", "b", 1))


@pytest.mark.parametrize(
    ("size", "most"), [(0, BOUND), (1024 * 1024, 65)], ids=["messages", "bytes"]
)
async def test_without_a_bound_of_the_program_there_is_one(size, most):
    go_on = asyncio.Event()
    payload = bytes(size)

    async def script(peer):
        await accept(peer)
        await within(go_on.wait())
        await gone(peer)

    with contextlib.suppress(ZeroDivisionError):
        async with serve(script) as server, new_client(server) as client:
            with pytest.raises(MqttCodeError, match="unfinished and") as caught:
                for count in range(BOUND + 1):  # noqa: B007
                    client.publish_nowait("a", payload, 1)
            assert most - 2 <= count <= most
            assert caught.value.rc == 15
            go_on.set()
            raise ZeroDivisionError  # leave without waiting for them


async def test_at_qos_0_the_bound_is_what_the_transport_holds():
    go_on = asyncio.Event()
    payload = bytes(1024 * 1024)

    async def script(peer):
        await accept(peer)
        stop_reading(peer)
        await within(go_on.wait())
        resume_reading(peer)
        await gone(peer)

    with contextlib.suppress(ZeroDivisionError):
        async with (
            serve(script) as server,
            new_client(server, socket_options=SMALL_SEND_BUFFER) as client,
        ):
            with pytest.raises(MqttCodeError, match="bytes wait already"):
                for count in range(100):  # noqa: B007
                    client.publish_nowait("a", payload)
            # The sockets hold less than one of them.
            assert 63 <= count <= 65
            go_on.set()
            raise ZeroDivisionError


# --- leaving ------------------------------------------------------------------


@pytest.mark.parametrize("qos", [1, 2])
async def test_leaving_waits_until_they_are_done(qos):
    came = []

    async def script(peer):
        await accept(peer)
        published = await expect_publish(peer)
        await asyncio.sleep(0.1)
        if qos == 1:
            peer.send(ack_bytes(PUBACK, published.packet_id))
        else:
            peer.send(ack_bytes(PUBREC, published.packet_id))
            await peer.expect(PUBREL)
            await asyncio.sleep(0.1)
            peer.send(ack_bytes(PUBCOMP, published.packet_id))
        came.append(published)
        await goodbye(peer)

    async with serve(script) as server:
        async with new_client(server) as client:
            receipt = client.publish_nowait("a", "b", qos)
        assert receipt.done()
        await within(receipt)
    assert came


async def test_on_an_exception_leaving_waits_for_nothing():
    async def script(peer):
        await accept(peer)
        await expect_publish(peer)
        await goodbye(peer)

    async with serve(script) as server:
        started = time.monotonic()
        with contextlib.suppress(ZeroDivisionError):
            async with new_client(server) as client:
                receipt = client.publish_nowait("a", "b", 1)
                raise ZeroDivisionError
        assert time.monotonic() - started < 5
        with pytest.raises(MqttError, match="session ended"):
            await receipt


async def test_while_leaving_nothing_is_accepted():
    async def script(peer):
        await accept(peer)
        published = await expect_publish(peer)
        await asyncio.sleep(0.1)
        peer.send(ack_bytes(PUBACK, published.packet_id))
        await goodbye(peer)

    async with serve(script) as server:
        client = new_client(server)
        await client.__aenter__()
        client.publish_nowait("a", "b", 1)
        leaving = asyncio.create_task(client.__aexit__(None, None, None))
        await turns()
        with pytest.raises(MqttCodeError, match="being left"):
            client.publish_nowait("a", "c", 1)
        await within(leaving)
