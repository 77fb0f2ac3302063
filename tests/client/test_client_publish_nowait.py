"""Publishing without waiting: receipts, their bounds and what becomes of them."""

import asyncio
import contextlib
import logging
import time

import pytest

from aiomqtt import MqttCodeError, MqttError, Receipt
from tests.peer import PUBACK, PUBCOMP, PUBLISH, PUBREC, PUBREL, serve
from tests.raw_scripts import (
    SMALL_SEND_BUFFER,
    accept,
    ack_bytes,
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

BOUND = 65_536


@pytest.mark.parametrize("qos", [0, 1, 2])
async def test_a_receipt_is_done_when_the_flow_is(version, qos):
    async with serve(polite(version)) as server, new_client(server, version) as client:
        receipt = client.publish_nowait("a", "b", qos)
        assert isinstance(receipt, Receipt)
        assert receipt.done() is (qos == 0)
        assert receipt.reason_code is None
        assert receipt.outcome == (None if qos else "delivered")
        await within(receipt)
        assert receipt.done()
        assert receipt.outcome == "delivered"
        assert receipt.reason_code == (0 if qos else None)
        # Again, and from several tasks, as late as one likes.
        await within(receipt)
        await within(asyncio.gather(*(receipt for _ in range(3))))


async def test_several_wait_at_once_and_cancelling_takes_nothing_back():
    go_on = asyncio.Event()

    async def script(peer):
        await accept(peer)
        published = await expect_publish(peer)
        await within(go_on.wait())
        peer.send(ack_bytes(PUBACK, published.packet_id))
        await goodbye(peer)

    async def wait(receipt):
        await receipt

    async with serve(script) as server, new_client(server) as client:
        receipt = client.publish_nowait("a", "b", 1)
        tasks = [asyncio.create_task(wait(receipt)) for _ in range(4)]
        await turns()
        tasks[0].cancel()
        tasks[2].cancel()
        await turns()
        assert [task.done() for task in tasks] == [True, False, True, False]
        assert not receipt.done()
        go_on.set()
        await within(asyncio.gather(tasks[1], tasks[3]))
        assert receipt.done()


async def test_thousands_without_a_pause_arrive_in_order():
    count = 6000
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


# --- refusals ------------------------------------------------------------------


@pytest.mark.parametrize("awaited", ["before", "after"])
async def test_a_refusal_raises_with_code_and_reason(caplog, awaited):
    reason = b"\x00\x87\x05\x1f\x00\x02no"
    go_on = asyncio.Event()

    async def script(peer):
        await accept(peer, 5)
        published = await expect_publish(peer, 5)
        if awaited == "before":
            await within(go_on.wait())
        peer.send(ack_bytes(PUBACK, published.packet_id, *reason[1:]))
        peer.send(publish_bytes("t", b"", version=5))
        await goodbye(peer)

    async def wait(receipt):
        await receipt

    async with serve(script) as server, new_client(server, 5) as client:
        receipt = client.publish_nowait("a", "b", 1)
        task = None
        if awaited == "before":
            task = asyncio.create_task(wait(receipt))
            await turns()
            go_on.set()
        await within(anext(client.messages))
        assert receipt.done()
        assert receipt.reason_code == 0x87
        assert receipt.outcome == "refused"
        for waiting in (task or receipt, receipt):
            with pytest.raises(MqttCodeError, match="Not authorized: no") as caught:
                await within(waiting)
            assert caught.value.rc == 0x87
            assert caught.value.reason_string == "no"
    # Nobody was told when it came: the log is.
    logged = "nobody waits for any more" in caplog.text
    assert logged is (awaited == "after")


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


# --- leaving, and the end of the connection --------------------------------------


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


async def test_the_end_of_the_connection_wakes_those_who_wait():
    async def script(peer):
        await accept(peer)
        await expect_publish(peer)
        peer.close()

    async def wait(receipt):
        await receipt

    with contextlib.suppress(MqttError):
        async with serve(script) as server, new_client(server) as client:
            receipt = client.publish_nowait("a", "b", 1)
            waiting = asyncio.create_task(wait(receipt))
            with pytest.raises(MqttError, match="lost"):
                await within(waiting)
            # The session ended with its connection.
            assert receipt.done()
            assert receipt.outcome == "session lost"
            with pytest.raises(MqttError, match="session ended"):
                await within(receipt)
            raise MqttError


@pytest.mark.parametrize("level", [4, 5])
async def test_in_a_session_that_lasts_a_receipt_goes_on_with_the_next(level):
    async def break_off(peer):
        await accept(peer, level)
        await expect_publish(peer, level)
        peer.close()

    async def resume(peer):
        await accept(peer, level, session_present=1)
        first, body = await peer.expect(PUBLISH)
        assert first & 8  # DUP
        size = int.from_bytes(body[:2], "big")
        packet_id = int.from_bytes(body[2 + size : 4 + size], "big")
        peer.send(ack_bytes(PUBACK, packet_id))
        await goodbye(peer)

    async with serve(break_off, resume) as server:
        client = lasting(server, level)
        with contextlib.suppress(MqttError):
            async with client:
                receipt = client.publish_nowait("a", "b", 1)
                with pytest.raises(MqttError, match="lost"):
                    await within(receipt)
                raise MqttError
        assert not receipt.done()
        assert receipt.outcome is None
        with pytest.raises(MqttCodeError, match="not currently connected"):
            await receipt
        async with client:
            await within(receipt)
        assert receipt.done()


async def test_dropped_receipts_leave_nothing_behind(caplog):
    caplog.set_level(logging.WARNING)
    async with serve(polite()) as server, new_client(server) as client:
        for _ in range(100):
            client.publish_nowait("a", "b", 1)
        await within(client.publish("a", "b", 1))
        calls = client._calls
        assert calls is not None
        assert not calls._observed
    assert not caplog.records
