"""Keep alive: a peer that shows signs of life is kept, whatever delays its answer.

That one that shows none is given up in time is held by `test_client_end.py`, and in
`integration/` with real brokers.
"""

import asyncio
import contextlib
import itertools
import socket
import threading
import time

from aiomqtt import Client
from tests.peer import PINGREQ, PINGRESP, serve
from tests.raw_scripts import (
    accept,
    gone,
    new_client,
    publish_bytes,
    resume_reading,
    serve_politely,
    stop_reading,
    within,
)

names = itertools.count()


async def test_a_message_that_comes_slowly_is_life():
    """The PINGRESP can only come after it."""
    size, parts = 300_000, 60

    async def script(peer):
        await accept(peer)
        data = publish_bytes("t", bytes(size))
        step = len(data) // parts + 1
        for start in range(0, len(data), step):
            peer.send(data[start : start + step])
            await asyncio.sleep(0.05)  # 3 s in all
        pings = 0
        with contextlib.suppress(AssertionError):
            while (await peer.read_packet())[0] >> 4 == PINGREQ:
                pings += 1
                peer.packet(PINGRESP << 4)
        assert pings >= 3
        peer.close()

    async with serve(script) as server, new_client(server, keepalive=1) as client:
        message = await within(anext(client.messages))
        assert len(message.payload) == size
        await asyncio.sleep(0.6)
        assert client.is_connected()


async def test_bytes_that_leave_slowly_are_life():
    """The PINGREQ waits behind them."""
    count, size = 60, 64 * 1024

    async def script(peer):
        await accept(peer)
        left = count * size
        while left > 0:
            left -= len(await peer._reader.read(size))
            await asyncio.sleep(0.05)  # 3 s in all
        await serve_politely(peer)

    name = f"keep-alive-{next(names)}"
    async with (
        serve(script, name=name),
        Client(name, transport="memory", keepalive=1) as client,
    ):
        for _ in range(count):
            client.publish_nowait("t", bytes(size))
        async with asyncio.timeout(30):
            await client.publish("t", b"last", 1, timeout=30)
        assert client.is_connected()


def answer_pings_late(listener: socket.socket, delay: float) -> None:
    """A broker in a thread of its own, which does not care what the loop is doing."""
    connection, _ = listener.accept()
    with connection:
        connection.recv(1000)  # the CONNECT
        connection.sendall(b"\x20\x02\x00\x00")
        while data := connection.recv(2):
            if data[0] >> 4 == PINGREQ:
                time.sleep(delay)
                connection.sendall(b"\xd0\x00")


async def test_a_program_that_lets_nothing_run_is_not_the_brokers_fault():
    """The PINGRESP lies unread when its time is over."""
    listener = socket.create_server(("127.0.0.1", 0))
    broker = threading.Thread(target=answer_pings_late, args=(listener, 0.2))
    broker.start()
    try:
        async with Client(
            "127.0.0.1", listener.getsockname()[1], keepalive=1
        ) as client:
            await asyncio.sleep(1.0)  # the PINGREQ left after 0.9 s
            time.sleep(2)  # noqa: ASYNC251
            await asyncio.sleep(0.3)
            assert client.is_connected()
    finally:
        listener.close()
        await asyncio.to_thread(broker.join)


async def test_a_silent_peer_is_noticed_though_bytes_wait_to_leave():
    async def script(peer):
        await accept(peer)
        stop_reading(peer)
        await within(noticed.wait())
        resume_reading(peer)
        await gone(peer)

    noticed = asyncio.Event()
    async with serve(script) as server, new_client(server, keepalive=1) as client:
        for _ in range(40):
            client.publish_nowait("t", bytes(1_000_000))
        began = time.monotonic()
        with contextlib.suppress(Exception):
            await within(anext(client.messages))
        # 1.5 s; the rest is for a machine that is busy otherwise.
        assert time.monotonic() - began < 1.5 + 5
        assert not client.is_connected()
        noticed.set()
