"""TLS handshakes that fail or never end, and what is in the records after them."""

import asyncio
import math
import ssl
import subprocess

import pytest

from aiomqtt import Client, MqttError, TLSParameters
from aiomqtt.client.causes import to_action
from aiomqtt.net.tcp import NO_LIMIT
from tests.net.tls_server import read_packet, serving
from tests.peer import CONNECT, PUBACK, serve
from tests.ports import free_port
from tests.raw_scripts import gone, publish_bytes, take_apart, within


def server_context(certificates, **values):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates.server.certificate, certificates.server.key)
    for name, value in values.items():
        setattr(context, name, value)
    return context


def trusting(certificates, **values):
    return TLSParameters(ca_certs=str(certificates.ca_file), **values)


def new_client(certificates, port, transport="tcp", **options):
    options.setdefault("tls_params", trusting(certificates))
    return Client("localhost", port, transport=transport, **options)


async def failure(client):
    with pytest.raises(MqttError) as caught:
        await within(client.__aenter__())
    assert not client.is_connected()
    return caught.value


# --- after the handshake of TLS 1.3 -----------------------------------------------


@pytest.mark.parametrize("transport", ["tcp", "websockets"])
async def test_the_refusal_of_a_certificate_comes_after_the_handshake(
    certificates, transport
):
    context = server_context(certificates, verify_mode=ssl.CERT_REQUIRED)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.load_verify_locations(certificates.ca_file)
    async with serving(context, lambda _: None) as port:
        error = await failure(new_client(certificates, port, transport))
    text = "the broker wants a client certificate: pass certfile (TLSV13_ALERT_CERT"
    assert text in str(error)
    assert f"localhost:{port}" in str(error)
    assert "?" not in str(error)
    assert isinstance(error.__cause__, ssl.SSLError)


async def test_the_broker_does_not_know_the_name(certificates):
    context = server_context(certificates)
    context.sni_callback = lambda *_: ssl.ALERT_DESCRIPTION_UNRECOGNIZED_NAME
    async with serving(context, lambda _: None) as port:
        error = await failure(new_client(certificates, port))
    assert "the broker has no such name: check server_hostname (" in str(error)


# --- a handshake that never ends ---------------------------------------------------


async def time_out(client):
    error = await failure(client)
    assert str(error) == "Operation timed out"
    assert isinstance(error.__cause__, TimeoutError)
    return str(error.__cause__)


async def test_a_handshake_that_never_ends(certificates):
    async with serve(gone) as server:
        said = await time_out(new_client(certificates, server.port, timeout=0.5))
    assert said == (
        f"localhost:{server.port} did not complete the TLS handshake within 0.5"
        " seconds: does this port expect TLS, or a client certificate?"
    )


async def test_a_websocket_that_never_answers(certificates):
    async with serve(gone, tls=server_context(certificates)) as server:
        client = new_client(certificates, server.port, "websockets", timeout=0.5)
        said = await time_out(client)
    assert said == (
        f"wss://localhost:{server.port}/mqtt did not answer the WebSocket handshake"
        " within 0.5 seconds: does this port expect WebSocket, or a client certificate?"
    )


class Loop:
    """The running loop, with another method; uvloop's can't be replaced."""

    def __init__(self, **methods):
        self._loop = asyncio.get_running_loop()
        self._methods = methods

    def __getattr__(self, name):
        return self._methods.get(name) or getattr(self._loop, name)


async def test_a_name_that_is_never_resolved(monkeypatch):
    async def getaddrinfo(*_, **__):
        await asyncio.Event().wait()

    loop = Loop(getaddrinfo=getaddrinfo)
    monkeypatch.setattr(asyncio, "get_running_loop", lambda: loop)
    said = await time_out(Client("broker.example", timeout=0.1))
    assert said == "the host name 'broker.example' was not resolved within 0.1 seconds"


async def test_a_callable_that_never_returns():
    async def never():
        await asyncio.Event().wait()

    client = Client("localhost", tls_context=never, timeout=0.1)
    said = await time_out(client)
    assert said == "the callable for tls_context did not return within 0.1 seconds"


async def leave_at_once(client):
    async with client:
        pass


