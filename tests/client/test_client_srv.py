"""`srv=True`: a client whose brokers the DNS names, with a name server on loopback."""

import asyncio
import logging
from typing import Any

import dns.rcode
import pytest

from aiomqtt import Broker, Client, MqttConnectError, MqttError, TLSParameters
from tests.dns_server import serve_names
from tests.own_broker import server_context
from tests.peer import serve
from tests.ports import free_port
from tests.raw_scripts import accept, cancelled_after, fails, gone, polite, within

NAME = "_mqtt._tcp.home.example"
SECURE_NAME = "_secure-mqtt._tcp.wrong.example"


def new_client(**arguments: Any) -> Client:
    return Client("home.example", srv=True, **arguments)


async def test_it_connects_to_the_broker_of_the_domain(monkeypatch, caplog):
    async with Broker(host="localhost") as broker:
        zone = {NAME: [f"0 0 {broker.port} localhost."]}
        async with serve_names(monkeypatch, zone) as server:
            client = new_client()
            with caplog.at_level(logging.INFO, "mqtt"):
                async with asyncio.timeout(10), client:
                    await client.publish("a", b"", 1)
            assert caplog.messages[0].startswith(
                f"Connected to localhost:{broker.port}"
            )
            # Each entry asks again.
            async with asyncio.timeout(10), client:
                assert len(server.asked) == 2


async def test_the_priorities_are_tried_in_order(monkeypatch):
    async with serve(polite(), host="localhost") as server:
        answer = [
            f"2 0 {server.port} localhost.",
            f"1 0 {free_port()} localhost.",
            f"0 0 {free_port()} localhost.",
        ]
        names = serve_names(monkeypatch, {NAME: answer})
        async with names, asyncio.timeout(10), new_client():
            assert len(server.peers) == 1


async def test_all_brokers_of_the_domain_fail(monkeypatch):
    one, other = free_port(), free_port()
    answer = [f"2 0 {other} localhost.", f"1 0 {one} localhost."]
    async with serve_names(monkeypatch, {NAME: answer}):
        error = await fails(new_client())
    said = str(error)
    assert said.startswith(f"Could not connect to any of 2 brokers: localhost:{one}: ")
    assert f"; localhost:{other}: " in said


async def test_a_broker_that_refuses_the_credentials_stops_it(monkeypatch):
    async def script(peer):
        await accept(peer, code=4)
        await gone(peer)

    async with serve(script, host="localhost") as server, serve() as other:
        answer = [f"0 0 {server.port} localhost.", f"1 0 {other.port} localhost."]
        async with serve_names(monkeypatch, {NAME: answer}):
            await fails(new_client(), MqttConnectError)


async def test_the_next_domain_if_one_has_no_brokers(monkeypatch):
    async with serve(polite(), host="localhost") as server:
        zone = {"_mqtt._tcp.other.example": [f"0 0 {server.port} localhost."]}
        async with serve_names(monkeypatch, zone):
            client = Client(["home.example", "other.example"], srv=True)
            async with asyncio.timeout(10), client:
                assert len(server.peers) == 1


@pytest.mark.parametrize(
    ("answer", "match"),
    [
        (dns.rcode.NXDOMAIN, "there is no such SRV record"),
        ([], "there is no such SRV record"),
        (["0 0 0 ."], "the domain says that it does not offer this service"),
        (dns.rcode.REFUSED, "the name servers could not answer"),
    ],
)
async def test_the_dns_has_no_broker(monkeypatch, answer, match):
    async with serve_names(monkeypatch, {NAME: answer}):
        error = await fails(new_client(), MqttError)
    assert str(error).startswith(f"Could not connect to {NAME}: ")
    assert match in str(error)


async def test_no_name_server_answers(monkeypatch):
    async with serve_names(monkeypatch, {NAME: None}) as server:
        client = new_client(timeout=0.3)
        error = await fails(client)
        assert str(error) == "Operation timed out"
        assert str(error.__cause__) == (
            f"{NAME} was answered by no name server within 0.3 seconds"
        )
        # It is none the worse.
        async with serve(polite(), host="localhost") as broker:
            server.zone[NAME] = [f"0 0 {broker.port} localhost."]
            client.timeout = 10
            async with asyncio.timeout(10), client:
                assert client.is_connected()


