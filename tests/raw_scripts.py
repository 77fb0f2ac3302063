"""Building blocks for the scripts of `RawPeer`, in raw bytes."""

import asyncio
import socket
from collections.abc import Coroutine
from typing import Any, NamedTuple

import pytest

from aiomqtt import Client, MqttError, Properties
from tests.peer import (
    CONNECT,
    DISCONNECT,
    PINGREQ,
    PINGRESP,
    PUBACK,
    PUBCOMP,
    PUBLISH,
    PUBREC,
    PUBREL,
    SUBACK,
    SUBSCRIBE,
    UNSUBACK,
    UNSUBSCRIBE,
    RawPeer,
    RawServer,
    varint,
)

# Nothing here takes long; a machine under load gets this many seconds.
CEILING = 10.0
# The size of a socket's buffer where the system may not choose it, in bytes.
BUFFER = 64 * 1024
# For a client's `socket_options`: the system keeps little of what it has written.
SMALL_SEND_BUFFER = [(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER)]


def new_client(server: RawServer, version: int = 4, **options: Any) -> Client:
    return Client(server.host, server.port, protocol=version, **options)


def lasting(server: RawServer, version: int, **options: Any) -> Client:
    """A client whose session outlives its connections."""
    if version == 5:
        options.setdefault("properties", Properties(session_expiry_interval=60))
    else:
        options.setdefault("clean_session", False)
    return new_client(server, version, identifier="me", **options)


class Published(NamedTuple):
    """A PUBLISH of the client, taken apart."""

    topic: str
    payload: bytes
    qos: int
    retain: bool
    dup: bool
    packet_id: int  # 0 at QoS 0
    properties: bytes  # without their length


def take_apart(first: int, body: bytes, version: int) -> Published:
    size = int.from_bytes(body[:2], "big")
    topic, rest = body[2 : 2 + size].decode(), body[2 + size :]
    qos, packet_id, properties = first >> 1 & 3, 0, b""
    if qos:
        packet_id, rest = int.from_bytes(rest[:2], "big"), rest[2:]
    if version == 5:
        properties, rest = rest[1 : 1 + rest[0]], rest[1 + rest[0] :]
    return Published(
        topic, rest, qos, bool(first & 1), bool(first & 8), packet_id, properties
    )


def text(value: str) -> bytes:
    encoded = value.encode()
    return len(encoded).to_bytes(2, "big") + encoded


def publish_bytes(
    topic: str = "t",
    payload: bytes = b"",
    qos: int = 0,
    packet_id: int = 0,
    version: int = 4,
    *,
    retain: bool = False,
    dup: bool = False,
    properties: bytes = b"",
) -> bytes:
    """A PUBLISH of the broker."""
    body = text(topic)
    if qos:
        body += packet_id.to_bytes(2, "big")
    if version == 5:
        body += varint(len(properties)) + properties
    body += payload
    first = PUBLISH << 4 | dup << 3 | qos << 1 | retain
    return bytes([first]) + varint(len(body)) + body


def ack_bytes(kind: int, packet_id: int, *reason: int) -> bytes:
    """A PUBACK, PUBREC, PUBREL or PUBCOMP."""
    first = kind << 4 | (2 if kind == PUBREL else 0)
    body = packet_id.to_bytes(2, "big") + bytes(reason)
    return bytes([first, len(body)]) + body


async def accept(peer: RawPeer, version: int = 4, **connack: Any) -> bytes:
    """Take a connection; the body of the CONNECT."""
    _, body = await peer.expect(CONNECT)
    peer.connack(version, **connack)
    return body


async def expect_publish(peer: RawPeer, version: int = 4) -> Published:
    first, body = await peer.expect(PUBLISH)
    return take_apart(first, body, version)


def acknowledging(go_on: asyncio.Event) -> Any:
    """A script that acknowledges one PUBLISH of QoS 1 when it may."""

    async def script(peer: RawPeer) -> None:
        await accept(peer)
        published = await expect_publish(peer)
        await within(go_on.wait())
        peer.send(ack_bytes(PUBACK, published.packet_id))
        await goodbye(peer)

    return script


async def goodbye(peer: RawPeer) -> None:
    """See the client leave cleanly."""
    first, body = await peer.expect(DISCONNECT)
    assert (first, body) in ((0xE0, b""), (0xE0, b"\x00"))
    await peer.expect_end()
    peer.close()


async def gone(peer: RawPeer) -> None:
    """Wait until the client has gone, whatever it says before."""
    try:
        while True:
            await peer.read_packet()
    except (AssertionError, ConnectionError):
        peer.close()


