"""The transport over the frames: both directions, back-pressure, and each end."""

import asyncio
from typing import Any

import pytest

from aiomqtt import Client, MqttError
from aiomqtt.net.connect import open_connection
from aiomqtt.net.target import WebSocketTarget
from aiomqtt.net.websocket.transport import LARGEST_FRAME
from tests.net.websocket.peer import (
    BINARY,
    CLOSE,
    CONTINUATION,
    PING,
    PONG,
    TEXT,
    frame,
    serve,
)
from tests.raw_scripts import publish_bytes, within

MUCH = 8 * 1024 * 1024


class End(asyncio.Protocol):
    """The client's end, which notes what happens to it."""

    def __init__(self) -> None:
        self.log: list[Any] = []
        self.got = bytearray()
        self.transport: Any = None
        self.lost = asyncio.get_running_loop().create_future()
        self._changed = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        assert type(data) is bytes
        self.got += data
        self.log.append(len(data))
        self._changed.set()

    def eof_received(self) -> None:
        self.log.append("eof")

    def pause_writing(self) -> None:
        self.log.append("pause")

    def resume_writing(self) -> None:
        self.log.append("resume")

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost.set_result(exc)

    async def until(self, size: int) -> None:
        async with asyncio.timeout(5):
            while len(self.got) < size:
                self._changed.clear()
                await self._changed.wait()


async def connect(port: int) -> End:
    end = End()
    await open_connection(WebSocketTarget("127.0.0.1", port), lambda: end)
    return end


# --- writing --------------------------------------------------------------------------


async def test_what_is_written_at_once_is_one_frame_up_to_the_largest():
    sizes: list[int] = []

    async def script(peer):
        await peer.open()
        assert await peer.expect(BINARY) == b"one"
        assert await peer.expect(BINARY) == b"two"
        assert await peer.expect(BINARY) == b"joined"
        while sum(sizes) < 200_003:
            opcode, payload = await peer.read_frame()
            assert opcode == BINARY
            sizes.append(len(payload))
        assert await peer.expect(CLOSE) == b"\x03\xe8"
        peer.send(frame(CLOSE, b"\x03\xe8"))

    async with serve(script) as port:
        end = await connect(port)
        transport = end.transport
        transport.write(b"one")
        transport.write(b"")
        transport.write(memoryview(bytearray(b"two")))
        transport.writelines([b"jo", bytearray(b"in"), memoryview(b"ed")])
        transport.writelines([b"abc", bytes(200_000)])
        with pytest.raises(
            TypeError, match="a bytes-like object is required, not .str."
        ):
            transport.write("text")
        assert not transport.can_write_eof()
        with pytest.raises(NotImplementedError):
            transport.write_eof()
        transport.close()
        transport.write(b"more")
        assert await within(end.lost) is None
    assert end.log == []
    assert sizes == [LARGEST_FRAME] * 3 + [200_003 - 3 * LARGEST_FRAME]


async def test_the_water_marks():
    go_on = asyncio.Event()

    async def script(peer):
        await peer.open()
        await go_on.wait()
        await peer.read_bytes(MUCH)
        peer.send(frame(BINARY, b"done"))
        await peer.read_rest()

    async with serve(script) as port:
        end = await connect(port)
        transport = end.transport
        transport.set_write_buffer_limits(high=1000, low=10)
        assert transport.get_write_buffer_limits() == (10, 1000)
        assert transport.get_write_buffer_size() == 0
        transport.write(bytes(MUCH))
        assert transport.get_write_buffer_size() > 100_000
        assert end.log == ["pause"]
        go_on.set()
        await end.until(4)
        assert end.log == ["pause", "resume", 4]
        assert transport.get_write_buffer_size() == 0
        transport.close()
        transport.close()
        assert transport.is_closing()
        await within(end.lost)
        transport.write(b"too late")


async def test_pings_are_answered_and_do_not_fill_the_buffer():
    async def script(peer):
        await peer.open()
        peer.send(frame(PING, b"1") + frame(PING, b"2") + frame(PONG, b"x"))
        assert await peer.expect(PONG) == b"2"
        peer.send(frame(BINARY, b"go"))
        await paused
        for number in range(100):
            peer.send(frame(PING, b"%d" % number) + frame(BINARY, b"."))
            await asyncio.sleep(0)
        await received
        assert end.transport.get_write_buffer_size() == before
        await peer.read_bytes(MUCH)
        assert await peer.expect(PONG) == b"99"
        end.transport.abort()

    loop = asyncio.get_running_loop()
    paused, received = loop.create_future(), loop.create_future()
    async with serve(script) as port:
        end = await connect(port)
        await end.until(2)
        end.transport.write(bytes(MUCH))
        await asyncio.sleep(0.05)
        before = end.transport.get_write_buffer_size()
        assert before > 100_000
        paused.set_result(None)
        await end.until(102)
        received.set_result(None)
        await within(end.lost)


