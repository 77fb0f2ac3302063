"""The bounds of the items in a packet, and of the packets that a call decodes."""

import pytest

from aiomqtt.properties import Properties, ReasonCode, SubscribeOptions
from aiomqtt.protocol.codec.encode import encode
from aiomqtt.protocol.codec.framing import Decoder
from aiomqtt.protocol.packets import (
    Ack,
    Ping,
    Publish,
    Signal,
    Suback,
    Subscribe,
    Unsubscribe,
    WillMessage,
)
from aiomqtt.protocol.packets import Connect as ConnectPacket
from aiomqtt.protocol.wire import MAXIMUM_ITEMS
from aiomqtt.standard.tables import PacketType, ProtocolVersion, Role
from aiomqtt.topic import Topic

V31, V311, V5 = ProtocolVersion
CLIENT, SERVER = Role.CLIENT, Role.SERVER
QUOTA_EXCEEDED = 0x97
SUCCESS = ReasonCode(0)


def user_properties(count):
    return Properties(user_property=[("", "")] * count)


def publish(properties):
    return Publish(Topic("t"), b"", 0, False, 0, properties, False)


# Packets with so many items of a kind, and who sends them.
PACKETS = {
    "SUBSCRIBE filters": (
        CLIENT,
        lambda count: Subscribe(1, [("t", SubscribeOptions())] * count),
    ),
    "UNSUBSCRIBE filters": (CLIENT, lambda count: Unsubscribe(1, ["t"] * count)),
    "SUBACK codes": (
        SERVER,
        lambda count: Suback(PacketType.SUBACK, 1, [SUCCESS] * count),
    ),
    "UNSUBACK codes": (
        SERVER,
        lambda count: Suback(PacketType.UNSUBACK, 1, [SUCCESS] * count),
    ),
    "PUBLISH user properties": (
        CLIENT,
        lambda count: publish(user_properties(count)),
    ),
    "PUBLISH subscription identifiers": (
        SERVER,
        lambda count: publish(Properties(subscription_identifier=[1] * count)),
    ),
    "CONNECT user properties": (
        CLIENT,
        lambda count: ConnectPacket(V5, "me", properties=user_properties(count)),
    ),
    "will user properties": (
        CLIENT,
        lambda count: ConnectPacket(
            V5, "me", will=WillMessage("t", b"", properties=user_properties(count))
        ),
    ),
    "SUBSCRIBE user properties": (
        CLIENT,
        lambda count: Subscribe(1, [("t", SubscribeOptions())], user_properties(count)),
    ),
    "PUBACK user properties": (
        CLIENT,
        lambda count: Ack(PacketType.PUBACK, 1, SUCCESS, user_properties(count)),
    ),
    "DISCONNECT user properties": (
        CLIENT,
        lambda count: Signal(PacketType.DISCONNECT, 0, user_properties(count)),
    ),
}


@pytest.mark.parametrize("name", PACKETS)
def test_so_many_items_and_no_more(name):
    sender, make = PACKETS[name]
    decoder = Decoder(V5, sender, maximum_items=5)
    assert len(decoder.feed(encode(make(5), V5, sender))) == 1
    assert decoder.error is None
    assert decoder.feed(encode(make(6), V5, sender)) == []
    assert decoder.error is not None
    assert decoder.error.reason_code == QUOTA_EXCEEDED
    assert "more than 5" in decoder.error.text


# It is one number for all of them: here by the table, and by the fast path.
@pytest.mark.parametrize("name", ["SUBACK codes", "PUBLISH subscription identifiers"])
def test_there_is_a_bound_by_default(name):
    sender, make = PACKETS[name]
    decoder = Decoder(V5, sender)
    assert decoder.feed(encode(make(MAXIMUM_ITEMS + 1), V5, sender)) == []
    assert decoder.error is not None
    assert decoder.error.reason_code == QUOTA_EXCEEDED


def test_a_packet_is_refused_at_the_first_item_too_many():
    """The bytes after it are not decoded: here they would be malformed."""
    filters = b"\0\1t\0" * 6 + b"\xff"
    body = b"\0\1" + filters
    decoder = Decoder(V311, CLIENT, maximum_items=5)
    assert decoder.feed(bytes((0x82, len(body))) + body) == []
    assert decoder.error is not None
    assert decoder.error.reason_code == QUOTA_EXCEEDED


PINGREQ = b"\xc0\0"
PUBLISH = b"\x30\3\0\1t"


def test_a_call_returns_a_portion():
    decoder = Decoder(V311, CLIENT, portion=3)
    assert len(decoder.feed(PINGREQ * 7 + PUBLISH[:2])) == 3
    assert decoder.has_more
    assert not decoder.is_partial
    assert decoder.size >= 4 * len(PINGREQ)
    assert len(decoder.feed(b"")) == 3
    assert decoder.has_more
    # More may come before all is decoded.
    packets = decoder.feed(PUBLISH[2:] + PINGREQ)
    assert [type(packet) for packet in packets] == [Ping, Publish, Ping]
    assert not decoder.has_more
    assert decoder.feed(b"") == []
    assert decoder.size == 0


def test_what_is_left_of_a_portion_may_be_the_beginning_of_a_packet():
    decoder = Decoder(V311, CLIENT, portion=2)
    assert len(decoder.feed(PINGREQ * 2 + PUBLISH[:1])) == 2
    assert not decoder.has_more
    assert decoder.is_partial
    assert len(decoder.feed(PUBLISH[1:] + PINGREQ * 2)) == 2
    assert len(decoder.feed(b"")) == 1


def test_an_error_waits_for_its_portion():
    decoder = Decoder(V311, CLIENT, portion=2)
    assert len(decoder.feed(PINGREQ * 3 + b"\0\0")) == 2
    assert decoder.error is None
    assert len(decoder.feed(b"")) == 1
    assert decoder.error is not None
    assert not decoder.has_more
