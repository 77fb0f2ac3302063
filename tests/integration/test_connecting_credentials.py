"""The examples of docs/connecting.md about credentials and the will."""

import pytest

from aiomqtt.broker import Broker, ClientInfo
from tests.documentation import section
from tests.integration.test_connecting import check

pytestmark = pytest.mark.once("pure")


@pytest.fixture
def anyio_backend():
    """One loop for the test is enough: the examples choose their own."""
    return "asyncio", {"debug": True}


async def test_the_examples_connect(tmp_path):
    came: list[tuple[str | None, bytes | None]] = []

    async def authenticate(client: ClientInfo) -> bool:
        if client.address != "memory":
            came.append((client.username, client.password))
        return True

    async with Broker(authenticate=authenticate) as broker:
        for text in (
            section("Credentials"),
            section("Credentials", 1),
            section("Credentials", 2),
        ):
            await check(text, tmp_path, {1883: broker.port}, broker)
    assert came == [
        ("sensor-1", b"my-password"),
        ("sensor-1", b"renewed"),
        (None, None),
    ]
