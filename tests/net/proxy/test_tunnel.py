"""Connecting to a proxy, and the addresses of a host that the client resolves."""

import asyncio
import socket
import sys
from typing import Any

import pytest

from aiomqtt import Client, MqttError, ProxySettings
from aiomqtt.net.dial import Address
from aiomqtt.net.target import Proxy, TcpTarget
from aiomqtt.net.tcp import open_tcp
from tests.net.proxy.peer import (
    GRANTED,
    GREETING,
    NO_METHOD_NEEDED,
    PORT,
    agree,
    new_client,
    read,
    serve_as_broker,
)
from tests.peer import serve
from tests.ports import free_port
from tests.raw_scripts import within


def resolves_to(monkeypatch, *addresses):
    async def resolved(hostname, port):
        return [
            Address(
                socket.AF_INET6 if ":" in address else socket.AF_INET, (address, port)
            )
            for address in addresses
        ]

    monkeypatch.setattr("aiomqtt.net.proxy.tunnel.resolve", resolved)


async def fails(client: Client) -> MqttError:
    with pytest.raises(MqttError) as caught:
        await within(client.__aenter__())
    return caught.value


def answer(wanted: str, reply: bytes) -> Any:
    """A script that gets a request for an address, and answers it."""

    async def script(peer):
        await read(peer, GREETING)
        peer.send(NO_METHOD_NEEDED)
        family = socket.AF_INET6 if ":" in wanted else socket.AF_INET
        kind = b"\x04" if ":" in wanted else b"\x01"
        await read(peer, b"\x05\x01\0" + kind, socket.inet_pton(family, wanted), PORT)
        peer.send(reply)
        if reply == GRANTED:
            await serve_as_broker(peer)
        else:
            await peer.discard_until_end()

    return script


HERE = {"proxy_rdns": False}


async def test_the_next_address_is_tried(monkeypatch):
    resolves_to(monkeypatch, "2001:db8::1", "192.0.2.1")
    refused = answer("2001:db8::1", b"\x05\x04")
    granted = answer("192.0.2.1", GRANTED)
    async with serve(refused, granted) as server, new_client(server, 2, proxy=HERE):
        pass


async def test_an_address_that_never_answers_does_not_use_up_the_timeout(monkeypatch):
    resolves_to(monkeypatch, "2001:db8::1", "192.0.2.1")
    silent = answer("2001:db8::1", b"")
    granted = answer("192.0.2.1", GRANTED)
    async with serve(silent, granted) as server, new_client(server, 2, proxy=HERE):
        pass


async def test_from_one_port_the_addresses_are_tried_one_by_one(monkeypatch):
    resolves_to(monkeypatch, "2001:db8::1", "192.0.2.1")
    monkeypatch.setattr("aiomqtt.net.proxy.tunnel.ATTEMPT_DELAY", 0)

    async def granted(peer):
        await asyncio.sleep(0.05)
        await answer("2001:db8::1", GRANTED)(peer)

    async with (
        serve(granted) as server,
        new_client(server, 2, proxy=HERE, bind_port=free_port()),
    ):
        assert len(server.peers) == 1


async def test_the_error_names_each_address(monkeypatch):
    resolves_to(monkeypatch, "2001:db8::1", "192.0.2.1")
    scripts = (answer("2001:db8::1", b"\x05\x04"), answer("192.0.2.1", b"\x05\x05"))
    async with serve(*scripts) as server:
        said = str(await fails(new_client(server, 2, proxy=HERE)))
    refusal = "the proxy did not connect to the host (SOCKS5 reply"
    assert f"1883 through socks5://127.0.0.1:{server.port}: 2001:db8::1: " in said
    assert f"2001:db8::1: {refusal} 4)" in said
    assert f"192.0.2.1: {refusal} 5)" in said


async def test_a_proxy_that_needs_a_password_is_not_asked_for_the_next(monkeypatch):
    resolves_to(monkeypatch, "2001:db8::1", "192.0.2.1")

    async def script(peer):
        await read(peer, GREETING)
        peer.send(b"\x05\xff")
        await peer.discard_until_end()

    async with serve(script) as server:
        error = await fails(new_client(server, 2, proxy=HERE))
    assert "the proxy needs a password" in str(error)


