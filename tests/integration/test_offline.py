"""Needs 8 and 9: publishing while a real broker is away, and while nothing leaves."""

import asyncio
import sys

import pytest

from aiomqtt import ConnectionState, MqttCodeError, MqttError, OfflineQueue
from tests.integration.programs import SOON, client_of, start, stop, take
from tests.integration.reconnecting import STORED, lasting, new_client


@STORED
async def test_need_8_every_call_settles_once_and_says_how(
    private_broker, version, is_stored, tmp_path
):
    broker = private_broker
    limits = OfflineQueue(max_messages=4, overflow="drop_oldest")
    options = lasting(tmp_path, "sender", True) if is_stored else {}
    client = new_client(broker, version, offline=limits, **options)
    listener = client_of(broker, version, persistent=True, identifier="listener")
    async with listener:
        await listener.subscribe("t", 2)
    async with client:
        await stop(broker)
        async with asyncio.timeout(3 * SOON):
            async for change in client.states():
                if change.state is ConnectionState.WAITING:
                    break
        waits = [
            asyncio.create_task(
                client.publish("t", f"wait {n}", 1, offline="wait", timeout=60)
            )
            for n in range(2)
        ]
        with pytest.raises(MqttCodeError, match="not currently connected"):
            await client.publish("t", "fail", 1, offline="fail")
        receipts = [client.publish_nowait("t", f"queue {n}", 1) for n in range(6)]
        for receipt in receipts[:2]:
            with pytest.raises(MqttError, match="the queue was full"):
                await receipt
        await start(broker)
        async with asyncio.timeout(3 * SOON):
            await asyncio.gather(*receipts[2:], *waits)
        outcomes = [receipt.outcome for receipt in receipts]
        assert outcomes == ["dropped"] * 2 + ["delivered"] * 4
    async with listener:
        messages = await take(listener, 6)
    queued = [f"queue {n}".encode() for n in range(2, 6)]
    # What was queued comes before what waited.
    assert [message.payload for message in messages] == [*queued, b"wait 0", b"wait 1"]


@pytest.mark.parametrize("case", ["stalled", "wait", "queue", "drop_oldest"])
async def test_need_9_memory_is_bounded_while_nothing_leaves(case):
    """A thirtieth of what `scripts/soak` publishes."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.soak.stalled", case, "33000"),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    assert process.returncode == 0, output.decode()
