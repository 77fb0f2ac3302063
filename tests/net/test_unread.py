"""Acknowledgements that the broker does not read have a bound."""

import asyncio
import itertools

import pytest

from aiomqtt import Client, MqttError
from aiomqtt.net.unread import MAXIMUM_UNREAD, UnreadAcks
from tests.driving import driver_of
from tests.peer import PUBACK, PUBCOMP, PUBREC, PUBREL, serve
from tests.raw_scripts import accept, ack_bytes, gone, publish_bytes, stop_reading

names = itertools.count()
ACK = ack_bytes(PUBACK, 1)
SOME = MAXIMUM_UNREAD // 5


def rounds(acks: UnreadAcks, pieces: list[bytes], leaves: bool) -> int:
    """Return how often pieces can be written, up to 20, before they are too many."""
    written = left = 1000
    for number in range(20):
        written += sum(map(len, pieces))
        if leaves:
            left = written - 10
        if acks.are_too_many(pieces, written, left):
            return number
    return 20


@pytest.mark.parametrize("kind", [PUBACK, PUBREC, PUBCOMP])
@pytest.mark.parametrize("reason", [(), (0x92,)])
def test_what_never_leaves_is_too_much_in_the_end(kind, reason):
    """Between one and two times the number of packet identifiers."""
    pieces = [ack_bytes(kind, 1, *reason)] * SOME
    assert 5 <= rounds(UnreadAcks(), pieces, leaves=False) <= 11


def test_what_leaves_after_all_never_is():
    assert rounds(UnreadAcks(), [ACK] * SOME, leaves=True) == 20


def test_other_packets_do_not_count():
    pieces = [ack_bytes(PUBREL, 1), b"\x32\x0a\x00\x01a\x00\x01", bytes(100)] * SOME
    assert rounds(UnreadAcks(), pieces, leaves=False) == 20


async def test_a_broker_that_sends_and_never_reads_loses_the_connection():
    async def script(peer):
        await accept(peer)
        stop_reading(peer)
        burst = b"".join(publish_bytes("t", b"", 1, n) for n in range(1, 1001))
        try:
            while True:
                peer.send(burst)
                await peer.drain()
                # Not 0: after the error the client waits a while before it closes.
                await asyncio.sleep(0.001)
        except ConnectionError:
            pass
        await gone(peer)

    # In memory, as the kernel's buffers would take a million of them first.
    name = f"unread-{next(names)}"
    async with (
        serve(script, name=name),
        Client(name, transport="memory", keepalive=0) as client,
    ):
        # As after so many, of which none has left: it takes a while.
        unread = driver_of(client).writer._progress._unread
        assert not unread.are_too_many([ACK] * (MAXIMUM_UNREAD + 1), 1 << 30, 0)
        assert not unread.are_too_many([ACK] * (MAXIMUM_UNREAD - 2000), 1 << 30, 0)
        with pytest.raises(MqttError) as caught:
            async with asyncio.timeout(60):
                async for _ in client.messages:
                    pass
        assert caught.value.reason_code == 0x93
        assert "acknowledgements" in str(caught.value.__cause__)