# --- reading --------------------------------------------------------------------------


async def test_all_payload_of_one_read_comes_at_once():
    async def script(peer):
        await peer.open()
        peer.send(b"".join(frame(BINARY, b"12345") for _ in range(1000)))
        await peer.read_rest()

    async with serve(script) as port:
        end = await connect(port)
        await end.until(5000)
        assert end.log[-1] >= 1000
        assert len(end.log) <= 5
        end.transport.abort()
        await within(end.lost)


async def test_reading_that_is_paused_stops_the_peer():
    written = 0

    async def script(peer):
        nonlocal written
        await peer.open()
        chunk = frame(BINARY, bytes(65_536))
        while written < MUCH:
            peer.send(chunk)
            await peer.drain()
            written += 65_536
        await peer.read_rest()

    async with serve(script) as port:
        end = await connect(port)
        await end.until(1)
        assert end.transport.is_reading()
        end.transport.pause_reading()
        end.transport.pause_reading()
        assert not end.transport.is_reading()
        await asyncio.sleep(0.1)
        got, stopped = len(end.got), written
        await asyncio.sleep(0.1)
        assert (len(end.got), written) == (got, stopped)
        assert written < MUCH
        end.transport.resume_reading()
        end.transport.resume_reading()
        await end.until(MUCH)
        end.transport.abort()
        await within(end.lost)


async def test_what_comes_while_reading_is_paused_waits():
    """As from a transport below that had more at hand, such as TLS."""

    async def script(peer):
        await peer.open()
        await peer.read_rest()

    async with serve(script) as port:
        end = await connect(port)
        transport = end.transport
        transport.pause_reading()
        transport.data_received(frame(BINARY, b"ab"))
        transport.data_received(frame(BINARY, b"c") + frame(CLOSE))
        await asyncio.sleep(0.01)
        assert end.log == []
        transport.resume_reading()
        assert await within(end.lost) is None
        assert end.log == [3, "eof"]


# --- the end --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (b"", None),
        (b"\x03\xe8", None),
        (b"\x03\xe9", "1001 (going away)"),
        (b"\x03\xf0no \x1b[1mway", r"1008 (policy violation) no \x1b[1mway"),
        (b"\x03\xe8bye", "1000 (OK) bye"),
        (b"\x0f\xa1", "4001 (private use)"),
    ],
)
async def test_a_close_frame_of_the_peer(payload, reason):
    async def script(peer):
        await peer.open()
        peer.send(frame(BINARY, b"last") + frame(CLOSE, payload))
        assert await peer.expect(CLOSE) == payload[:2]
        assert await peer.read_rest() == b""

    async with serve(script) as port:
        end = await connect(port)
        error = await within(end.lost)
    assert end.got == b"last"
    if reason is None:
        assert error is None
        assert end.log == [4, "eof"]
    else:
        assert str(error) == f"it closed the WebSocket with {reason}"


@pytest.mark.conformance("5.0", "MQTT-6.0.0-1")
@pytest.mark.conformance("3.1.1", "MQTT-6.0.0-1")
@pytest.mark.parametrize(
    ("data", "code", "reason"),
    [
        (
            frame(TEXT, b"text"),
            1003,
            "it sent a text frame, and MQTT needs binary ones",
        ),
        (frame(BINARY, first=0xC0), 1002, "a frame has reserved bits set"),
        (frame(CONTINUATION), 1002, "a fragmented message has no beginning"),
        (frame(CLOSE, b"\x03"), 1002, "a Close frame is malformed"),
        (frame(CLOSE, b"\x03\xed"), 1002, "a Close frame is malformed"),
        (frame(CLOSE, b"\x03\xe8\xff"), 1002, "a Close frame is malformed"),
        (
            b"\x82\x7f" + b"\x7f" * 8,
            1009,
            "a frame of 9187201950435737471 bytes is too",
        ),
    ],
)
async def test_a_peer_that_breaks_the_protocol(data, code, reason):
    async def script(peer):
        await peer.open()
        peer.send(frame(BINARY, b"before") + data)
        assert int.from_bytes((await peer.expect(CLOSE))[:2], "big") == code
        assert await peer.read_rest() == b""

    async with serve(script) as port:
        end = await connect(port)
        error = await within(end.lost)
    assert end.got == b"before"
    assert str(error).startswith(f"it broke the WebSocket protocol: {reason}")