async def test_the_certificate_must_be_for_the_domain(monkeypatch, certificates):
    """The name that the DNS gave could be anybody's (RFC 6125 §6.2.1)."""
    tls = TLSParameters(ca_certs=str(certificates.ca_file))
    async with (
        Broker(ssl_context=server_context(certificates.wrong_name)) as right,
        Broker(ssl_context=server_context(certificates.server)) as other,
        serve_names(monkeypatch, {}) as server,
    ):
        client = Client("wrong.example", srv=True, tls_params=tls)
        server.zone[SECURE_NAME] = [f"0 0 {right.port} localhost."]
        async with asyncio.timeout(10), client:
            assert client.is_connected()
        # A certificate for the host that the DNS named does not do,
        server.zone[SECURE_NAME] = [f"0 0 {other.port} localhost."]
        error = await fails(client)
        assert "certificate was not accepted" in str(error)
        # unless the program says so.
        named = Client(
            "wrong.example", srv=True, tls_params=tls, server_hostname="localhost"
        )
        async with asyncio.timeout(10), named:
            assert named.is_connected()


async def test_a_redirection_leads_away_from_the_dns(monkeypatch):
    async with Broker(host="localhost") as first, Broker(host="localhost") as second:
        answer = [f"0 0 {first.port} localhost."]
        async with serve_names(monkeypatch, {NAME: answer}):
            client = new_client(
                protocol=5, redirect=lambda redirect: redirect.addresses
            )
            first.redirect(f"localhost:{second.port}", permanent=True)
            async with asyncio.timeout(10), client:
                assert second.statistics.clients_connected == 1
            first.redirect(None)
            async with asyncio.timeout(10), client:
                assert second.statistics.clients_connected == 1


async def test_a_redirection_to_the_port_of_the_dns(monkeypatch):
    async with Broker(host="localhost") as first:
        zone = {NAME: [f"0 0 {first.port} localhost."]}
        async with serve_names(monkeypatch, zone):
            first.redirect("127.0.0.1")
            error = await fails(new_client(protocol=5, redirect="follow"))
            # It went there; and there is the same broker, which redirects to itself.
            assert f"127.0.0.1:{first.port}: [code:156]" in str(error)


async def test_leaving_while_the_name_server_is_asked(monkeypatch):
    async with serve_names(monkeypatch, {NAME: None}) as server:
        client = new_client(timeout=1)
        entering = asyncio.ensure_future(client.__aenter__())
        await within(server.was_asked.wait())
        await within(client.disconnect())
        with pytest.raises(MqttError):
            await within(entering)
        assert not client.is_connected()


async def test_a_cancellation_at_any_step(monkeypatch):
    async with Broker(host="localhost") as broker:
        zone = {NAME: [f"0 0 {broker.port} localhost."]}
        async with serve_names(monkeypatch, zone):
            client = new_client()
            for steps in range(0, 40, 4):
                await cancelled_after(steps, client.__aenter__())
                await client.__aexit__(None, None, None)
            await within(client.__aenter__())
            await client.__aexit__(None, None, None)


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"port": 1884}, "srv can't be combined with port 1884"),
        ({"hostname": [("a", 1884)]}, "srv can't be combined with port 1884"),
        ({"transport": "websockets"}, "srv can't be combined with transport"),
        ({"transport": "unix"}, "srv can't be combined with transport"),
        ({"transport": "memory"}, "srv can't be combined with transport"),
        ({"hostname": "127.0.0.1"}, "must be a domain, not the address '127.0.0.1'"),
        ({"hostname": "::1"}, "must be a domain, not the address '::1'"),
        ({"hostname": ""}, "hostname must be"),
    ],
)
def test_wrong_arguments(arguments, match):
    with pytest.raises(ValueError, match=match):
        Client(**{"hostname": "home.example", "srv": True, **arguments})
