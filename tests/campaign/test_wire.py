"""Identifiers that are used again are found, and repetitions are none of them."""

import asyncio
import contextlib

import pytest

from tests.campaign.wire import ENOUGH, IdentifierWatch, Wire
from tests.chaos.peer import (
    CONNACK,
    PUBACK,
    PUBCOMP,
    PUBLISH,
    PUBREC,
    PUBREL,
    Peer,
    text,
)
from tests.chaos.running import running
from tests.chaos.wire import DUP
from tests.until import until


def publish(payload: bytes, packet_id: int = 1) -> bytes:
    return text("t") + packet_id.to_bytes(2) + b"\0" + payload


def see(watch: IdentifierWatch, payload: bytes, flags: int = 2) -> None:
    watch.see_program(PUBLISH, flags, publish(payload))


def test_what_is_sent_again_is_the_same_message():
    watch = IdentifierWatch(5)
    see(watch, b"1")
    see(watch, b"1", 2 | DUP)
    assert watch.reused == []
    assert watch.published == 2
    # QoS 0 has no identifier.
    watch.see_program(PUBLISH, 0, text("t") + b"\0")
    assert watch.published == 2


def test_at_qos_1_the_broker_holds_nothing_when_the_connection_has_ended():
    watch = IdentifierWatch(5)
    watch.see_program(PUBLISH, 2, publish(b"1", 1))
    watch.see_program(PUBLISH, 4, publish(b"2", 2))
    watch.forget_qos_1()
    assert [watch.holds(one.to_bytes(2)) for one in (1, 2)] == [False, True]
    watch.see_program(PUBLISH, 2, publish(b"3", 1))
    assert watch.reused == []
    watch.see_program(PUBLISH, 2, publish(b"4", 2))
    assert len(watch.reused) == 1


def test_the_longest_expiry_is_known():
    watch = IdentifierWatch(5)
    for seconds in (9, 300, 20):
        properties = b"\5\2" + seconds.to_bytes(4)
        watch.see_program(PUBLISH, 2, text("t") + b"\0\1" + properties + b"1")
    see(watch, b"1")
    assert watch.longest_expiry == 300


@pytest.mark.parametrize(("payload", "flags"), [(b"2", 2), (b"1", 2), (b"2", 2 | DUP)])
def test_an_identifier_that_the_broker_may_hold_is_found(payload, flags):
    watch = IdentifierWatch(5)
    see(watch, b"1")
    watch.see_broker(PUBREC, 0, b"\0\1")
    watch.see_broker(CONNACK, 0, b"\1\0\0")
    see(watch, payload, flags)
    assert len(watch.reused) == 1


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        (PUBACK, b"\0\1"),
        (PUBCOMP, b"\0\1"),
        (PUBREC, b"\0\1\x87"),
        (CONNACK, b"\0\0\0"),
    ],
)
def test_an_identifier_that_the_broker_has_freed_may_be_used(kind, body):
    watch = IdentifierWatch(5)
    see(watch, b"1")
    watch.see_broker(kind, 0, body)
    see(watch, b"2")
    assert watch.reused == []


def test_what_a_broker_forgets_is_known():
    watch = IdentifierWatch(5)
    for number in (1, 2, 3, 4):
        watch.see_program(PUBLISH, 4, publish(b"%d" % number, number))
    for number in (1, 2, 3):
        watch.see_broker(PUBREC, 0, number.to_bytes(2))
    for number in (1, 2):
        watch.see_program(PUBREL, 2, number.to_bytes(2))
    watch.see_broker(PUBCOMP, 0, b"\0\1")
    assert {message.payload for message in watch.acknowledged} == {b"1", b"2", b"3"}
    assert watch.forgotten == set()
    watch.see_broker(CONNACK, 0, b"\0\0\0")
    # The program knows that the broker had the second one.
    assert {message.payload for message in watch.forgotten} == {b"3", b"4"}


async def test_packets_that_are_withheld_are_not_seen():
    async with Wire(1, 4, lambda *_: None) as wire:
        wire.withheld = frozenset({PUBACK})
        see(wire.watch, b"1")
        for count in range(1, ENOUGH + 1):
            assert not wire.has_withheld.is_set()
            assert not wire._see_broker(PUBACK, 0, count.to_bytes(2))
        assert wire.has_withheld.is_set()
        assert wire._see_broker(PUBREC, 0, b"\0\1")
        # The identifier is still in use.
        see(wire.watch, b"2")
        assert len(wire.watch.reused) == 1


async def test_packets_pass_and_the_end_of_the_connection_is_seen():
    came: list[bytes] = []
    peer = Peer("127.0.0.1", 0, "me", 4, lambda *_: None)

    async def answer(
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError):
            await reader.readexactly(16)
            writer.write(b"\x20\x02\0\0")
            came.append(await reader.readexactly(8))
            writer.write(b"\x40\x02\0\1")
            await reader.read()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server, Wire(port, 4, lambda *_: None) as wire:
        peer.address = "127.0.0.1", wire.port
        async with running(peer.run()):
            await peer.ready.wait()
            await peer.publish("t", b"1", 1)
            assert not wire.is_idle
        assert came == [b"\x32\x06" + text("t") + b"\0\1" + b"1"]
        assert wire.watch.published == 1
        await until(lambda: wire.is_idle)
