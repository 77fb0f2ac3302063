"""Need 23: packets split and merged at each boundary of frames; a large payload."""

import asyncio
import itertools
import os

import pytest

import aiomqtt
from aiomqtt.broker import Broker, Limits
from tests.net.websocket.peer import (
    BINARY,
    CLOSE,
    CONTINUATION,
    PING,
    PONG,
    frame,
    serve,
)
from tests.peer import PUBREL
from tests.raw_scripts import ack_bytes, publish_bytes

SOON = 10.0


def group(number: int, version: int) -> bytes:
    """A message of each QoS, an empty one between them, and the PUBREL."""
    first, second = 2 * number + 1, 2 * number + 2
    return (
        publish_bytes("t", b"0-%d" % number, version=version)
        + publish_bytes("t", b"1-%d" % number, 1, first, version=version)
        + publish_bytes("t", b"", version=version)
        + publish_bytes("t", b"2-%d" % number, 2, second, version=version)
        + ack_bytes(PUBREL, second)
    )


def answers(number: int) -> bytes:
    first, second = (2 * number + 1).to_bytes(2), (2 * number + 2).to_bytes(2)
    return b"\x40\x02" + first + b"\x50\x02" + second + b"\x70\x02" + second


def two_frames(data: bytes, cut: int) -> bytes:
    return frame(BINARY, data[:cut]) + frame(BINARY, data[cut:])


def fragments(data: bytes, cut: int) -> bytes:
    """One message in two frames, with a Ping between them."""
    start = frame(BINARY, data[:cut], first=0)
    return start + frame(PING, b"p") + frame(CONTINUATION, data[cut:])


def a_frame_for_each_byte(data: bytes, cut: int) -> bytes:
    end = b"".join(frame(BINARY, data[at : at + 1]) for at in range(cut, len(data)))
    return frame(BINARY, data[:cut]) + end


@pytest.mark.conformance("5.0", "MQTT-6.0.0-2")
@pytest.mark.conformance("3.1.1", "MQTT-6.0.0-2")
@pytest.mark.parametrize(
    ("version", "to_frames", "is_joined"),
    [
        *itertools.product(
            [5], [two_frames, fragments, a_frame_for_each_byte], [True, False]
        ),
        # The frames do not depend on the version.
        (4, two_frames, False),
        (3, fragments, True),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
async def test_need_23_packets_cut_at_each_byte(version, to_frames, is_joined):
    """With all frames written at once, and byte by byte."""
    count = len(group(0, version)) + 1

    async def script(peer):
        await peer.open()
        await peer.expect(BINARY)
        connack = b"\x20\x03\0\0\0" if version == 5 else b"\x20\x02\0\0"
        peer.send(frame(BINARY, connack))
        got = b""
        for number in range(count):
            data = to_frames(group(number, version), number)
            for piece in [data] if is_joined else [bytes([byte]) for byte in data]:
                peer.send(piece)
                if not is_joined:
                    await asyncio.sleep(0)
        wanted = b"".join(map(answers, range(count)))
        while len(got) < len(wanted):
            opcode, payload = await peer.read_frame()
            got += payload if opcode == BINARY else b""
        assert sorted(acks(got)) == sorted(acks(wanted))
        peer.send(frame(BINARY, publish_bytes("t", b"end", version=version)))
        while (read := await peer.read_frame())[0] != CLOSE:
            assert read[0] == PONG or read[1][0] == 0xE0
        peer.send(frame(CLOSE, read[1]))

    def acks(data: bytes) -> list[bytes]:
        return [data[at : at + 4] for at in range(0, len(data), 4)]

    async with serve(script) as port:
        client = aiomqtt.Client(
            "127.0.0.1", port, transport="websockets", protocol=version
        )
        async with client, asyncio.timeout(SOON):
            received = [
                (await anext(client.messages)).payload for _ in range(4 * count + 1)
            ]
    assert received.pop() == b"end"
    assert received == [
        payload
        for number in range(count)
        for payload in (b"0-%d" % number, b"1-%d" % number, b"", b"2-%d" % number)
    ]


async def test_need_23_a_payload_of_100_mb(anyio_backend):
    """To the broker and back; benchmarks/large_payloads.py measures its memory."""
    # No size of a read, a frame or a part divides that of what repeats.
    payload = os.urandom(1_000_003) * 100
    async with Broker(limits=Limits(maximum_packet_size=None)) as broker:
        port = (await broker.listen(websocket=True)).port
        client = aiomqtt.Client(
            "127.0.0.1", port, transport="websockets", timeout=3 * SOON
        )
        async with client, asyncio.timeout(6 * SOON):
            await client.subscribe("large")
            await client.publish("large", payload, 1)
            assert (await anext(client.messages)).payload == payload
