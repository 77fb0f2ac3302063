"""The stream of bytes, cut into packets, however it comes."""

import itertools
import random
import time
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiomqtt.properties import Properties, SubscribeOptions
from aiomqtt.protocol.codec import fast
from aiomqtt.protocol.codec.encode import encode
from aiomqtt.protocol.codec.framing import Decoder
from aiomqtt.protocol.packets import Ack, Ping, Publish, Subscribe
from aiomqtt.standard.tables import PacketType, ProtocolVersion, Role
from aiomqtt.topic import Topic
from tests.examples import examples
from tests.protocol.codec.strategies import connections, packets, same

V31, V311, V5 = ProtocolVersion
CLIENT, SERVER = Role.CLIENT, Role.SERVER

PINGRESP = b"\xd0\0"
PUBACK = b"\x40\2\0\1"
PUBLISH = b"\x30\6\0\1ahey"
SUBACK = b"\x90\3\0\1\0"
LONG = b"\x32\xd0\1\0\3a/b\0\7" + bytes(201)
CONVERSATION = b"\x20\2\0\0" + PUBLISH + PUBACK + LONG + SUBACK + PINGRESP


def fed(decoder, *chunks):
    """All packets of some chunks, comparable."""
    return [same(packet) for chunk in chunks for packet in decoder.feed(chunk)]


def answered(decoder):
    return None if decoder.error is None else decoder.error.reason_code


WHOLE = fed(Decoder(V311, SERVER), CONVERSATION)


def test_several_packets_in_a_chunk():
    kinds = [packet.kind.name for packet in Decoder(V311, SERVER).feed(CONVERSATION)]
    assert kinds == ["CONNACK", "PUBLISH", "PUBACK", "PUBLISH", "SUBACK", "PINGRESP"]


def test_byte_by_byte():
    decoder = Decoder(V311, SERVER)
    singles = [CONVERSATION[i : i + 1] for i in range(len(CONVERSATION))]
    assert fed(decoder, *singles) == WHOLE
    assert decoder.error is None


def test_split_at_every_point():
    for at in range(len(CONVERSATION) + 1):
        decoder = Decoder(V311, SERVER)
        assert fed(decoder, CONVERSATION[:at], CONVERSATION[at:]) == WHOLE
        assert decoder.error is None


def test_split_at_every_two_points():
    data = PUBLISH + LONG + PUBACK
    whole = fed(Decoder(V311, SERVER), data)
    for first in range(0, len(data), 3):
        for second in range(first, len(data), 3):
            decoder = Decoder(V311, SERVER)
            parts = data[:first], data[first:second], data[second:]
            assert fed(decoder, *parts) == whole


@pytest.mark.parametrize(
    "sizes",
    [
        [1, 5000],
        [5000, 1],
        [1, 4095, 4096, 4097],
        [0, 1, 2, 20_000, 3],
        [1024, 1023, 0],
    ],
    ids=str,
)
def test_large_and_small_chunks_take_turns(sizes):
    body = b"\0\1a" + bytes(range(256)) * 300
    stream = b"\x30\x83\xd8\x04" + body + PUBACK
    decoder = Decoder(V311, SERVER)
    received, position = [], 0
    for size in itertools.cycle(sizes):
        received += decoder.feed(stream[position : position + size])
        position += size
        if position >= len(stream):
            break
    message, ack = received
    assert isinstance(message, Publish)
    assert message.payload == body[3:]
    assert type(message.payload) is bytes
    assert ack == Ack(PacketType.PUBACK, 1)


def test_empty_chunks_change_nothing():
    decoder = Decoder(V311, SERVER)
    assert fed(decoder, b"", PUBLISH[:4], b"", PUBLISH[4:], b"") == WHOLE[1:2]


def test_a_packet_is_delivered_with_its_last_byte():
    decoder = Decoder(V311, SERVER)
    assert decoder.feed(LONG[:-1]) == []
    assert len(decoder.feed(LONG[-1:] + PUBLISH[:-1])) == 1
    assert len(decoder.feed(PUBLISH[-1:])) == 1


@examples(50)
@given(st.data())
def test_any_packets_cut_anywhere(data):
    version, sender = data.draw(connections)
    sent = data.draw(st.lists(packets(version, sender), min_size=1, max_size=5))
    stream = b"".join(encode(packet, version, sender) for packet in sent)
    cuts = data.draw(st.lists(st.integers(0, len(stream)), max_size=6).map(sorted))
    decoder = Decoder(version, sender)
    chunks = [
        stream[a:b] for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True)
    ]
    assert fed(decoder, *chunks) == [same(packet) for packet in sent]
    assert decoder.error is None


