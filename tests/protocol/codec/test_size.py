"""The estimated sizes of messages, compared with the real ones."""

import gc
import tracemalloc

import pytest

from aiomqtt.protocol.codec.framing import Decoder
from aiomqtt.protocol.codec.size import MESSAGE_SIZE, message_size
from aiomqtt.protocol.packets import Packet, Publish
from aiomqtt.standard.tables import ProtocolVersion, Role
from tests.raw_scripts import publish_bytes


def pair(name: str, value: str) -> bytes:
    parts = [text.encode() for text in (name, value)]
    return b"\x26" + b"".join(len(part).to_bytes(2, "big") + part for part in parts)


@pytest.mark.parametrize(
    ("topic", "payload", "properties"),
    [
        pytest.param("t", b"", b"", id="nothing"),
        pytest.param("t", bytes(64), b"", id="small"),
        pytest.param("t", bytes(100_000), b"", id="large"),
        pytest.param("t" * 129, b"", b"", id="a topic that is not shared"),
        pytest.param("t" * 40_000, b"", b"", id="a large topic"),
        pytest.param("t" * 40_000 + "\U0001f600", b"", b"", id="a wide topic"),
        pytest.param("t", b"", b"\x03\x00\x0atext/plain", id="a content type"),
        pytest.param("t", b"", pair("", "") * 500, id="empty user properties"),
        pytest.param("t", b"", pair("a", "b") * 500, id="short user properties"),
        pytest.param("t", b"", pair("a" * 8, "b" * 8) * 500, id="user properties"),
        pytest.param("t", b"", pair("n", "v" * 20_000), id="a large user property"),
        pytest.param("t", b"", pair("n", "v" * 9999 + "\U0001f600"), id="a wide one"),
        pytest.param("t", b"", b"\x0b\x7f" * 500, id="small subscription identifiers"),
        pytest.param("t", b"", b"\x0b\xff\x7f" * 500, id="subscription identifiers"),
    ],
)
def test_no_message_takes_more_than_it_counts(topic, payload, properties):
    data = publish_bytes(topic, payload, 1, 1000, 5, properties=properties)
    # To trace the memory of large ones takes long.
    count = 50 if len(data) < 1000 else 3
    decoder = Decoder(ProtocolVersion.V5, Role.SERVER)
    decoder.feed(data)
    kept: list[Packet] = []
    gc.collect()
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    for _ in range(count):
        kept += decoder.feed(data)
        # A program may read them while others wait, which is when they take most.
        assert isinstance(kept[-1], Publish)
        assert kept[-1].properties is not None
    taken = (tracemalloc.get_traced_memory()[0] - before) / count
    tracemalloc.stop()
    [message] = decoder.feed(data)
    assert isinstance(message, Publish)
    for counted in (decoder.kept + MESSAGE_SIZE, message_size(message)):
        assert taken <= 1.05 * counted + 100
        assert counted <= 6 * taken + 2 * MESSAGE_SIZE


@pytest.mark.parametrize("size", [10, 1000, 100_000])
@pytest.mark.parametrize("cuts", [1, 2, 3, 7])
def test_a_packet_in_parts_counts_once_and_whole(size, cuts):
    data = publish_bytes("t", bytes(size)) + publish_bytes("t", b"x")
    decoder = Decoder(ProtocolVersion.V311, Role.SERVER)
    step = len(data) // cuts + 1
    counted = 0
    for start in range(0, len(data), step):
        decoder.feed(data[start : start + step])
        counted += decoder.kept
    assert counted == len(data)