def stop_reading(peer: RawPeer) -> None:
    """Read nothing more, and have the system receive little in the meantime.

    Without a size of its own, the receive buffer can grow to what Linux allows, 32 MiB
    on recent ones: a client that should block might not.
    """
    raw = peer._writer.get_extra_info("socket")
    if raw is not None:  # None: it is in memory
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER)
    peer._writer.transport.pause_reading()  # type: ignore[attr-defined]


def resume_reading(peer: RawPeer) -> None:
    """Read again after `stop_reading`."""
    peer._writer.transport.resume_reading()  # type: ignore[attr-defined]


def codes_of(first: int, body: bytes, version: int) -> bytes:
    """Return the codes that grant everything in a SUBSCRIBE or UNSUBSCRIBE."""
    rest = body[2:]
    if version == 5:
        rest = rest[1 + rest[0] :]
    codes = []
    while rest:
        size = int.from_bytes(rest[:2], "big") + 2
        if first >> 4 == SUBSCRIBE:
            codes.append(rest[size] & 3)
            size += 1
        else:
            codes.append(0)
        rest = rest[size:]
    return bytes(codes)


def answer(peer: RawPeer, version: int, first: int, body: bytes) -> None:
    """Answer a packet as a broker does that grants everything."""
    kind = first >> 4
    if kind == PUBLISH:
        published = take_apart(first, body, version)
        if published.qos:
            reply = PUBACK if published.qos == 1 else PUBREC
            peer.send(ack_bytes(reply, published.packet_id))
    elif kind == PUBREC:
        peer.send(ack_bytes(PUBREL, int.from_bytes(body[:2], "big")))
    elif kind == PUBREL:
        peer.send(ack_bytes(PUBCOMP, int.from_bytes(body[:2], "big")))
    elif kind == SUBSCRIBE:
        none = b"\x00" if version == 5 else b""
        codes = codes_of(first, body, version)
        peer.packet(SUBACK << 4, body[:2] + none + codes)
    elif kind == UNSUBSCRIBE:
        codes = b"\x00" + codes_of(first, body, version) if version == 5 else b""
        peer.packet(UNSUBACK << 4, body[:2] + codes)
    elif kind == PINGREQ:
        peer.packet(PINGRESP << 4)


async def serve_politely(peer: RawPeer, version: int = 4) -> list[tuple[int, bytes]]:
    """Answer everything until the client leaves; what came before its DISCONNECT."""
    came: list[tuple[int, bytes]] = []
    while True:
        first, body = await peer.read_packet()
        if first >> 4 == DISCONNECT:
            await peer.expect_end()
            peer.close()
            return came
        came.append((first, body))
        answer(peer, version, first, body)


def polite(version: int = 4, **connack: Any) -> Any:
    """A script that accepts, and answers everything until the client leaves."""

    async def script(peer: RawPeer) -> None:
        await accept(peer, version, **connack)
        await serve_politely(peer, version)

    return script


async def within(awaitable: Any) -> Any:
    """Await with a ceiling, so that a hang fails instead of blocking the suite."""
    async with asyncio.timeout(CEILING):
        return await awaitable


async def turns(count: int = 3) -> None:
    """Let the event loop turn."""
    for _ in range(count):
        await asyncio.sleep(0)


async def all_done(client: Client) -> None:
    """Wait until nothing that was published is pending."""
    async with asyncio.timeout(CEILING):
        while client.pending_messages():  # noqa: ASYNC110 - the client has no event
            await asyncio.sleep(0.01)


async def cancelled_after(
    steps: int, coroutine: Coroutine[Any, Any, Any]
) -> asyncio.Task[Any]:
    """Run a coroutine as a task and cancel it after so many turns of the loop.

    Returns:
        The task, which is done: cancelled, or it was faster.
    """
    task = asyncio.get_running_loop().create_task(coroutine)
    for _ in range(steps):
        await asyncio.sleep(0)
        if task.done():
            break
    task.cancel()
    await within(asyncio.wait([task]))
    return task


def good(version: int) -> Any:
    """A script that serves one message, for `works`."""

    async def script(peer: RawPeer) -> None:
        await accept(peer, version)
        peer.send(publish_bytes("t", b"again", version=version))
        await goodbye(peer)

    return script


async def works(client: Client) -> None:
    """Enter and iterate: the client is none the worse for what it went through."""
    async with asyncio.timeout(CEILING), client:
        assert client.is_connected()
        async for message in client.messages:
            assert message.payload == b"again"
            break
    assert not client.is_connected()


async def fails(
    client: Client, error: Any = MqttError, match: str | None = None
) -> Any:
    """Fail to enter; the error."""
    with pytest.raises(error, match=match) as caught:
        await within(client.__aenter__())
    assert not client.is_connected()
    return caught.value
