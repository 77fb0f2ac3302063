"""The fast path and the path by the table say the same, for any packet and bytes."""

import sys
from types import FrameType
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from aiomqtt.properties import Properties
from aiomqtt.protocol.codec import fast
from aiomqtt.protocol.codec.decode import check_first_byte, decode
from aiomqtt.protocol.codec.encode import encode
from aiomqtt.protocol.codec.fast import encode_ack, encode_publish, with_dup
from aiomqtt.protocol.codec.framing import Decoder
from aiomqtt.protocol.packets import NO_TOPIC, Ack, Packet, Publish
from aiomqtt.protocol.wire import PacketError, encode_variable
from aiomqtt.standard.tables import PacketType, ProtocolVersion, Role
from aiomqtt.topic import Topic
from tests.examples import examples
from tests.protocol.codec.strategies import (
    acks,
    connections,
    packet_ids,
    packets,
    payloads,
    property_sets,
    publishes,
    same,
)

V31, V311, V5 = ProtocolVersion
CLIENT, SERVER = Role.CLIENT, Role.SERVER
ACKS = [PacketType.PUBACK, PacketType.PUBREC, PacketType.PUBREL, PacketType.PUBCOMP]


# --- encoding ------------------------------------------------------------------


def joined(message: Publish, version: ProtocolVersion, sender: Role) -> bytes:
    """A PUBLISH as the engine makes it: two parts, with the packet id between them."""
    head, tail = encode_publish(
        message.topic.value,
        message.payload,
        message.qos,
        message.retain,
        message.properties,
        version,
        sender,
    )
    if message.dup:
        head = with_dup(head)
    return head + (message.mid.to_bytes(2, "big") if message.qos else b"") + tail


@examples(200)
@given(st.data())
def test_publish_is_encoded_alike(data):
    version, sender = data.draw(connections)
    message = data.draw(publishes(version, sender))
    fast.encoded_topics.clear()
    for _ in range(2):
        assert joined(message, version, sender) == encode(message, version, sender)


@pytest.mark.parametrize("version", ProtocolVersion)
@pytest.mark.parametrize("qos", [0, 1, 2])
@pytest.mark.parametrize("size", [115, 127, 128, 16_370, 16_383, 16_384, 2_097_150])
def test_a_publish_of_any_size_is_encoded_alike(version, qos, size):
    for extra in range(8):
        message = Publish(
            Topic("a"), bytes(size - extra), qos, False, bool(qos), None, False
        )
        assert joined(message, version, CLIENT) == encode(message, version, CLIENT)


@examples(200)
@given(
    st.text(max_size=8),
    payloads,
    st.integers(-1, 4),
    packet_ids,
    connections,
    st.sampled_from(list(PacketType)),
    st.data(),
)
def test_what_one_refuses_the_other_refuses(
    name, payload, qos, mid, connection, donor, data
):
    # Any text for a topic, any QoS, and the properties of any packet.
    version, sender = connection
    properties = data.draw(property_sets(donor, V5, SERVER))
    topic = Topic.__new__(Topic)
    object.__setattr__(topic, "value", name)
    message = Publish(topic, payload, qos, False, mid if qos else 0, properties, False)

    def outcome(function):
        try:
            return function(message, version, sender)
        except (ValueError, TypeError) as error:
            return type(error), str(error)

    assert outcome(joined) == outcome(encode)


@pytest.mark.conformance("5.0", "MQTT-3.3.2-2", "MQTT-4.7.3-1", "MQTT-4.7.3-3")
@pytest.mark.conformance("3.1.1", "MQTT-3.3.2-2", "MQTT-4.7.3-1", "MQTT-4.7.3-3")
@pytest.mark.parametrize("version", ProtocolVersion)
@pytest.mark.parametrize("topic", ["a/+", "#", "a\0", "\ud800", "x" * 65_536])
def test_an_invalid_topic_is_refused_each_time(topic, version):
    for _ in range(2):
        with pytest.raises(ValueError, match="^topic must (not contain|be)"):
            encode_publish(topic, b"", 0, False, None, version, CLIENT)


def test_a_publish_ends_at_the_largest_remaining_length():
    payload = bytes(268_435_455 - 3)
    head, tail = encode_publish("a", payload, 0, False, None, V311, CLIENT)
    assert head == b"\x30\xff\xff\xff\x7f\0\1a"
    assert len(tail) == len(payload)
    for version, qos in [(V5, 0), (V311, 1), (V5, 2)]:
        with pytest.raises(ValueError, match="268435455 are the most"):
            encode_publish("a", payload, qos, False, None, version, CLIENT)


