"""One conversation over each transport, with each broker that has it."""

import asyncio
import contextlib
import json
import os
import ssl
import tempfile
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

import aiomqtt
from aiomqtt.broker import Broker as OwnBroker
from tests.brokers import Broker
from tests.certificates import Certificates
from tests.integration.programs import SOON, payloads, unique
from tests.ports import free_port

AEDES = Path(__file__).parent / "other_clients" / "programs" / "aedes_broker.mjs"

# The arguments of a client.
Place = dict[str, Any]

SOCKETS = ("tcp", "tls", "mutual tls", "ws", "wss", "unix")
# mosquitto's WebSocket sends 4 KiB in a turn of its loop, some of which take 100 ms.
SIZES = (0, 1, 125, 126, 20_000)


def tls_of(certificates: Certificates, *, is_mutual: bool = False) -> Place:
    pair = certificates.client if is_mutual else None
    params = aiomqtt.TLSParameters(
        ca_certs=str(certificates.ca_file),
        certfile=str(pair.certificate) if pair else None,
        keyfile=str(pair.key) if pair else None,
        keyfile_password=certificates.client_key_password if pair else None,
    )
    return {"hostname": "localhost", "tls_params": params}


@pytest.fixture(scope="module")
def mosquitto_places(
    tmp_path_factory: pytest.TempPathFactory, certificates: Certificates
) -> Iterator[dict[str, Place]]:
    """A mosquitto with a listener for each transport."""
    ws, wss = free_port(), free_port()
    # A path in a temporary directory of pytest may be too long.
    with tempfile.TemporaryDirectory(dir="/tmp") as directory:
        path = f"{directory}/broker.sock"
        pair = certificates.server
        broker = Broker(
            tmp_path_factory.mktemp("transports"),
            certificates=certificates,
            settings=f"""
listener {ws} 127.0.0.1
protocol websockets
listener {wss} 127.0.0.1
protocol websockets
certfile {pair.certificate}
keyfile {pair.key}
listener 0 {path}
""",
        )
        broker.start()
        tls, mutual = tls_of(certificates), tls_of(certificates, is_mutual=True)
        yield {
            "tcp": {"hostname": broker.host, "port": broker.port},
            "tls": {"port": broker.tls_port, **tls},
            "mutual tls": {"port": broker.mutual_tls_port, **mutual},
            "ws": {"hostname": "localhost", "port": ws, "transport": "websockets"},
            "wss": {"port": wss, "transport": "websockets", **tls},
            "unix": {"hostname": path, "transport": "unix"},
        }
        broker.stop()


@pytest.fixture
async def own_places(
    anyio_backend: Any, tmp_path: Path, certificates: Certificates
) -> AsyncIterator[dict[str, Place]]:
    """Our own broker, with a listener for each transport."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificates.server.certificate, certificates.server.key)
    mutual_context = ssl.create_default_context(
        ssl.Purpose.CLIENT_AUTH, cafile=certificates.ca_file
    )
    mutual_context.load_cert_chain(
        certificates.server.certificate, certificates.server.key
    )
    mutual_context.verify_mode = ssl.CERT_REQUIRED
    tls, mutual = tls_of(certificates), tls_of(certificates, is_mutual=True)
    path = str(tmp_path / "broker.sock")
    async with OwnBroker() as broker:
        ports = {
            "tls": (await broker.listen(ssl_context=context)).port,
            "mutual tls": (await broker.listen(ssl_context=mutual_context)).port,
            "ws": (await broker.listen(websocket=True)).port,
            "wss": (await broker.listen(websocket=True, ssl_context=context)).port,
        }
        await broker.listen_unix(path)
        websockets = {"hostname": "localhost", "transport": "websockets"}
        yield {
            "tcp": {"hostname": broker.host, "port": broker.port},
            "tls": {"port": ports["tls"], **tls},
            "mutual tls": {"port": ports["mutual tls"], **mutual},
            "ws": {"port": ports["ws"], **websockets},
            "wss": {"port": ports["wss"], **websockets, **tls},
            "unix": {"hostname": path, "transport": "unix"},
            "memory": {"hostname": broker.name, "transport": "memory"},
        }


@pytest.fixture
async def aedes_places(
    anyio_backend: Any, certificates: Certificates
) -> AsyncIterator[dict[str, Place]]:
    """aedes, a broker of Node.js, with a listener for each transport."""
    pair = certificates.server
    process = await asyncio.create_subprocess_exec(
        *("node", AEDES, pair.certificate, pair.key), stdin=PIPE, stdout=PIPE
    )
    assert process.stdout is not None
    assert process.stdin is not None
    try:
        async with asyncio.timeout(3 * SOON):
            ports = json.loads(await process.stdout.readline())
        tls = tls_of(certificates)
        websockets = {"hostname": "localhost", "transport": "websockets"}
        yield {
            "tcp": {"hostname": "127.0.0.1", "port": ports["tcp"]},
            "tls": {"port": ports["tls"], **tls},
            "ws": {"port": ports["ws"], **websockets},
            "wss": {"port": ports["wss"], **websockets, **tls},
        }
    finally:
        process.stdin.close()
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


def new_client(place: Place, version: int) -> aiomqtt.Client:
    return aiomqtt.Client(**place, protocol=version, timeout=3 * SOON)


async def converse(place: Place, version: int) -> None:
    """Use each QoS in both directions, with several sizes; enter the client thrice."""
    topic = unique(f"transports/{os.getpid()}")
    sent = [os.urandom(size) for size in SIZES]
    client = new_client(place, version)
    for qos in (0, 1, 2):
        async with client:
            await client.subscribe(topic, qos)
            for payload in sent:
                await client.publish(topic, payload, qos)
            assert await payloads(client, len(sent)) == sent
            await client.unsubscribe(topic)


@pytest.mark.parametrize("transport", SOCKETS)
async def test_mosquitto(mosquitto_places, transport, version):
    await converse(mosquitto_places[transport], version)


@pytest.mark.parametrize("transport", [*SOCKETS, "memory"])
async def test_our_own_broker(own_places, transport, version):
    await converse(own_places[transport], version)


async def test_aedes(aedes_places):
    for place in aedes_places.values():
        for version in (3, 4):
            await converse(place, version)


async def test_a_version_that_aedes_does_not_speak(aedes_places):
    for place in aedes_places.values():
        with pytest.raises(aiomqtt.MqttConnectError, match="protocol version"):
            await new_client(place, 5).__aenter__()