async def test_a_peer_that_reads_not_even_the_close_frame_is_cut(monkeypatch):
    monkeypatch.setattr("aiomqtt.net.closing.LINGER", 0.05)

    async def script(peer):
        await peer.open()
        await written
        peer.send(frame(TEXT))
        await lost

    loop = asyncio.get_running_loop()
    written, lost = loop.create_future(), loop.create_future()
    async with serve(script) as port:
        end = await connect(port)
        end.transport.write(bytes(MUCH))
        written.set_result(None)
        assert "text frame" in str(await within(end.lost))
        lost.set_result(None)


@pytest.mark.parametrize("closes", [True, False])
async def test_a_peer_that_does_not_answer_the_close_frame(monkeypatch, closes):
    monkeypatch.setattr("aiomqtt.net.closing.LINGER", 0.05)

    async def script(peer):
        await peer.open()
        await paused
        peer.send(frame(BINARY, bytes(100_000)))
        assert await peer.expect(CLOSE) == b"\x03\xe8"
        if closes:
            peer.close()
        await lost

    loop = asyncio.get_running_loop()
    paused, lost = loop.create_future(), loop.create_future()
    async with serve(script) as port:
        end = await connect(port)
        end.transport.pause_reading()
        paused.set_result(None)
        end.transport.close()
        assert await within(end.lost) is None
        assert end.log == []
        lost.set_result(None)


async def test_the_end_without_a_close_frame():
    async def script(peer):
        await peer.open()
        peer.close()

    async with serve(script) as port:
        end = await connect(port)
        assert await within(end.lost) is None
    assert end.log == ["eof"]


async def test_what_the_transport_tells():
    async def script(peer):
        await peer.open()
        await peer.read_rest()

    async with serve(script) as port:
        end = await connect(port)
        transport = end.transport
        assert transport.get_extra_info("subprotocol") == "mqtt"
        assert transport.get_extra_info("peername") == ("127.0.0.1", port)
        assert transport.get_extra_info("nothing", 5) == 5
        assert transport.get_protocol() is end
        other = End()
        transport.set_protocol(other)
        transport.abort()
        await within(other.lost)
    assert not end.lost.done()


# --- a client over it -----------------------------------------------------------------


async def test_a_client_publishes_receives_and_leaves(version):
    topic = b"\0" if version == 5 else b""
    message = publish_bytes("t", b"payload", version=version)

    async def script(peer):
        await peer.open()
        await peer.expect(BINARY)
        connack = b"\x20\x03\0\0\0" if version == 5 else b"\x20\x02\0\0"
        # Cut within the packets, and several packets in one message.
        peer.send(frame(BINARY, connack[:1]) + frame(BINARY, connack[1:] + message))
        peer.send(frame(BINARY, message[:5], first=0))
        peer.send(frame(CONTINUATION, message[5:]))
        assert await peer.expect(BINARY) == (
            bytes([0x30, 4 + len(topic)]) + b"\0\1t" + topic + b"b"
        )
        await peer.goodbye()

    async with serve(script) as port:
        client = Client("127.0.0.1", port, transport="websockets", protocol=version)
        async with client:
            for _ in range(2):
                assert (await within(anext(client.messages))).payload == b"payload"
            await client.publish("t", b"b")


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (frame(CLOSE, b"\x03\xf3busy"), "it closed the WebSocket with 1011"),
        (frame(CLOSE), "the broker closed it"),
        (frame(TEXT), "it broke the WebSocket protocol: it sent a text frame"),
        (
            b"\x82\x7f" + (1 << 40).to_bytes(8, "big"),
            "a frame of 1099511627776 bytes is too large",
        ),
    ],
)
@pytest.mark.parametrize("is_accepted", [True, False])
async def test_a_client_says_why_the_connection_was_lost(data, reason, is_accepted):
    async def script(peer):
        if is_accepted:
            await peer.accept()
        else:
            await peer.open()
            await peer.expect(BINARY)
        peer.send(data)
        await peer.read_rest()

    async with serve(script) as port:
        client = Client("127.0.0.1", port, transport="websockets")
        with pytest.raises(MqttError) as caught:
            async with client:
                await within(anext(client.messages))
    said = str(caught.value.__cause__ or caught.value) + str(caught.value)
    assert reason in said
    assert f"Connection to ws://127.0.0.1:{port}/mqtt lost: " in said
    assert "TLS" not in said