@examples(50)
@given(st.sampled_from(ACKS), packet_ids, connections)
def test_a_success_ack_is_encoded_alike(kind, packet_id, connection):
    version, sender = connection
    first = kind << 4 | (2 if kind is PacketType.PUBREL else 0)
    expected = encode(Ack(kind, packet_id), version, sender)
    assert encode_ack(first, packet_id) == expected


# --- decoding ------------------------------------------------------------------


def by_table(
    data: bytes, version: ProtocolVersion, sender: Role
) -> tuple[list[object], int | None]:
    """The packets of some bytes, and what ends them, without the fast path.

    A framing of its own, as simple as can be.
    """
    found: list[object] = []
    position = 0
    while position < len(data):
        first = data[position]
        if fault := header_fault(first, version, sender):
            return found, fault
        length, start = 0, position + 1
        byte = 0x80
        while byte >= 0x80:
            if start - position > 4:
                return found, 0x81
            if start == len(data):
                return found, None
            byte = data[start]
            length |= (byte & 0x7F) << 7 * (start - position - 1)
            start += 1
        if byte == 0 and start - position > 2:
            return found, 0x81
        body = data[start : start + length]
        if len(body) < length:
            return found, None
        try:
            found.append(same(decode(first, body, version, sender)))
        except PacketError as error:
            return found, error.reason_code
        position = start + length
    return found, None


def header_fault(first: int, version: ProtocolVersion, sender: Role) -> int | None:
    """Return the reason code for a first byte, whatever follows; None: it is valid."""
    try:
        check_first_byte(first, version, sender)
    except PacketError as error:
        return error.reason_code
    return None


def by_stream(
    chunks: list[bytes], version: ProtocolVersion, sender: Role
) -> tuple[list[object], int | None]:
    decoder = Decoder(version, sender)
    found: list[Packet] = []
    for chunk in chunks:
        found += decoder.feed(chunk)
    code = None if decoder.error is None else decoder.error.reason_code
    return [same(packet) for packet in found], code


def decoded_alike(data: bytes, version: ProtocolVersion, sender: Role) -> None:
    expected = by_table(data, version, sender)
    fast.decoded_topics.clear()
    assert by_stream([data], version, sender) == expected
    # And when the cache knows its topics.
    assert by_stream([data], version, sender) == expected
    singles = [data[index : index + 1] for index in range(len(data))]
    assert by_stream(singles, version, sender) == expected


def framed(first: int, body: bytes) -> bytes:
    return bytes((first,)) + encode_variable(len(body)) + body


hot_packets = connections.flatmap(
    lambda connection: st.tuples(
        st.just(connection),
        st.one_of(
            publishes(*connection),
            *(acks(kind, *connection) for kind in ACKS),
        ),
    )
)


@examples(200)
@given(hot_packets)
def test_publish_and_acks_are_decoded_alike(case):
    (version, sender), packet = case
    data = encode(packet, version, sender)
    decoded_alike(data, version, sender)
    assert by_stream([data], version, sender) == ([same(packet)], None)


@examples(300)
@given(hot_packets, st.data())
def test_mutated_publish_and_acks_are_decoded_alike(case, data):
    (version, sender), packet = case
    mutated = bytearray(encode(packet, version, sender))
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(mutated) - 1))
        mutated[at] = data.draw(st.integers(0, 255))
    # What follows must not become part of it.
    rest = data.draw(st.sampled_from([b"", b"\xd0\0", b"\x40\2\0\1\x30\3\0\1a"]))
    decoded_alike(bytes(mutated) + rest, version, sender)


# Bodies that are nearly right: a length, a topic, an id, properties, a payload.
bodies = st.binary(max_size=24) | st.builds(
    lambda length, topic, rest: length.to_bytes(2, "big") + topic + rest,
    st.integers(0, 6),
    st.sampled_from(
        [b"", b"a", b"a/b", b"+", b"a#", b"\0", b"\xc3\xa9", b"\xff", b"\xed\xa0\x80"]
    ),
    st.binary(max_size=8)
    | st.sampled_from([b"\0", b"\0\1\0", b"\0\0\0", b"\3\x23\0\1", b"\0\1\3\x23\0\0"]),
)
hot_first_bytes = st.sampled_from([*range(0x30, 0x80)])


