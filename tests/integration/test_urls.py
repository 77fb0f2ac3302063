"""URLs of every scheme, against the brokers that they name."""

import tempfile
from typing import Any

import aiomqtt
from aiomqtt.broker import Broker
from tests.integration.programs import payloads, unique
from tests.own_broker import server_context


async def round_trip(url: str, **arguments: Any) -> None:
    client = aiomqtt.Client.from_url(url, **arguments)
    topic = unique("url")
    async with client:
        await client.subscribe(topic, 1)
        await client.publish(topic, b"here", 1)
        assert await payloads(client, 1) == [b"here"]


async def test_mosquitto(mosquitto):
    await round_trip(f"mqtt://{mosquitto.host}:{mosquitto.port}?protocol=5")
    ca_file = mosquitto.ca_file
    url = f"mqtts://localhost:{mosquitto.tls_port}?ca_certs={ca_file}"
    await round_trip(url)
    # The first one does not answer.
    await round_trip(f"mqtt://127.0.0.1:9,{mosquitto.host}:{mosquitto.port}")


async def test_mosquitto_with_a_password(password_mosquitto):
    broker = password_mosquitto
    await round_trip(
        f"mqtt://{broker.username}:{broker.password}@{broker.host}:{broker.port}"
    )


async def test_what_our_broker_says_of_itself(certificates):
    """Its URLs, as they are in the log, are those that clients take."""
    context = server_context(certificates.server)
    ca_certs = f"?ca_certs={certificates.ca_file}"
    async with Broker(credentials={"u@d": "p/q:r"}) as broker:
        urls = [
            broker.url,
            (await broker.listen(host="::1")).url,
            (await broker.listen(ssl_context=context)).url + ca_certs,
            (await broker.listen(websocket=True)).url,
            (await broker.listen(websocket=True, ssl_context=context)).url + ca_certs,
            f"memory:{broker.name}",
        ]
        with tempfile.TemporaryDirectory(dir="/tmp") as directory:
            urls.append((await broker.listen_unix(f"{directory}/a b.sock")).url)
            for url in urls:
                scheme, _, rest = url.partition(":")
                rest = rest.removeprefix("//")
                await round_trip(f"{scheme}://u%40d:p%2Fq:r@{rest}")


async def test_a_program_under_test(mqtt_broker, monkeypatch):
    """The fixture's broker, for a program that reads the environment."""
    monkeypatch.setenv("MQTT_URL", mqtt_broker.url)
    async with aiomqtt.Client.from_env(identifier="program"):
        assert [*mqtt_broker.clients] == ["program"]
