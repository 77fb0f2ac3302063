"""Where a broker accepts connections: what it opens, names and closes."""

import asyncio
import logging
import tempfile
from pathlib import Path

import pytest

from aiomqtt.broker import Limits, Listener
from aiomqtt.broker.core.state import BrokerState
from aiomqtt.broker.io.connection_set import ConnectionSet
from aiomqtt.broker.io.hook_runner import Hooks
from aiomqtt.broker.listeners import Listeners
from aiomqtt.log import to_logger

LOGGER = to_logger(None, logging.getLogger("mqtt.broker"))


@pytest.fixture
async def running():
    """The connections of a running broker."""
    now = asyncio.get_running_loop().time()
    state = BrokerState(Limits(), lambda: "generated", LOGGER.info, now)
    hooks = Hooks(None, None, None, None, LOGGER)
    connection_set = ConnectionSet(state, hooks, LOGGER)
    yield connection_set
    connection_set.abort()


async def close(listeners):
    for server in listeners.close():
        await server.wait_closed()


async def test_addresses_are_named_in_the_order_in_which_they_were_opened(running):
    listeners = Listeners()
    listeners.begin(running, "name")
    # The directories of pytest may be too long for it.
    with tempfile.TemporaryDirectory(dir="/tmp") as directory:
        path = Path(directory, "a b.sock")
        first = await listeners.listen(running, "127.0.0.1", 0, None, False)
        unix = await listeners.listen_unix(running, str(path))
        second = await listeners.listen(running, "localhost", 0, None, False)
        assert listeners.opened == [first, unix, second]
        assert first.url == f"mqtt://127.0.0.1:{first.port}"
        assert second.url == f"mqtt://localhost:{second.port}"
        assert unix == Listener(str(path), 0, f"unix://{directory}/a%20b.sock")
        for listener in (first, second):
            _, writer = await asyncio.open_connection(listener.host, listener.port)
            writer.close()
            await writer.wait_closed()
        await close(listeners)
        assert listeners.opened == []
        with pytest.raises(FileNotFoundError):
            await asyncio.open_unix_connection(path)
    for listener in (first, second):
        with pytest.raises(OSError, match="refused|[Cc]onnect"):
            await asyncio.open_connection(listener.host, listener.port)


async def test_ipv6_is_in_brackets(running):
    listeners = Listeners()
    listeners.begin(running, "name")
    listener = await listeners.listen(running, "::1", 0, None, False)
    assert listener.url == f"mqtt://[::1]:{listener.port}"
    await close(listeners)


async def test_a_name_is_free_again_when_it_was_closed(running):
    listeners, others = Listeners(), Listeners()
    listeners.begin(running, "name")
    with pytest.raises(ValueError, match="name is taken"):
        others.begin(running, "name")
    await close(listeners)
    others.begin(running, "name")
    await close(others)
    # Nothing is open any more.
    assert others.close() == []