@examples(500)
@given(hot_first_bytes, bodies, connections)
@example(0x32, b"\0\1a\0\0", (V311, SERVER))
@example(0x32, b"\0\1a\0", (V5, SERVER))
@example(0x30, b"\0\1a", (V5, SERVER))
@example(0x30, b"\0\0\3\x23\0\1", (V5, SERVER))
@example(0x30, b"\0", (V311, SERVER))
@example(0x38, b"\0\1a", (V311, SERVER))
@example(0x6A, b"\0\1", (V31, SERVER))
@example(0x40, b"\0\0", (V5, SERVER))
def test_any_body_of_publish_and_acks_is_decoded_alike(first, body, connection):
    version, sender = connection
    decoded_alike(framed(first, body), version, sender)
    decoded_alike(framed(first, body) + b"\xff" * 8, version, sender)


@examples(250)
@given(st.binary(max_size=40), connections)
def test_garbage_is_decoded_alike(data, connection):
    if data[:1] and data[0] >> 4 == PacketType.CONNECT:
        return  # it would change the version, which the table's path here does not
    version, sender = connection
    if b"\x10" not in data:
        decoded_alike(data, version, sender)


# --- nothing but PacketError ---------------------------------------------------

CODES = {0x81, 0x82, 0x84, 0x94}


@examples(500)
@given(st.integers(0x10, 0xFF), st.binary(max_size=40), connections)
def test_no_body_raises_anything_else(first, body, connection):
    version, sender = connection
    try:
        decode(first, body, version, sender)
    except PacketError as error:
        assert error.reason_code in CODES  # noqa: PT017
        assert error.text  # noqa: PT017


@examples(300)
@given(connections, st.data())
def test_no_mutation_raises_anything_else(connection, data):
    version, sender = connection
    encoded = bytearray(encode(data.draw(packets(version, sender)), version, sender))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(encoded) - 1))
        encoded[at] = data.draw(st.integers(0, 255))
    if data.draw(st.booleans()):
        del encoded[data.draw(st.integers(0, len(encoded) - 1)) :]
    decoder = Decoder(version, sender)
    decoder.feed(bytes(encoded))
    assert decoder.error is None or decoder.error.reason_code in CODES


# --- the caches ----------------------------------------------------------------


def test_the_same_topic_is_the_same_object():
    decoder = Decoder(V311, SERVER)
    first, second = decoder.feed(b"\x30\3\0\1a" * 2)
    assert isinstance(first, Publish)
    assert isinstance(second, Publish)
    assert first.topic is second.topic
    assert first is not second


def test_properties_are_not_shared_between_messages():
    decoder = Decoder(V5, SERVER)
    first, second = decoder.feed(b"\x30\4\0\1a\0" * 2)
    assert isinstance(first, Publish)
    assert isinstance(second, Publish)
    assert first.properties == Properties()
    assert first.properties is not second.properties


def test_the_caches_are_bounded():
    for number in range(fast.CACHED_TOPICS + 100):
        fast.encode_topic(f"bound/{number}")
        fast.decode_topic(f"bound/{number}".encode())
    assert len(fast.encoded_topics) <= fast.CACHED_TOPICS
    assert len(fast.decoded_topics) <= fast.CACHED_TOPICS


def test_what_is_kept_of_a_topic_changes_in_one_step():
    """Threads share it, say a client's and a broker's; not all have a GIL.

    Where it isn't compiled, another of them publishes between any two lines.
    """

    def publish(payload: bytes) -> tuple[bytes, bytes]:
        return encode_publish("shared", payload, 0, False, None, V311, CLIENT)

    def interrupt(frame: FrameType, event: str, argument: object) -> Any:
        if event == "line":
            publish(b"of another thread")
        return interrupt

    def trace(frame: FrameType, event: str, argument: object) -> Any:
        return interrupt if frame.f_code.co_name == "encode_publish" else None

    last = sys.gettrace()
    sys.settrace(trace)
    try:
        published = publish(b"x")
    finally:
        sys.settrace(last)
    assert published == (b"\x30\x09\0\6shared", b"x")
    assert publish(b"x") == published


def test_long_topics_are_not_kept():
    topic = "x" * (fast.CACHED_LENGTH + 1)
    fast.encode_topic(topic)
    fast.decode_topic(topic.encode())
    assert topic not in fast.encoded_topics
    assert topic.encode() not in fast.decoded_topics


def test_an_alias_alone_is_no_topic_to_keep():
    decoder = Decoder(V5, SERVER)
    (message,) = decoder.feed(b"\x30\6\0\0\3\x23\0\1")
    assert isinstance(message, Publish)
    assert message.topic is NO_TOPIC
    assert b"" not in fast.decoded_topics
