"""Receipts: what they say, and how awaiting them ends."""

import asyncio
import contextlib
import logging

import pytest

from aiomqtt import MqttCodeError, MqttError, Receipt
from tests.peer import PUBACK, PUBLISH, serve
from tests.raw_scripts import (
    accept,
    ack_bytes,
    acknowledging,
    expect_publish,
    goodbye,
    lasting,
    new_client,
    polite,
    publish_bytes,
    turns,
    within,
)


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

    async def wait(receipt):
        await receipt

    async with serve(acknowledging(go_on)) as server, new_client(server) as client:
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
