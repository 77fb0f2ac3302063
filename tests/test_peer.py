"""The scripted peer, spoken to by a plain socket instead of our client."""

import asyncio
import contextlib

import pytest

from tests.peer import CONNECT, PINGREQ, PUBLISH, RawPeer, serve

CONNECT_BYTES = bytes.fromhex("100d00044d5154540402000a000178")


@pytest.fixture
def short_timeout(monkeypatch):
    monkeypatch.setattr(RawPeer, "timeout", 0.2)


class Talker:
    """A client of raw bytes."""

    def __init__(self, server):
        self.server = server

    async def __aenter__(self):
        self.reader, self.writer = await asyncio.open_connection(
            self.server.host, self.server.port
        )
        return self

    async def __aexit__(self, *exc):
        self.writer.close()
        with contextlib.suppress(OSError):  # the peer reset it
            await self.writer.wait_closed()


async def connected(peer):
    await peer.expect(CONNECT)
    peer.connack(4)


@pytest.mark.parametrize(("version", "answer"), [(4, "20020100"), (5, "2003010000")])
async def test_a_conversation(version, answer):
    async def script(peer):
        first, body = await peer.expect(CONNECT)
        assert first == 0x10
        assert body == CONNECT_BYTES[2:]
        peer.connack(version, session_present=1)
        first, body = await peer.expect(PUBLISH)
        assert body == b"\x00\x01a" + b"x" * 300
        await peer.expect_end()

    async with serve(script) as server, Talker(server) as client:
        client.writer.write(CONNECT_BYTES)
        assert (await client.reader.readexactly(len(answer) // 2)).hex() == answer
        client.writer.write(b"\x30\xaf\x02\x00\x01a" + b"x" * 300)


async def test_a_script_that_ends_leaves_the_connection_open():
    async with serve(connected) as server, Talker(server) as client:
        client.writer.write(CONNECT_BYTES)
        assert await client.reader.readexactly(4) == b"\x20\x02\x00\x00"
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(client.reader.read(1), 0.05)


async def test_close_ends_after_what_was_sent():
    async def script(peer):
        peer.connack(4)
        peer.close()

    async with serve(script) as server, Talker(server) as client:
        assert await client.reader.read() == b"\x20\x02\x00\x00"


async def test_abort_resets():
    async def script(peer):
        await peer.expect(CONNECT)
        peer.abort()

    async with serve(script) as server, Talker(server) as client:
        client.writer.write(CONNECT_BYTES)
        with pytest.raises(ConnectionResetError):
            await client.reader.readexactly(1)


async def test_each_connection_runs_the_next_script():
    async def first(peer):
        peer.send(b"1")

    async def last(peer):
        peer.send(b"2")

    async with serve(first, last, again=True) as server:
        for expected in (b"1", b"2", b"2"):
            async with Talker(server) as client:
                assert await client.reader.readexactly(1) == expected
    assert len(server.peers) == 3


async def test_one_connection_too_many_fails():
    with pytest.raises(AssertionError, match="connection 2 is unexpected"):
        async with serve(connected) as server:
            async with Talker(server) as client:
                client.writer.write(CONNECT_BYTES)
                await client.reader.readexactly(4)
            async with Talker(server) as client:
                await client.reader.read()


async def test_the_wrong_packet_fails_readably():
    async def script(peer):
        await peer.expect(PINGREQ)

    with pytest.raises(AssertionError, match="PINGREQ, got CONNECT: 10"):
        async with serve(script) as server, Talker(server) as client:
            client.writer.write(CONNECT_BYTES)
            await client.reader.read()


async def test_the_scripts_error_is_the_cause_of_the_clients():
    async def script(peer):
        raise AssertionError("the script's own")

    with pytest.raises(AssertionError, match="the script's own") as caught:
        async with serve(script) as server, Talker(server) as client:
            await client.reader.read(1)
            raise ValueError("the client's")
    assert isinstance(caught.value.__cause__, ValueError | OSError)


async def test_a_client_that_goes_fails_readably():
    async def script(peer):
        await peer.expect(CONNECT)

    with pytest.raises(AssertionError, match="for CONNECT; came: 10 0d 00"):
        async with serve(script) as server, Talker(server) as client:
            client.writer.write(CONNECT_BYTES[:3])


async def test_a_script_that_still_waits_fails(short_timeout):
    async def script(peer):
        await asyncio.sleep(60)

    with pytest.raises(AssertionError, match="didn't come to its end"):
        async with serve(script) as server, Talker(server):
            pass


async def test_a_read_has_a_deadline(short_timeout):
    async def script(peer):
        await peer.expect(CONNECT)

    with pytest.raises(AssertionError, match=r"waited 0\.2 s for CONNECT; came: 10"):
        async with serve(script) as server, Talker(server) as client:
            client.writer.write(b"\x10")
            await client.reader.read()
