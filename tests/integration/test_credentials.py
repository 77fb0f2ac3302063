"""Credentials that are renewed for each CONNECT, against brokers that change them."""

import pytest

import aiomqtt
from aiomqtt.broker import Broker, ClientInfo
from tests.brokers import Broker as Mosquitto
from tests.integration.programs import unique


class TokenServer:
    """Issues tokens that are good for one CONNECT."""

    def __init__(self) -> None:
        self.issued = 0
        self._valid: set[bytes] = set()

    async def credentials(self) -> tuple[str, str]:
        """Return what a client passes to its broker."""
        self.issued += 1
        token = f"token-{self.issued}"
        self._valid.add(token.encode())
        return "device", token

    async def authenticate(self, client: ClientInfo) -> bool:
        """Accept a token once; the hook of the broker."""
        if client.password not in self._valid:
            return False
        self._valid.remove(client.password)
        return True


async def test_need_19_a_token_for_each_connection(version):
    server = TokenServer()
    async with Broker(authenticate=server.authenticate) as broker:
        client = aiomqtt.Client(
            "127.0.0.1",
            broker.port,
            protocol=version,
            credentials=server.credentials,
        )
        for _ in range(3):
            async with client:
                await client.publish(unique("token"), b"let in", 1)
        assert server.issued == 3
        stale = aiomqtt.Client(
            "127.0.0.1", broker.port, username="device", password="token-3"
        )
        with pytest.raises(aiomqtt.MqttConnectError):
            await stale.__aenter__()


async def test_a_password_that_changes(tmp_path, version):
    """A mosquitto whose administrator changes the password meanwhile."""
    broker = Mosquitto(tmp_path, passwords=True)
    broker.start()
    try:
        known = broker.password

        async def credentials() -> tuple[str, str]:
            return broker.username, known

        client = aiomqtt.Client(
            broker.host, broker.port, protocol=version, credentials=credentials
        )
        async with client:
            await client.publish(unique("password"), b"let in", 1)
        broker.password = "changed"
        broker.restart()
        with pytest.raises(aiomqtt.MqttConnectError):
            await client.__aenter__()
        known = broker.password
        async with client:
            await client.publish(unique("password"), b"let in", 1)
    finally:
        broker.stop()
