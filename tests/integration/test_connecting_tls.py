"""The examples of docs/connecting.md with TLS that need more than a certificate."""

import shutil
import ssl

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

pytestmark = pytest.mark.once("pure")


@pytest.fixture
def anyio_backend():
    """One loop for the test is enough: the examples choose their own."""
    return "asyncio", {"debug": True}


@pytest.fixture
def server_context(certificates, tmp_path):
    """The broker's context; the examples find the files in their directory."""
    shutil.copy(certificates.ca_file, tmp_path / "ca.crt")
    shutil.copy(certificates.client.certificate, tmp_path / "client.crt")
    shutil.copy(certificates.client.key, tmp_path / "client.key")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificates.server.certificate, certificates.server.key)
    return context


async def check(text, directory, context, port, **environment):
    """Run an example that makes a client of a port, enter it, and publish."""
    async with Broker(ssl_context=context) as broker, listening(broker) as listener:
        program = to_program(text, then=CONNECT)
        ports = {port: broker.port}
        async with running(program, directory, ports, **environment) as example:
            assert await received(listener, 1) == [("example/ran", "yes")]
            assert (await example.end(), example.errors) == (0, "")


async def test_a_client_certificate(tmp_path, server_context, certificates):
    server_context.load_verify_locations(certificates.ca_file)
    server_context.verify_mode = ssl.CERT_REQUIRED
    password = certificates.client_key_password
    text = section("TLS", 2)
    await check(text, tmp_path, server_context, 8884, KEY_PASSWORD=password)


async def test_a_coroutine_function_as_context(tmp_path, server_context):
    fetch = """
async def fetch_authority():
    with open("ca.crt") as file:
        return file.read()
"""
    await check(fetch + section("TLS", 3), tmp_path, server_context, 8883)


async def test_a_protocol_to_offer(tmp_path, server_context):
    server_context.set_alpn_protocols(["x-amzn-mqtt-ca"])
    await check(section("TLS", 4), tmp_path, server_context, 443)
