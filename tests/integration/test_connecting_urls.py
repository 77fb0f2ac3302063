"""The examples of docs/connecting.md about URLs."""

import shutil

import pytest

from aiomqtt.broker import Broker, ClientInfo
from tests.documentation import section
from tests.integration.test_connecting import check
from tests.own_broker import server_context

pytestmark = pytest.mark.once("pure")


@pytest.fixture
def anyio_backend():
    """One loop for the test is enough: the examples choose their own."""
    return "asyncio", {"debug": True}


async def test_the_examples_connect(tmp_path, certificates, monkeypatch):
    came: list[ClientInfo] = []

    async def authenticate(client: ClientInfo) -> bool:
        if client.address != "memory":
            came.append(client)
        return True

    shutil.copy(certificates.ca_file, tmp_path / "ca.crt")
    context = server_context(certificates.server)
    async with Broker(authenticate=authenticate) as broker:
        with_tls = await broker.listen(ssl_context=context)
        ports = {1883: broker.port, 8883: with_tls.port}
        await check(section("URLs"), tmp_path, ports, broker)
        monkeypatch.setenv("MQTT_URL", "mqtt://u:p%2Fq@localhost?identifier=me")
        await check(section("URLs", 1), tmp_path, ports, broker)
        await check(section("URLs", 2), tmp_path, ports, broker)
    assert [(one.username, one.password) for one in came] == [
        ("sensor-1", b"my-password"),
        ("u", b"p/q"),
        (None, None),
    ]
    assert [one.client_id for one in came[1:]] == ["me", "sensor-1"]
