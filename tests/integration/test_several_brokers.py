"""Several brokers in one client, with real ones."""

import asyncio
from typing import Any

import pytest

from aiomqtt import Broker, Client, MqttError, ProtocolVersion, TLSParameters
from aiomqtt.broker import ClientInfo
from tests.certificates import Certificates
from tests.integration.programs import start, unique
from tests.own_broker import server_context
from tests.ports import free_port
from tests.proxies import Microsocks


def client_of_both(first: Any, second: Any, **arguments: Any) -> Client:
    if first.transport == "memory":
        return Client([first.name, second.name], transport="memory", **arguments)
    brokers = [(first.host, first.port), (second.host, second.port)]
    return Client(brokers, **arguments)


async def test_it_moves_to_the_second_and_returns_to_the_first(start_broker):
    first, second = await start_broker(), await start_broker()
    one, two, three = unique("one"), unique("two"), unique("three")
    client = client_of_both(first, second)
    async with asyncio.timeout(30), client:
        await client.subscribe(one)
    first.kill()
    async with asyncio.timeout(30), client:
        await client.subscribe(two)
    await start(first)
    async with asyncio.timeout(30), client:
        await client.subscribe(three)
    assert one in first.log
    assert two in second.log
    assert three in first.log


async def test_a_broker_that_hangs_does_not_stop_it(start_broker):
    first, second = await start_broker(), await start_broker()
    topic = unique("topic")
    first.pause()
    try:
        client = client_of_both(first, second, attempt_timeout=1)
        async with asyncio.timeout(30), client:
            await client.subscribe(topic)
        assert topic in second.log
    finally:
        first.resume()


async def test_the_certificate_of_each_host_is_checked(
    mosquitto, certificates: Certificates
):
    wrong, right = mosquitto.wrong_name_port, mosquitto.tls_port
    tls = TLSParameters(ca_certs=str(certificates.ca_file))
    client = Client([("127.0.0.1", wrong), ("127.0.0.1", right)], tls_params=tls)
    async with asyncio.timeout(30), client:
        await client.publish("a", b"1", 1)
    client = Client([("127.0.0.1", wrong)] * 2, tls_params=tls)
    with pytest.raises(MqttError, match="any of 2 brokers: .*certificate.*certificate"):
        await client.__aenter__()


@pytest.mark.parametrize("redirect", ["follow", lambda one: one.addresses])
async def test_every_way_at_once(
    redirect, certificates: Certificates, tmp_path, anyio_backend, caplog
):
    """By secure WebSocket, a proxy and a list; redirected, with tokens that expire."""
    caplog.set_level("DEBUG")
    came: list[bytes | None] = []
    count = 0

    async def authenticate(client: ClientInfo) -> bool:
        came.append(client.password)
        return True

    async def credentials() -> tuple[str, str]:
        nonlocal count
        count += 1
        return "sensor-1", f"token-{count}"

    context = server_context(certificates.server)
    proxy = Microsocks(tmp_path, passwords=True)
    proxy.start()
    try:
        async with (
            Broker(authenticate=authenticate) as old,
            Broker(authenticate=authenticate) as new,
        ):
            places = [
                await broker.listen(ssl_context=context, websocket=True)
                for broker in (old, new)
            ]
            old.redirect(f"localhost:{places[1].port}", permanent=True)
            # The last one allows "follow" to go to its port.
            ports = [free_port(), places[0].port, places[1].port]
            client = Client(
                [("localhost", port) for port in ports],
                transport="websockets",
                tls_params=TLSParameters(ca_certs=str(certificates.ca_file)),
                proxy=proxy.settings(2),
                credentials=credentials,
                protocol=ProtocolVersion.V5,
                redirect=redirect,
                timeout=30,
            )
            async with client:
                await client.publish("a", b"1", 1)
            # One for the port without a broker, and one for that which redirects.
            assert came == [b"token-3"]
            async with client:
                await client.publish("a", b"1", 1)
            # The new place of the old broker is tried before the old one.
            assert came == [b"token-3", b"token-5"]
    finally:
        proxy.stop()
    assert "token-" not in caplog.text
