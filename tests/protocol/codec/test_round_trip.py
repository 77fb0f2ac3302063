"""Every packet, as either role sends it, in all three versions, there and back."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiomqtt.protocol.codec.decode import decode
from aiomqtt.protocol.codec.encode import encode
from aiomqtt.protocol.codec.framing import Decoder
from aiomqtt.protocol.packets import Publish
from aiomqtt.protocol.wire import Reader
from aiomqtt.standard.tables import PacketType, ProtocolVersion, Role
from aiomqtt.topic import Topic
from tests.examples import examples
from tests.protocol.codec.strategies import (
    connections,
    kinds,
    packets,
    packets_of,
    publishes,
    same,
)

CASES = [
    pytest.param(kind, version, sender, id=f"{sender.value}-{version.name}-{kind.name}")
    for version in ProtocolVersion
    for sender in Role
    for kind in kinds(version, sender)
]


def split(encoded: bytes) -> tuple[int, bytes]:
    """The first byte and the body, which the remaining length must measure."""
    reader = Reader(encoded)
    first, length = reader.byte(), reader.variable()
    body = reader.rest()
    assert len(body) == length
    return first, body


@pytest.mark.parametrize(("kind", "version", "sender"), CASES)
@examples(25)
@given(data=st.data())
def test_a_packet_comes_back(kind, version, sender, data):
    packet = data.draw(packets_of(kind, version, sender))
    encoded = encode(packet, version, sender)
    first, body = split(encoded)
    assert first >> 4 == kind
    decoded = decode(first, body, version, sender)
    assert same(decoded) == same(packet)
    # What was decoded encodes to the same bytes: nothing is said in two ways.
    assert encode(decoded, version, sender) == encoded


@examples(50)
@given(st.data())
def test_a_conversation_comes_back_from_one_chunk(data):
    version, sender = data.draw(connections)
    sent = data.draw(st.lists(packets(version, sender), min_size=2, max_size=8))
    decoder = Decoder(version, sender)
    received = decoder.feed(
        b"".join(encode(packet, version, sender) for packet in sent)
    )
    assert decoder.error is None
    assert list(map(same, received)) == list(map(same, sent))


@pytest.mark.parametrize(
    "size", [0, 1, 118, 119, 16_374, 16_375, 2_097_142, 2_097_143, 3_000_000]
)
@pytest.mark.parametrize("version", ProtocolVersion)
def test_a_payload_of_any_size_comes_back(version, size):
    # Around the sizes at which the remaining length takes another byte.
    message = Publish(Topic("a/b"), bytes(size), 1, False, 1, None, False)
    encoded = encode(message, version, Role.SERVER)
    first, body = split(encoded)
    assert same(decode(first, body, version, Role.SERVER)) == same(message)


@examples(25)
@given(st.data())
def test_the_properties_of_a_received_publish_are_never_none_in_5_0(data):
    # So `message.properties.response_topic` needs no check.
    version, sender = data.draw(connections)
    packet = data.draw(publishes(version, sender))
    first, body = split(encode(packet, version, sender))
    decoded = decode(first, body, version, sender)
    assert isinstance(decoded, Publish)
    assert (decoded.properties is None) == (version < ProtocolVersion.V5)


def test_every_kind_of_packet_is_in_the_cases():
    covered = {case.values[0] for case in CASES}
    assert covered == set(PacketType) - {PacketType.WILL}