def test_a_connect_sets_the_version():
    decoder = Decoder(V311, CLIENT)
    publish_of_5 = b"\x30\4\0\1a\0"
    received = decoder.feed(b"\x10\x0d\0\4MQTT\5\2\0\0\0\0\0" + publish_of_5)
    assert decoder.error is None
    assert decoder.version is V5
    assert isinstance(received[1], Publish)
    assert received[1].payload == b""
    assert received[1].properties is not None


# --- remaining lengths ---------------------------------------------------------


@pytest.mark.parametrize(
    ("size", "encoded"),
    [
        (3, b"\x03"),
        (127, b"\x7f"),
        (128, b"\x80\1"),
        (16_383, b"\xff\x7f"),
        (16_384, b"\x80\x80\1"),
        (2_097_151, b"\xff\xff\x7f"),
        (2_097_152, b"\x80\x80\x80\1"),
    ],
)
def test_a_remaining_length_of_each_size(size, encoded):
    data = b"\x30" + encoded + b"\0\1a" + bytes(size - 3)
    for at in (len(data), 1, 2, 3, 4, 5, len(data) - 1):
        decoder = Decoder(V311, SERVER)
        received = decoder.feed(data[:at]) + decoder.feed(data[at:] + PINGRESP)
        assert decoder.error is None
        assert isinstance(received[0], Publish)
        assert len(received[0].payload) == size - 3
        assert received[1] == Ping(PacketType.PINGRESP)


BAD_LENGTHS = [
    b"\x80\0",
    b"\x85\0",
    b"\x80\x80\0",
    b"\xff\x80\x80\0",
    b"\x80\x80\x80\x80",
    b"\xff\xff\xff\xff",
]


@pytest.mark.parametrize("length", BAD_LENGTHS, ids=bytes.hex)
@pytest.mark.parametrize("first", [0x30, 0x40, 0xD0])
def test_a_remaining_length_that_is_malformed(first, length):
    data = bytes((first,)) + length
    decoder = Decoder(V311, SERVER)
    assert decoder.feed(data) == []
    assert answered(decoder) == 0x81
    decoder = Decoder(V311, SERVER)
    for index in range(len(data)):
        # It is told with the byte that makes it so, not before.
        assert answered(decoder) is None
        decoder.feed(data[index : index + 1])
    assert answered(decoder) == 0x81


# --- refusing early ------------------------------------------------------------


@pytest.mark.parametrize(
    ("version", "first", "code"),
    [
        (V5, 0x00, 0x81),
        (V311, 0xF0, 0x81),
        (V5, 0xF1, 0x81),
        (V5, 0x21, 0x81),
        (V5, 0x36, 0x81),
        (V5, 0x38, 0x81),
        (V5, 0x60, 0x81),
        (V5, 0x10, 0x82),
        (V5, 0x82, 0x82),
        (V5, 0xC0, 0x82),
        (V311, 0xE0, 0x82),
    ],
)
def test_a_first_byte_is_enough_to_refuse(version, first, code):
    decoder = Decoder(version, SERVER)
    assert len(decoder.feed(PINGRESP + bytes((first,)))) == 1
    assert answered(decoder) == code


@pytest.mark.parametrize("first", [0x10, 0x36, 0x00])
def test_the_body_of_a_refused_packet_is_not_waited_for(first):
    decoder = Decoder(V5, SERVER)
    assert decoder.feed(bytes((first,)) + b"\xff\xff\xff\x7f") == []
    assert decoder.error is not None


@pytest.mark.conformance("5.0", "MQTT-3.1.2-24")
@pytest.mark.parametrize("split", [False, True])
def test_a_packet_above_the_maximum_packet_size(split):
    # The size counts the fixed header (MQTT 5.0 §3.1.2.11.4).
    def outcome(size):
        decoder = Decoder(V311, SERVER, maximum_packet_size=100)
        header = bytes((0x30, size - 2))
        body = b"\0\1a" + bytes(size - 5)
        if split:
            return decoder.feed(header) + decoder.feed(body), answered(decoder)
        return decoder.feed(header + body), answered(decoder)

    received, error = outcome(100)
    assert len(received) == 1
    assert error is None
    assert outcome(101) == ([], 0x95)


