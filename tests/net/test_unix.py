"""Unix sockets: connecting, and each reason why that fails."""

import asyncio
import contextlib
import os
import shutil
import socket
import tempfile
from pathlib import Path
from typing import Any

import pytest

from aiomqtt import Client, MqttError, TLSParameters
from aiomqtt.client.causes import to_action
from aiomqtt.net.target import UnixTarget
from aiomqtt.net.unix import open_unix
from aiomqtt.testing.raw_peer import RawServer
from tests.raw_scripts import accept, goodbye, polite, within

pytestmark = pytest.mark.skipif(
    not hasattr(socket, "AF_UNIX"), reason="this system has no Unix sockets"
)


@contextlib.asynccontextmanager
async def serve(path, *scripts, again=False):
    server = RawServer(scripts, again)
    listener = await asyncio.start_unix_server(server.connected, path)
    try:
        yield
    finally:
        listener.close()
        errors = await server.finish(wait=True)
        await listener.wait_closed()
    for error in errors:
        raise error


@pytest.fixture
def path():
    # The directories of pytest may be too long for it.
    with tempfile.TemporaryDirectory(dir="/tmp") as directory:
        yield f"{directory}/broker.sock"


def make_private(path):
    Path(path).chmod(0)


def new_client(path: str, **options: Any) -> Client:
    return Client(path, transport="unix", **options)


async def failure(path: str, **options: Any) -> str:
    """Why a client can't connect, without the address, which is checked."""
    with pytest.raises(MqttError) as caught:
        await within(new_client(path, **options).__aenter__())
    assert isinstance(caught.value.__cause__, OSError)
    assert to_action(caught.value, "raise") == "retry"
    said = str(caught.value)
    start = f"Could not connect to unix:{path}: "
    assert said.startswith(start)
    return said.removeprefix(start)


@pytest.mark.conformance("5.0", "MQTT-4.2-1")
async def test_publish_and_leave(path, version):
    async def script(peer):
        await accept(peer, version)
        first, body = await peer.read_packet()
        assert (first, body[-7:]) == (0x30, b"payload")
        await goodbye(peer)

    async with serve(path, script, script):
        client = new_client(path, protocol=version)
        for _ in range(2):
            async with client:
                assert client.is_connected()
                await client.publish("topic", b"payload")


async def test_socket_options(path):
    option = (socket.SOL_SOCKET, socket.SO_SNDBUF, 8192)
    async with serve(path, polite(), again=True):
        async with new_client(path, socket_options=[option]) as client:
            connected: Any = client
            raw = connected._calls.driver.writer.transport.get_extra_info("socket")
            assert raw.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF) <= 2 * 8192
        wrong = (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        await failure(path, socket_options=[wrong])


async def test_a_broker_that_ends_the_connection_is_no_matter_of_tls(path):
    async def script(peer):
        await peer.read_packet()
        peer.close()

    async with serve(path, script):
        with pytest.raises(MqttError) as caught:
            await within(new_client(path).__aenter__())
    said = str(caught.value)
    assert said.startswith(f"Connection to unix:{path} lost: ")
    assert said.endswith("before its CONNACK")


async def test_a_full_queue_is_waited_for(path):
    """A connect that the system refuses with EAGAIN is tried again."""
    with socket.socket(socket.AF_UNIX) as listener, contextlib.ExitStack() as stack:
        listener.bind(path)
        listener.listen(0)
        while True:
            other = stack.enter_context(socket.socket(socket.AF_UNIX))
            other.setblocking(False)
            try:
                other.connect(path)
            except BlockingIOError:
                break
        made = asyncio.get_running_loop().create_future()

        class Protocol(asyncio.Protocol):
            def connection_made(self, transport):
                made.set_result(transport)

        opening = asyncio.ensure_future(open_unix(UnixTarget(path, 0), Protocol))
        await asyncio.sleep(0.05)
        assert not opening.done()
        listener.accept()[0].close()
        await within(opening)
        made.result().abort()
        await asyncio.sleep(0)


async def test_a_full_queue_for_longer_than_the_timeout(path):
    with socket.socket(socket.AF_UNIX) as listener, contextlib.ExitStack() as stack:
        listener.bind(path)
        listener.listen(0)
        while True:
            other = stack.enter_context(socket.socket(socket.AF_UNIX))
            other.setblocking(False)
            try:
                other.connect(path)
            except BlockingIOError:
                break
        with pytest.raises(MqttError, match="Operation timed out") as caught:
            await new_client(path, timeout=0.05).__aenter__()
    assert f"unix:{path} did not answer" in str(caught.value.__cause__)


# --- paths that can't be connected to -----------------------------------------------


async def test_no_such_path(path):
    assert "there is no socket at this path" in await failure(path)


async def test_a_path_through_a_file(tmp_path):
    (tmp_path / "file").touch()
    said = await failure(str(tmp_path / "file" / "broker.sock"))
    assert "is not a directory" in said


async def test_a_file(tmp_path):
    path = str(tmp_path / "file")
    shutil.copyfile(__file__, path)
    assert "the path is not a socket" in await failure(path)


async def test_a_directory(tmp_path):
    assert "the path is not a socket" in await failure(str(tmp_path))


async def test_nobody_listens(path):
    with socket.socket(socket.AF_UNIX) as once:
        once.bind(path)
    assert "no process listens on this socket" in await failure(path)


async def test_a_socket_for_datagrams(path):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as other:
        other.bind(path)
        assert "not a stream socket" in await failure(path)


async def test_no_permission(path, monkeypatch):
    if os.geteuid() != 0:
        async with serve(path):
            make_private(path)
            assert "needs write permission" in await failure(path)
        return
    # Root may write to each: so the system's answer to others is put in its place.
    error = PermissionError(13, "Permission denied")

    class Refused(socket.socket):
        def connect(self, address):
            raise error

    monkeypatch.setattr("aiomqtt.net.unix.socket.socket", Refused)
    assert "needs write permission" in await failure(path)


async def test_a_path_that_is_too_long():
    path = f"/{'x' * 150}"
    said = await failure(path)
    assert "path too long" in said
    assert f"it has {len(path)} bytes" in said


async def test_a_path_with_control_characters_is_escaped():
    with pytest.raises(MqttError, match=r"unix:/no\\x1b\[31m") as caught:
        await new_client("/no\x1b[31m").__aenter__()
    assert str(caught.value).isprintable()


async def test_a_system_without_unix_sockets(path, monkeypatch):
    monkeypatch.delattr(socket, "AF_UNIX")
    with pytest.raises(MqttError, match=f"unix:{path}: Python has no Unix sockets"):
        await new_client(path).__aenter__()


@pytest.mark.parametrize("name", ["", "a\0b"])
def test_a_path_that_there_can_not_be(name):
    with pytest.raises(ValueError, match="hostname must be the path of a socket"):
        new_client(name)


@pytest.mark.parametrize(
    "options",
    [
        {"tls_params": TLSParameters()},
        {"bind_address": "127.0.0.1"},
        {"bind_port": 5},
        {"server_hostname": "broker"},
    ],
)
def test_arguments_that_need_a_network(path, options):
    [name] = options
    with pytest.raises(ValueError, match=f"{name} can't be combined .*'unix'"):
        new_client(path, **options)


def test_the_port_is_ignored(path):
    assert str(new_client(path, port=0)._addresses.targets[0]) == f"unix:{path}"
