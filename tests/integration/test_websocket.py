"""WebSocket, plain and over TLS, against mosquitto."""

import asyncio

import pytest

import aiomqtt
from tests.brokers import start_on_ports
from tests.integration.programs import payloads


@pytest.fixture(scope="module")
def ports(tmp_path_factory, certificates):
    """The ports of the plain and of the secure listener."""
    broker, ports = start_on_ports(
        tmp_path_factory.mktemp("websocket"),
        2,
        lambda ports: (
            f"""
listener {ports[0]} 127.0.0.1
protocol websockets
listener {ports[1]} 127.0.0.1
protocol websockets
certfile {certificates.server.certificate}
keyfile {certificates.server.key}
"""
        ),
    )
    yield ports
    broker.stop()


@pytest.fixture(params=["ws", "wss"])
def options(request, ports, certificates):
    if request.param == "ws":
        return {"port": ports[0]}
    params = aiomqtt.TLSParameters(ca_certs=str(certificates.ca_file))
    return {"port": ports[1], "tls_params": params}


# mosquitto's library sends 4 KiB per turn of its loop, some of which take 100 ms.
SIZES = (0, 1, 125, 126, 20_000)


def new_client(**options) -> aiomqtt.Client:
    return aiomqtt.Client("localhost", transport="websockets", **options)


async def test_a_round_trip(options):
    """In all versions at once, as it takes a while."""

    async def go_round(version: int) -> None:
        client = new_client(protocol=version, **options)
        topic = f"topic/{version}"
        for _ in range(2):
            async with client:
                await client.subscribe(topic, 2)
                for size in SIZES:
                    for qos in (0, 1, 2):
                        await client.publish(topic, bytes(size), qos)
                received = await payloads(client, 15)
                assert [len(payload) for payload in received] == [
                    size for size in SIZES for _ in range(3)
                ]

    async with asyncio.TaskGroup() as tasks:
        for version in (3, 4, 5):
            tasks.create_task(go_round(version))


async def test_many_messages(options):
    async with new_client(**options) as client:
        await client.subscribe("topic", 1)
        count = 2000
        publications = [("topic", b"%d" % number, 1) for number in range(count)]
        publishing = asyncio.ensure_future(client.publish_many(publications))
        received = await payloads(client, count)
        await publishing
    assert received == [b"%d" % number for number in range(count)]


async def test_a_plain_listener_spoken_to_with_tls(ports, certificates):
    params = aiomqtt.TLSParameters(ca_certs=str(certificates.ca_file))
    with pytest.raises(aiomqtt.MqttError) as caught:
        await new_client(port=ports[0], tls_params=params).__aenter__()
    assert f"wss://localhost:{ports[0]}/mqtt: " in str(caught.value)
    assert "TLS" in str(caught.value)


async def test_a_listener_for_tls_spoken_to_without(ports):
    with pytest.raises(aiomqtt.MqttError) as caught:
        await new_client(port=ports[1]).__aenter__()
    assert f"ws://localhost:{ports[1]}/mqtt: " in str(caught.value)


async def test_an_authority_that_is_not_trusted(ports):
    client = new_client(port=ports[1], tls_params=aiomqtt.TLSParameters())
    with pytest.raises(aiomqtt.MqttError, match="the certificate was not accepted"):
        await client.__aenter__()


async def test_a_listener_for_tcp(mosquitto):
    with pytest.raises(aiomqtt.MqttError, match="does this port expect WebSocket"):
        await new_client(port=mosquitto.port).__aenter__()