def test_an_oversize_packet_is_refused_by_its_header():
    decoder = Decoder(V5, SERVER, maximum_packet_size=1000)
    assert decoder.feed(b"\x30\xff\xff\xff") == []
    assert answered(decoder) is None
    assert decoder.feed(b"\x7f") == []
    assert answered(decoder) == 0x95


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"\x80\x80\0", 0x82),
        (b"\x00\x80\x80\x80\x80", 0x81),
        (b"\x10\xff\x7f", 0x82),
        (b"\x36\xff\x7f", 0x81),
        (b"\x30\xff\x7f\0\1#", 0x95),
    ],
)
def test_the_first_fault_is_told_however_it_comes(data, code):
    for chunks in ([data], [data[i : i + 1] for i in range(len(data))]):
        decoder = Decoder(V5, SERVER, maximum_packet_size=1000)
        assert fed(decoder, *chunks) == []
        assert answered(decoder) == code


# --- after an error ------------------------------------------------------------


def test_what_came_before_the_error_is_delivered():
    decoder = Decoder(V311, SERVER)
    received = decoder.feed(PUBACK + PINGRESP + b"\x40\2\0\0" + PUBACK)
    assert received == [Ack(PacketType.PUBACK, 1), Ping(PacketType.PINGRESP)]
    assert answered(decoder) == 0x81


def test_nothing_is_decoded_after_an_error():
    decoder = Decoder(V311, SERVER)
    decoder.feed(b"\x00\0")
    error = decoder.error
    assert decoder.feed(PUBACK) == []
    assert decoder.error is error


# --- memory and time -----------------------------------------------------------


def held_while(decoder, chunks):
    """The most memory that feeding takes, in bytes."""
    tracemalloc.start()
    try:
        for chunk in chunks:
            decoder.feed(chunk)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_nothing_is_held_after_an_error():
    decoder = Decoder(V5, SERVER)
    decoder.feed(b"\x36\xff\xff\xff\x7f")
    assert answered(decoder) == 0x81
    assert held_while(decoder, (bytes(1 << 16) for _ in range(200))) < 1 << 20


def test_nothing_grows_with_the_packets_that_passed():
    decoder = Decoder(V311, SERVER)
    chunk = (LONG + PUBLISH) * 20 + LONG[:50]
    rest = LONG[50:]
    # 400 KB, and as much again for the objects.
    assert held_while(decoder, (part for _ in range(100) for part in (chunk, rest))) < (
        1 << 17
    )


def test_an_announced_length_takes_no_memory():
    decoder = Decoder(V5, SERVER)
    assert held_while(decoder, [b"\x30\xff\xff\xff\x7f\0\1a"]) < 1 << 16


@pytest.mark.parametrize("size", [1, 2, 7])
def test_a_packet_in_tiny_chunks_takes_little_more_than_its_size(size):
    # A peer that sends a few bytes at a time must not make us hold many for each.
    length = 20_000
    data = b"\x30\xa0\x9c\x01\0\1a" + bytes(length - 3)
    decoder = Decoder(V311, SERVER)
    chunks = (data[i : i + size] for i in range(0, len(data) - 1, size))
    assert held_while(decoder, chunks) < 4 * length
    assert decoder.error is None


