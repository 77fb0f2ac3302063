"""Listening on all addresses of a name, on one port."""

import asyncio
import errno
import socket

import pytest

from aiomqtt.broker import Broker
from aiomqtt.broker.io import listening
from aiomqtt.broker.io.listening import open_sockets


def resolve_to(monkeypatch, *hosts):
    """Have any name stand for these addresses."""

    async def resolve(host, port):
        return [(socket.AF_INET, (address, port)) for address in hosts]

    monkeypatch.setattr(listening, "_resolve", resolve)


def refuse(monkeypatch, code, *hosts, times=100):
    """Have listening on these addresses fail, so many times; what was tried."""
    tried = []
    listen = listening._open

    def listen_or_fail(family, address, backlog):
        tried.append(address)
        if address[0] in hosts and len(tried) <= times:
            raise OSError(code, "no")
        return listen(family, address, backlog)

    monkeypatch.setattr(listening, "_open", listen_or_fail)
    return tried


async def test_all_addresses_on_one_port(monkeypatch):
    resolve_to(monkeypatch, "127.0.0.1", "127.0.0.2")
    async with Broker("a.name") as broker:
        for host in ("127.0.0.1", "127.0.0.2"):
            _, writer = await asyncio.open_connection(host, broker.port)
            writer.close()
            await writer.wait_closed()
        assert broker.url == f"mqtt://a.name:{broker.port}"
        other = await broker.listen("a.name")
        assert other.port != broker.port


async def test_a_port_that_is_free_on_one_of_them_only(monkeypatch):
    with socket.create_server(("127.0.0.2", 0)) as bytes_taken:
        port = bytes_taken.getsockname()[1]
        resolve_to(monkeypatch, "127.0.0.1", "127.0.0.2")
        with pytest.raises(OSError, match=rf"127.0.0.2, port {port}") as caught:
            await open_sockets("a.name", port, 10)
        assert caught.value.errno == errno.EADDRINUSE
    # The first one is free again.
    for sock in await open_sockets("a.name", port, 10):
        sock.close()


async def test_another_port_is_chosen_when_one_is_not_free_on_all(monkeypatch):
    resolve_to(monkeypatch, "127.0.0.1", "127.0.0.2")
    tried = refuse(monkeypatch, errno.EADDRINUSE, "127.0.0.2", times=4)
    sockets = await open_sockets("a.name", 0, 10)
    assert len(tried) == 6
    ports = {sock.getsockname()[1] for sock in sockets}
    assert len(ports) == 1
    for sock in sockets:
        sock.close()


async def test_an_address_that_this_host_does_not_have(monkeypatch):
    refuse(monkeypatch, errno.EADDRNOTAVAIL, "192.0.2.1", "192.0.2.2")
    resolve_to(monkeypatch, "192.0.2.1", "127.0.0.1")
    [sock] = await open_sockets("a.name", 0, 10)
    assert sock.getsockname()[0] == "127.0.0.1"
    sock.close()
    # And none of several.
    resolve_to(monkeypatch, "192.0.2.1", "192.0.2.2")
    with pytest.raises(OSError, match=r"can't listen on 192\.0\.2\.2"):
        await open_sockets("a.name", 0, 10)


async def test_all_addresses_of_the_host():
    async with Broker("") as broker:
        _, writer = await asyncio.open_connection("127.0.0.1", broker.port)
        writer.close()
        await writer.wait_closed()