async def test_no_limit_but_the_timeout_of_the_client(certificates, monkeypatch):
    """The event loops' own limit of a minute would be another one."""
    limits = []

    async def create_connection(*arguments, **options):
        limits.append(options["ssl_handshake_timeout"])
        return await real(*arguments, **options)

    def converse(tls):
        assert read_packet(tls)[0] >> 4 == CONNECT
        tls.send(b"\x20\x02\x00\x00")

    real = asyncio.get_running_loop().create_connection
    loop = Loop(create_connection=create_connection)
    monkeypatch.setattr(asyncio, "get_running_loop", lambda: loop)
    async with serving(server_context(certificates), converse) as port:
        await leave_at_once(new_client(certificates, port, timeout=math.inf))
    assert limits == [NO_LIMIT]


# --- settings that can't be used ---------------------------------------------------


async def test_ciphers_that_do_not_exist():
    client = Client(
        "localhost", free_port(), tls_params=TLSParameters(ciphers="NO-SUCH-CIPHER")
    )
    error = await failure(client)
    assert str(error).endswith(
        ": ciphers 'NO-SUCH-CIPHER' has no cipher that OpenSSL knows"
    )
    assert to_action(error, "raise") == "stop"
    assert isinstance(error.__cause__, ssl.SSLError)


@pytest.fixture
def weak_pair(tmp_path):
    """The files of a certificate with a key of 1024 bits."""
    command = "openssl req -x509 -newkey rsa:1024 -nodes -subj /CN=weak -days 1"
    command += " -keyout weak.key -out weak.crt"
    subprocess.run(command.split(), cwd=tmp_path, check=True, capture_output=True)
    return str(tmp_path / "weak.crt"), str(tmp_path / "weak.key")


async def test_a_client_certificate_that_is_too_weak(weak_pair):
    certificate, key = weak_pair
    parameters = TLSParameters(
        certfile=certificate, keyfile=key, ciphers="DEFAULT@SECLEVEL=2"
    )
    error = await failure(Client("localhost", free_port(), tls_params=parameters))
    assert "weak.crt' is too weak for OpenSSL (EE_KEY_TOO_SMALL): renew" in str(error)


# --- records -------------------------------------------------------------------------


async def test_a_packet_over_many_records(certificates, version):
    """Also those that have one byte, and the last bytes of one with the next packet."""
    payload = bytes(range(256)) * 4
    data = publish_bytes("t", payload, version=version)
    last = publish_bytes("t", b"last", version=version)

    def converse(tls):
        assert read_packet(tls)[0] >> 4 == CONNECT
        connack = b"\x20\x03\x00\x00\x00" if version == 5 else b"\x20\x02\x00\x00"
        for byte in connack + data[:300]:
            tls.send(bytes([byte]))
        tls.send(data[300:900])
        tls.send(data[900:] + data + last[:1])
        tls.send(last[1:])

    async with serving(server_context(certificates), converse) as port:
        client = new_client(certificates, port, protocol=version)
        async with client:
            received = [await within(anext(client.messages)) for _ in range(3)]
    assert [message.payload for message in received] == [payload, payload, b"last"]


async def test_large_payloads_in_small_records(certificates, version):
    """Several MiB both ways; the server's records are of any size."""
    payload = bytes(range(256)) * (4 << 12)
    sizes = [1, 16_384, 13, 4_096, 9_999]
    received = []

    def converse(tls):
        assert read_packet(tls)[0] >> 4 == CONNECT
        tls.send(b"\x20\x03\x00\x00\x00" if version == 5 else b"\x20\x02\x00\x00")
        first, body = read_packet(tls)
        published = take_apart(first, body, version)
        received.append(published.payload)
        tls.send(bytes([PUBACK << 4, 2]) + published.packet_id.to_bytes(2))
        data = publish_bytes("t", payload, version=version)
        position = number = 0
        while position < len(data):
            size = sizes[number % len(sizes)]
            tls.sendall(data[position : position + size])
            position, number = position + size, number + 1

    async with serving(server_context(certificates), converse) as port:
        client = new_client(certificates, port, protocol=version)
        async with client:
            await within(client.publish("t", payload, 1))
            message = await within(anext(client.messages))
    assert received == [payload]
    assert message.payload == payload
