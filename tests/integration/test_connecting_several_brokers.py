"""The examples of docs/connecting.md with several brokers."""

import pytest

from aiomqtt.broker import Broker, Refusal
from aiomqtt.standard.names import USE_ANOTHER_SERVER
from tests.dns_server import serve_names
from tests.documentation import section
from tests.integration.test_connecting import check
from tests.ports import free_port

pytestmark = pytest.mark.once("pure")

# A user's machine has a name server in /etc/resolv.conf.
SET_RESOLVER = """
import dns.asyncresolver
resolver = dns.asyncresolver.Resolver(configure=False)
resolver.nameservers, resolver.port = ["127.0.0.1"], {port}
dns.asyncresolver.default_resolver = resolver
"""


@pytest.fixture
def anyio_backend():
    """One loop for the test is enough: the examples choose their own."""
    return "asyncio", {"debug": True}


async def test_brokers_named_by_the_dns(tmp_path):
    """The program finds a name server in the configuration of its resolver."""
    async with Broker() as broker, serve_names(None, {}) as names:
        names.zone["_mqtt._tcp.home.example"] = ["0 0 1883 broker.local."]
        text = SET_RESOLVER.format(port=names.port) + section(
            "Brokers named by the DNS"
        )
        await check(text, tmp_path, {1883: broker.port}, broker)


async def test_redirection(tmp_path):
    for text in (section("Server redirection"), section("Server redirection", 1)):
        refusals = [Refusal(USE_ANOTHER_SERVER, None, "mqtt.example broker.local")]

        async def redirect_once(client, refusals=refusals):
            # The listener of the test is none of them.
            is_example = client.address != "memory"
            return refusals.pop() if refusals and is_example else True

        async with Broker(authenticate=redirect_once) as broker:
            await check(text, tmp_path, {1883: broker.port}, broker)
            assert refusals == []


async def test_several_brokers(tmp_path):
    async with Broker() as broker:
        for text in (section("Several brokers"), section("Several brokers", 1)):
            ports = {1883: free_port(), 1884: broker.port}
            await check(text, tmp_path, ports, broker)
