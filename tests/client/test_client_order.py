"""In which order the program gets to know what came in one chunk."""

import asyncio
from typing import Any

from aiomqtt import Client, Receipt
from tests.peer import CONNACK, CONNECT, PUBACK, SUBACK, SUBSCRIBE, serve
from tests.raw_scripts import (
    ack_bytes,
    codes_of,
    expect_publish,
    goodbye,
    new_client,
    publish_bytes,
    within,
)


def connack_bytes(version: int) -> bytes:
    body = b"\x00\x00" + (b"\x00" if version == 5 else b"")
    return bytes([CONNACK << 4, len(body)]) + body


async def test_a_subscription_is_answered_before_its_retained_message(version):
    async def script(peer):
        await peer.expect(CONNECT)
        peer.connack(version)
        first, body = await peer.expect(SUBSCRIBE)
        codes = codes_of(first, body, version)
        answer = body[:2] + (b"\x00" if version == 5 else b"") + codes
        peer.send(
            bytes([SUBACK << 4, len(answer)])
            + answer
            + publish_bytes("t", b"kept", version=version, retain=True)
        )
        await goodbye(peer)

    order = []
    async with serve(script) as server, new_client(server, version) as client:

        async def receive():
            order.append((await anext(client.messages)).payload)

        receiver = asyncio.create_task(receive())
        await within(client.subscribe("t"))
        order.append("subscribed")
        await within(receiver)
    assert order == ["subscribed", b"kept"]


async def test_the_client_is_entered_before_it_receives(version):
    async def script(peer):
        await peer.expect(CONNECT)
        peer.send(
            connack_bytes(version) + publish_bytes("t", b"first", version=version)
        )
        await goodbye(peer)

    came: list[tuple[bool, bytes]] = []

    class Queue(asyncio.Queue[Any]):
        def _put(self, item):
            came.append((client.is_connected(), item.payload))
            super()._put(item)

    async with serve(script) as server:
        client: Client = new_client(server, version, queue_type=Queue)
        async with client:
            await within(anext(client.messages))
    assert came == [(True, b"first")]


async def test_what_the_program_does_on_a_message_happens_after_what_came_with_it():
    """A queue of the program's own may call the client while it is handed a message."""

    async def script(peer):
        await peer.expect(CONNECT)
        peer.connack(4)
        await expect_publish(peer)
        await expect_publish(peer)
        peer.send(publish_bytes("t", b"x") + ack_bytes(PUBACK, 1))
        await goodbye(peer)

    class Queue(asyncio.Queue[Any]):
        def _put(self, item):
            super()._put(item)
            assert client.drop_pending() == 1

    order: list[str] = []
    async with serve(script) as server:
        client: Client = new_client(server, queue_type=Queue)

        async def await_receipt(name: str, receipt: Receipt) -> None:
            try:
                await receipt
            finally:
                order.append(name)

        async with client:
            tasks = [
                asyncio.create_task(
                    await_receipt(name, client.publish_nowait("a", b"", 1))
                )
                for name in ("acknowledged", "dropped")
            ]
            await within(asyncio.wait(tasks))
            assert tasks[0].exception() is None
            assert "dropped" in str(tasks[1].exception())
    assert order == ["acknowledged", "dropped"]
