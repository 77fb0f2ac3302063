"""Ending a connection without its event loop."""

import asyncio
import gc
import socket
from collections.abc import Callable

import pytest
import uvloop

from aiomqtt.net.abandon import abandon

# Python's own words about what is left open.
pytestmark = pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")


@pytest.mark.parametrize("new_loop", [asyncio.new_event_loop, uvloop.new_event_loop])
@pytest.mark.parametrize("unsent", [0, 10_000_000])
def test_the_other_end_sees_the_end(
    new_loop: Callable[[], asyncio.AbstractEventLoop], unsent
):
    loop = new_loop()
    with socket.create_server(("127.0.0.1", 0)) as server:
        transport, _ = loop.run_until_complete(
            loop.create_connection(asyncio.Protocol, *server.getsockname())
        )
        peer, _ = server.accept()
        transport.write(bytes(unsent))
        loop.close()
        # Also again.
        for _ in range(2):
            abandon(transport)
        with peer:
            peer.settimeout(10)
            received = 0
            while data := peer.recv(65536):
                received += len(data)
            assert received <= unsent
        del transport
        gc.collect()


async def test_a_loop_that_is_open_ends_it_too():
    ended = asyncio.Event()

    async def wait(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.read()
        except ConnectionError:
            pass
        finally:
            writer.close()
            ended.set()

    async with await asyncio.start_server(wait, "127.0.0.1", 0) as server:
        address = server.sockets[0].getsockname()
        loop = asyncio.get_running_loop()
        transport, _ = await loop.create_connection(asyncio.Protocol, *address)
        abandon(transport)
        await asyncio.wait_for(ended.wait(), 10)
