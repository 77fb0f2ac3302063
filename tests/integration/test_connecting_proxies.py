"""The examples of docs/connecting.md with a proxy."""

import pytest

from aiomqtt.broker import Broker
from tests.documentation import section
from tests.integration.page_examples import (
    CONNECT,
    listening,
    received,
    running,
    to_program,
)
from tests.proxies import Microsocks

pytestmark = pytest.mark.once("pure")


class ForSensors(Microsocks):
    username = "sensor-1"


@pytest.fixture
def anyio_backend():
    """One loop for the test is enough: the examples choose their own."""
    return "asyncio", {"debug": True}


@pytest.fixture(params=[False, True], ids=["open", "password"])
def proxy(request, tmp_path):
    (tmp_path / "proxy").mkdir()
    proxy = ForSensors(tmp_path / "proxy", passwords=request.param)
    proxy.start()
    yield proxy
    proxy.stop()


async def check(text, directory, proxy, **environment):
    """Run an example that makes a client, enter it, and publish."""
    async with Broker() as broker, listening(broker) as listener:
        # The proxy connects to the port that it is told.
        text = text.replace("1883", str(broker.port))
        program = to_program(text, then=CONNECT)
        ports = {1080: proxy.port}
        async with running(program, directory, ports, **environment) as example:
            assert await received(listener, 1) == [("example/ran", "yes")]
            assert (await example.end(), example.errors) == (0, "")


async def test_settings(tmp_path, proxy):
    await check(section("Proxies"), tmp_path, proxy, PROXY_PASSWORD=proxy.password)


async def test_the_environment(tmp_path, proxy):
    login = f"{proxy.username}:{proxy.password}@"
    url = f"socks5h://{login}localhost:1080"
    text = section("Proxies", 1)
    await check(text, tmp_path, proxy, ALL_PROXY=url, all_proxy="", mqtt_proxy="")
