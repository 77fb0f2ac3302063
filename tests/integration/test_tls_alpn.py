"""ALPN: brokers on a port that other services share, such as AWS IoT on port 443."""

import asyncio
import contextlib
import shutil
import subprocess

import pytest

import aiomqtt
from tests.integration.programs import SOON, payloads
from tests.ports import free_port

AWS = "x-amzn-mqtt-ca"


def parameters(certificates, *names):
    return aiomqtt.TLSParameters(
        ca_certs=str(certificates.ca_file), alpn_protocols=names
    )


@contextlib.asynccontextmanager
async def running(*command, port):
    """Run a server until the block ends; it listens when the block begins."""
    program = shutil.which(command[0]) or f"/usr/sbin/{command[0]}"
    process = await asyncio.create_subprocess_exec(
        program,
        *command[1:],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    try:
        async with asyncio.timeout(SOON):
            while not await listens(port):
                assert process.returncode is None, await process.communicate()
                await asyncio.sleep(0.02)
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.communicate()


async def listens(port):
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    await writer.wait_closed()
    return True


@contextlib.asynccontextmanager
async def running_on_a_port(to_command):
    """Run a server on a free port, which another process may take in between."""
    async with contextlib.AsyncExitStack() as stack:
        for remaining in reversed(range(5)):
            port = free_port()
            try:
                server = running(*to_command(port), port=port)
                await stack.enter_async_context(server)
            except AssertionError:
                if not remaining:
                    raise
            else:
                break
        yield port


@pytest.fixture
async def shared_port(mosquitto, certificates, tmp_path):
    """A port of haproxy that leads to mosquitto, and needs the right protocol."""
    pair, config = tmp_path / "server.pem", tmp_path / "haproxy.cfg"
    server = certificates.server
    pair.write_bytes(server.certificate.read_bytes() + server.key.read_bytes())

    def to_command(port):
        config.write_text(f"""
defaults
    mode tcp
    timeout connect 10s
    timeout client 60s
    timeout server 60s
frontend shared
    bind 127.0.0.1:{port} ssl crt {pair} alpn {AWS},http/1.1
    tcp-request content reject unless {{ ssl_fc_alpn {AWS} }}
    default_backend mosquitto
backend mosquitto
    server mosquitto {mosquitto.address}
""")
        return "haproxy", "-db", "-f", str(config)

    async with running_on_a_port(to_command) as port:
        yield port


async def test_the_port_needs_a_protocol(shared_port, certificates, version):
    client = aiomqtt.Client(
        "localhost",
        shared_port,
        protocol=version,
        tls_params=parameters(certificates, AWS),
    )
    for _ in range(2):
        async with client:
            await client.subscribe("alpn", 1)
            await client.publish("alpn", b"through", 1)
            assert await payloads(client, 1) == [b"through"]


@pytest.mark.parametrize("names", [(), ("http/1.1",), ("mqtt",)])
async def test_the_port_has_another_protocol(shared_port, certificates, names):
    """A control: haproxy ends the connection, and does not say why."""
    client = aiomqtt.Client(
        "localhost", shared_port, tls_params=parameters(certificates, *names)
    )
    with pytest.raises(aiomqtt.MqttError, match=f"localhost:{shared_port} lost"):
        await client.__aenter__()


async def test_the_server_refuses_the_protocol(certificates):
    server = certificates.server

    def to_command(port):
        files = ("-cert", str(server.certificate), "-key", str(server.key))
        return (
            *("openssl", "s_server", "-accept", f"127.0.0.1:{port}"),
            *("-alpn", "h2", "-quiet", *files),
        )

    async with running_on_a_port(to_command) as port:
        client = aiomqtt.Client(
            "localhost", port, tls_params=parameters(certificates, AWS)
        )
        with pytest.raises(aiomqtt.MqttError) as caught:
            await client.__aenter__()
    said = f"localhost:{port}: the broker accepts no protocol of alpn_protocols (TLSV1"
    assert said in str(caught.value)