def test_topics_that_a_peer_invents_are_not_all_kept():
    decoder = Decoder(V311, SERVER)

    def invented():
        for number in range(3 * fast.CACHED_TOPICS // 2):
            topic = f"{number:0100}".encode()
            yield bytes((0x30, 102, 0, 100)) + topic

    fast.decoded_topics.clear()
    # As many as may be kept take 6.5 MB, with what Python needs for them.
    assert held_while(decoder, invented()) < 8 << 20


def seconds_to_feed(size, chunk):
    """The processor time to decode one packet of a size, the best of three."""
    payload = bytes(size)
    encoded = encode(
        Publish(Topic("a"), payload, 0, False, 0, None, False), V311, SERVER
    )
    chunks = [encoded[i : i + chunk] for i in range(0, len(encoded), chunk)]
    best = float("inf")
    for _ in range(3):
        decoder = Decoder(V311, SERVER)
        started = time.process_time()
        received = [packet for part in chunks for packet in decoder.feed(part)]
        best = min(best, time.process_time() - started)
        assert len(received) == 1
        assert isinstance(received[0], Publish)
        assert len(received[0].payload) == size
    return best


def test_a_packet_of_megabytes_in_many_chunks_is_linear():
    # A quadratic decoder takes 64 times as long for 8 times as much; at 16 MB it
    # copies 128 GB.
    small = seconds_to_feed(2_000_000, 1000)
    large = seconds_to_feed(16_000_000, 1000)
    assert large < 32 * max(small, 0.005)


MEGABYTES = random.Random(1).randbytes(13_000_000)
MANY_FILTERS = [(f"{number:060000}", SubscribeOptions()) for number in range(200)]


@pytest.mark.parametrize(
    ("packet", "sender"),
    [
        (Publish(Topic("a"), MEGABYTES, 0, False, 0, None, False), SERVER),
        (Subscribe(1, MANY_FILTERS), CLIENT),
    ],
)
@pytest.mark.parametrize(
    "sizes", [(262_144,), (1, 500_000), (5_000_000,), (900, 70_000)]
)
def test_a_packet_of_megabytes_is_whole_however_it_is_cut(packet, sender, sizes):
    """Also when its chunks were joined before it was complete."""
    decoder = Decoder(V311, sender)
    data = encode(packet, V311, sender)
    received, position = [], 0
    for size in itertools.cycle(sizes):
        received += decoder.feed(data[position : position + size])
        position += size
        if position >= len(data):
            break
    assert [same(found) for found in received] == [same(packet)]
    assert not decoder.is_partial


# --- a large PUBLISH in parts ------------------------------------------------------

LARGE_PAYLOAD = bytes(range(256)) * 100
PROPERTIES = Properties(
    content_type="text/plain", user_property=[("k", "v" * 50)], topic_alias=3
)


def large(version, qos=1, topic="sensors/1", properties=None):
    packet = Publish(
        Topic(topic), LARGE_PAYLOAD, qos, False, 7 if qos else 0, properties, False
    )
    return encode(packet, version, SERVER)


@pytest.mark.parametrize(
    ("version", "qos", "properties"),
    [(V311, 0, None), (V311, 2, None), (V5, 1, None), (V5, 2, PROPERTIES)],
)
def test_a_large_publish_is_whole_wherever_it_was_cut(version, qos, properties):
    """In the header, the topic, the identifier, the properties or the payload."""
    data = large(version, qos, properties=properties)
    whole = fed(Decoder(version, SERVER), data + PINGRESP + data)
    places = [*range(1, 120), len(data) // 2, *range(len(data) - 3, len(data))]
    for at in places:
        stream = data + PINGRESP + data
        rest = stream[at:]
        middle = len(rest) // 3
        for chunks in (
            [stream[:at], rest],
            [stream[:at], rest[:middle], rest[middle:]],
            [stream[:at], rest[:100], rest[100:300], rest[300:]],
        ):
            decoder = Decoder(version, SERVER)
            assert fed(decoder, *chunks) == whole
            assert decoder.error is None


@pytest.mark.parametrize("last", [1, 100, 2000])
def test_what_follows_a_large_publish_is_decoded(last):
    data = large(V311)
    stream = data + PINGRESP + LONG
    chunks = [
        stream[:9000],
        stream[9000 : len(data) - last],
        stream[len(data) - last :],
    ]
    assert fed(Decoder(V311, SERVER), *chunks) == fed(Decoder(V311, SERVER), stream)


@pytest.mark.parametrize(
    "wrong",
    [
        large(V5).replace(b"sensors/1", b"sensors/#"),
        large(V5).replace(b"sensors/1", b"sensor\xff/1"),
        large(V5, properties=PROPERTIES).replace(b"text/plain", b"text\xffplain"),
        large(V5).replace(b"\x00\x07\x00", b"\x00\x00\x00"),
        large(V5).replace(b"\x00\x07\x00", b"\x00\x07\xff"),
    ],
    ids=["wildcard", "UTF-8", "property", "identifier", "property length"],
)
def test_what_is_wrong_with_a_large_publish_is_told_as_if_it_were_whole(wrong):
    expected = Decoder(V5, SERVER)
    expected.feed(wrong)
    assert expected.error is not None
    for at in (*range(1, 60), 5000):
        decoder = Decoder(V5, SERVER)
        assert fed(decoder, wrong[:at], wrong[at : at + 8000], wrong[at + 8000 :]) == []
        assert answered(decoder) == answered(expected)