async def test_socks_4_takes_no_other_than_ipv4(monkeypatch):
    resolves_to(monkeypatch, "2001:db8::1")
    async with serve() as server:
        error = await fails(new_client(server, 1, proxy=HERE))
    assert "'broker.example' has no address of IPv4, and SOCKS4 takes no" in str(error)


async def test_a_redirection_from_socks_4_to_ipv6():
    target = TcpTarget("192.0.2.1", 1883, proxy=Proxy("socks4", "127.0.0.1", 1))
    with pytest.raises(MqttError, match="SOCKS4 has no IPv6: use SOCKS5"):
        await open_tcp(target.moved_to("2001:db8::1", 1883), asyncio.Protocol)


async def test_a_name_that_can_not_be_resolved_here():
    async with serve() as server:
        client = new_client(server, 2, host="no.such.host.invalid", proxy=HERE)
        error = await fails(client)
    assert "the host name can't be resolved" in str(error)
    assert isinstance(error.__cause__, socket.gaierror)


# --- the connection to the proxy ------------------------------------------------------


async def test_nothing_listens():
    port = free_port()
    proxy = ProxySettings(proxy_type=2, proxy_addr="127.0.0.1", proxy_port=port)
    error = await fails(Client("broker.example", proxy=proxy))
    start = (
        f"Could not connect to broker.example:1883 through socks5://127.0.0.1:{port}"
    )
    assert str(error).startswith(f"{start}: the proxy can't be reached: ")
    assert str(error).endswith("are proxy_addr and proxy_port right?")
    assert isinstance(error.__cause__, ConnectionRefusedError)


async def test_a_proxy_with_a_name_that_can_not_be_resolved():
    proxy = ProxySettings(proxy_type=3, proxy_addr="no.such.proxy.invalid")
    error = await fails(Client("broker.example", proxy=proxy))
    said = "through http://no.such.proxy.invalid:8080: the proxy can't be reached: the"
    assert said in str(error)


async def test_a_proxy_with_a_name_and_several_addresses():
    # 127.0.0.1 is one of them, and ::1, where nothing listens, may be the other.
    async def script(peer):
        await agree(peer, 2)
        await serve_as_broker(peer)

    async with serve(script) as server:
        proxy = ProxySettings(
            proxy_type=2, proxy_addr="localhost", proxy_port=server.port
        )
        async with Client("broker.example", proxy=proxy):
            pass


async def test_the_local_side_is_that_of_the_connection_to_the_proxy():
    async def script(peer):
        name = peer._writer.get_extra_info("peername")
        assert name == ("127.0.0.2", port)
        await agree(peer, 3)
        await serve_as_broker(peer)

    port = free_port()
    option = (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    async with (
        serve(script) as server,
        new_client(
            server,
            3,
            bind_address="127.0.0.2",
            bind_port=port,
            socket_options=[option],
        ) as client,
    ):
        inside: Any = client
        raw = inside._calls.driver.writer.transport.get_extra_info("socket")
        assert raw.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)


async def test_the_lost_connection_names_both():
    async def script(peer):
        await agree(peer, 2)
        await peer.read_packet()
        peer.close()

    async with serve(script) as server:
        error = await fails(new_client(server, 2))
    through = f"through socks5://127.0.0.1:{server.port}"
    assert str(error).startswith(f"Connection to broker.example:1883 {through} lost: ")


async def test_without_the_extra(monkeypatch):
    for name in list(sys.modules):
        if name.startswith(("python_socks", "aiomqtt.net.proxy.")):
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "python_socks", None)
    proxy = ProxySettings(proxy_type=1, proxy_addr="127.0.0.1")
    error = await fails(Client("broker.example", proxy=proxy))
    through = "broker.example:1883 through socks4://127.0.0.1:1080: "
    said = 'a proxy needs a package: pip install "aiomqtt[proxy]"'
    assert str(error) == f"Could not connect to {through}{said}"
