"""TCP: the local side, socket options, both families."""

import socket
from typing import Any

import pytest

from aiomqtt import Client, MqttError
from tests.peer import serve
from tests.ports import free_port
from tests.raw_scripts import accept, goodbye, new_client, polite, turns, within

NODELAY = (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
KEEPALIVE = (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)


def has_ipv6():
    if not socket.has_ipv6:
        return False
    with socket.socket(socket.AF_INET6) as probe:
        try:
            probe.bind(("::1", 0))
        except OSError:
            return False
    return True


def raw_socket(client: Any) -> socket.socket:
    raw: socket.socket = client._calls.driver.writer.transport.get_extra_info("socket")
    return raw


def peername(peer):
    return peer._writer.get_extra_info("peername")


@pytest.mark.conformance("3.1.1", "MQTT-7.1.2-1")
@pytest.mark.conformance("5.0", "MQTT-4.2-1")
@pytest.mark.parametrize("by", ["address", "port", "both"])
async def test_the_local_side(version, by):
    port = free_port()
    options: dict[str, Any] = {}
    if by != "port":
        options["bind_address"] = "127.0.0.2"
    if by != "address":
        options["bind_port"] = port

    async def script(peer):
        host, seen, *_ = peername(peer)
        assert host == ("127.0.0.1" if by == "port" else "127.0.0.2")
        assert by == "address" or seen == port
        await accept(peer, version)
        await goodbye(peer)

    async with serve(script) as server, new_client(server, version, **options):
        await turns()


async def test_the_port_alone_where_the_name_has_several_addresses():
    port = free_port()

    async def script(peer):
        assert peername(peer)[1] == port
        await accept(peer)
        await goodbye(peer)

    async with (
        serve(script) as server,
        Client("localhost", server.port, bind_port=port),
    ):
        pass


@pytest.mark.parametrize(
    "options", [{"bind_address": "192.0.2.1"}, {"bind_port": None}]
)
async def test_a_local_side_that_is_not_to_be_had(options):
    async with serve(polite()) as server:
        if "bind_port" in options:
            options = {"bind_port": server.port, "bind_address": "127.0.0.1"}
        client = new_client(server, **options)
        with pytest.raises(MqttError, match=f"127.0.0.1:{server.port}") as caught:
            await within(client.__aenter__())
        assert isinstance(caught.value.__cause__, OSError)


@pytest.mark.parametrize("kind", [list, tuple, iter])
async def test_socket_options(kind):
    small = (socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
    async with serve(polite(), again=True) as server:
        client = new_client(server, socket_options=kind([KEEPALIVE, small, NODELAY]))
        for _ in range(2):  # for every connection
            async with client:
                raw = raw_socket(client)
                assert raw.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
                assert raw.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
                assert raw.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) <= 2 * 8192


async def test_socket_options_with_bytes():
    linger = (socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    async with (
        serve(polite()) as server,
        new_client(server, socket_options=[linger]) as client,
    ):
        raw = raw_socket(client)
        assert raw.getsockopt(socket.SOL_SOCKET, socket.SO_LINGER)
        off = b"\0\0\0\0\0\0\0\0"  # or leaving would reset the connection
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, off)


async def test_a_socket_option_that_the_system_refuses():
    # The options come first: nothing is connected.
    wrong = (socket.IPPROTO_TCP, 9999, 1)
    async with serve() as server:
        client = new_client(server, socket_options=[wrong])
        with pytest.raises(MqttError, match=f"127.0.0.1:{server.port}") as caught:
            await within(client.__aenter__())
        assert isinstance(caught.value.__cause__, OSError)


@pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6")
@pytest.mark.parametrize("bound", [{}, {"bind_port": 0}, {"bind_address": "::1"}, None])
async def test_version_6_of_the_internet_protocol(bound):
    if bound is None:
        bound = {"bind_port": free_port()}

    async def script(peer):
        assert peername(peer)[0] == "::1"
        await accept(peer)
        await goodbye(peer)

    async with (
        serve(script, host="::1") as server,
        Client("::1", server.port, **bound),
    ):
        pass


async def test_the_next_address_is_tried():
    """A name with an address that refuses, and one that doesn't."""
    if not has_ipv6():
        pytest.skip("this machine has no IPv6")
    # On 127.0.0.1 only.
    async with serve(polite()) as server, Client("localhost", server.port):
        pass
