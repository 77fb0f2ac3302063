"""Flow control (MQTT 5.0 §4.9), packet sizes and topic aliases, both ways."""

import pytest

from aiomqtt.broker import Limits
from aiomqtt.protocol.packets import Ack
from tests.broker.scenarios.line import PUBACK, PUBCOMP, PUBLISH, PUBREC, PUBREL

# --- Receive Maximum ------------------------------------------------------------


async def test_the_client_chooses_how_much_is_under_way(broker, join):
    """[MQTT-3.3.4-9], [MQTT-4.9.0-1], [MQTT-4.9.0-2]."""
    listener = await join(broker, 5, "listener", receive_maximum=2)
    await listener.subscribe("flow", qos=2)
    speaker = await join(broker, 5, "speaker")
    for number in range(6):
        await speaker.publish("flow", str(number).encode(), 1 + number % 2)
    one = await listener.expect(PUBLISH, payload=b"0", qos=1)
    two = await listener.expect(PUBLISH, payload=b"1", qos=2)
    await listener.nothing()
    # Half of QoS 2 frees nothing.
    listener.ack(PUBREC, two)
    await listener.expect(PUBREL, packet_id=two.mid)
    await listener.nothing()
    listener.ack(PUBCOMP, two)
    three = await listener.expect(PUBLISH, payload=b"2", qos=1)
    await listener.nothing()
    listener.ack(PUBACK, one)
    four = await listener.expect(PUBLISH, payload=b"3", qos=2)
    await listener.nothing()
    # A refusal ends a delivery, so that it frees its place.
    listener.ack(PUBREC, four, 0x80)
    five = await listener.expect(PUBLISH, payload=b"4", qos=1)
    await listener.nothing()
    listener.ack(PUBACK, three, 0x80)
    six = await listener.expect(PUBLISH, payload=b"5", qos=2)
    listener.ack(PUBACK, five)
    await listener.take_over(six)
    await listener.nothing()


async def test_qos_0_is_not_counted(broker, join):
    # [MQTT-4.9.0-2]
    listener = await join(broker, 5, "listener", receive_maximum=1)
    await listener.subscribe("flow", qos=2)
    speaker = await join(broker, 5, "speaker")
    await speaker.publish("flow", b"1", 1)
    packet = await listener.expect(PUBLISH, payload=b"1", qos=1)
    await speaker.publish("flow", b"waits", 1)
    for _ in range(3):
        await speaker.publish("flow", b"0")
        await listener.take("flow", b"0")
    await listener.nothing()
    listener.ack(PUBACK, packet)
    await listener.take("flow", b"waits", 1)


async def test_a_new_connection_has_its_own_receive_maximum(broker, join):
    # §4.9: the quota is not part of the session.
    listener = await join(broker, 5, "listener", session=True)
    await listener.subscribe("flow", qos=1)
    speaker = await join(broker, 5, "speaker")
    for payload in (b"1", b"2", b"3"):
        await speaker.publish("flow", payload, 1)
    packets = [await listener.expect(PUBLISH, dup=False) for _ in range(3)]
    listener.vanish()
    listener = await join(broker, 5, "listener", session=True, receive_maximum=1)
    for packet in packets:
        await listener.expect(PUBLISH, dup=True, packet_id=packet.mid)
        await listener.nothing()
        listener.ack(PUBACK, packet)
    await listener.nothing()


@pytest.mark.parametrize("qos", [1, 2])
async def test_the_broker_chooses_how_much_is_under_way(
    start_broker, join, version, qos
):
    """§3.2.2.3.3, §4.9: who sends more is disconnected; who waits is not."""
    broker = await start_broker(limits=Limits(receive_maximum=2))
    speaker = await join(broker, version, "speaker")
    if version == 5:
        assert speaker.connack.properties.receive_maximum == 2
    for number in range(5):
        await speaker.publish("flow", str(number).encode(), qos)
    await speaker.nothing()


async def test_who_sends_more_than_the_broker_takes(start_broker, join, version):
    # §4.9: 0x93. Below 5.0 the client can't know, and so it doesn't count.
    broker = await start_broker(limits=Limits(receive_maximum=2))
    speaker = await join(broker, version, "speaker")
    packets = [speaker.publish_packet("flow", b"1", 2) for _ in range(3)]
    speaker.send(*packets)
    for packet in packets[: 2 if version == 5 else 3]:
        await speaker.expect(PUBREC, packet_id=packet.mid)
    if version == 5:
        await speaker.expect_refusal(0x93)
    else:
        await speaker.nothing()


async def test_a_repeated_publish_is_not_one_more(start_broker, join):
    """§4.9: nor is one that is sent again after a reconnect."""
    broker = await start_broker(limits=Limits(receive_maximum=1))
    speaker = await join(broker, 5, "speaker", session=True)
    packet = speaker.publish_packet("flow", b"1", 2)
    speaker.send(packet)
    await speaker.expect(PUBREC)
    speaker.vanish()
    speaker = await join(broker, 5, "speaker", session=True)
    packet.dup = True
    speaker.send(packet)
    await speaker.expect(PUBREC, packet_id=packet.mid)
    speaker.send(Ack(PUBREL, packet.mid))
    await speaker.expect(PUBCOMP)
    await speaker.publish("flow", b"2", 2)
    await speaker.nothing()


# --- Maximum Packet Size --------------------------------------------------------


@pytest.mark.parametrize("qos", [0, 1, 2])
async def test_a_packet_that_the_client_does_not_take_is_not_sent(broker, join, qos):
    """[MQTT-3.1.2-24], [MQTT-3.1.2-25]: it counts as delivered."""
    listener = await join(broker, 5, "listener", maximum_packet_size=64)
    listener.refuse_larger_packets(64)
    await listener.subscribe("size", qos=qos)
    whole = await join(broker, 5, "whole")
    await whole.subscribe("size", qos=qos)
    speaker = await join(broker, 5, "speaker")
    # First byte, length, topic, properties; and a packet identifier.
    overhead = 1 + 1 + 2 + 4 + 1 + (2 if qos else 0)
    fits, large = b"x" * (64 - overhead), b"x" * (65 - overhead)
    for payload in (large, fits, large, b"small"):
        await speaker.publish("size", payload, qos)
        await whole.take("size", payload, qos)
    await listener.take("size", fits, qos)
    await listener.take("size", b"small", qos)
    await listener.nothing()


async def test_a_size_counts_for_what_waited_too(broker, join):
    # [MQTT-3.1.2-25]
    listener = await join(broker, 5, "listener", session=True)
    await listener.subscribe("size", qos=1)
    await listener.goodbye()
    speaker = await join(broker, 5, "speaker")
    for payload in (b"small", b"x" * 100, b"small too"):
        await speaker.publish("size", payload, 1)
    listener = await join(broker, 5, "listener", session=True, maximum_packet_size=64)
    await listener.take("size", b"small", 1)
    await listener.take("size", b"small too", 1)
    await listener.nothing()
    await listener.goodbye()
    listener = await join(broker, 5, "listener", session=True)
    await listener.nothing()


async def test_a_size_counts_for_retained_messages(broker, join):
    speaker = await join(broker, 5, "speaker")
    await speaker.publish("size/a", b"x" * 100, 1, retain=True)
    await speaker.publish("size/b", b"small", 1, retain=True)
    listener = await join(broker, 5, "listener", maximum_packet_size=64)
    await listener.subscribe("size/#", qos=1)
    await listener.take("size/b", b"small", 1, retain=True)
    await listener.nothing()


async def test_a_packet_that_the_broker_does_not_take(start_broker, join, version):
    """§3.2.2.3.6, 0x95; below 5.0 the client can't know, and it is the same."""
    broker = await start_broker(limits=Limits(maximum_packet_size=100))
    witness = await join(broker, version, "witness")
    speaker = await join(broker, version, "speaker")
    if version == 5:
        assert speaker.connack.properties.maximum_packet_size == 100
    overhead = 1 + 1 + 2 + 4 + (1 if version == 5 else 0)
    await speaker.publish("size", b"x" * (100 - overhead))
    # The first bytes tell; nobody waits for the rest.
    speaker.send_bytes(b"\x30\x63\x00\x04size")
    await speaker.expect_refusal(0x95)
    await witness.nothing()


# --- topic aliases of the client ------------------------------------------------


async def test_topic_aliases_of_the_client(broker, join):
    """[MQTT-3.3.2-12], §3.3.2.3.4."""
    listener = await join(broker, 5, "listener")
    await listener.subscribe("alias/#", qos=2)
    speaker = await join(broker, 5, "speaker")
    maximum = speaker.connack.properties.topic_alias_maximum
    assert maximum is not None
    assert maximum >= 2
    for topic, alias, arrives in (
        ("alias/a", 1, "alias/a"),
        ("alias/b", maximum, "alias/b"),
        ("", 1, "alias/a"),
        ("", maximum, "alias/b"),
        ("alias/c", 1, "alias/c"),  # from here on it stands for this one
        ("", 1, "alias/c"),
        ("", maximum, "alias/b"),
    ):
        for qos in (0, 1, 2):
            await speaker.publish(topic, b"1", qos, topic_alias=alias)
            await listener.take(arrives, b"1", qos, topic_alias=None)
    await listener.nothing()


async def test_topic_aliases_end_with_the_connection(broker, join):
    # [MQTT-3.3.2-7]
    speaker = await join(broker, 5, "speaker", session=True)
    await speaker.publish("alias", b"1", 1, topic_alias=1)
    await speaker.goodbye()
    speaker = await join(broker, 5, "speaker", session=True)
    speaker.send(speaker.publish_packet("", b"1", 1, topic_alias=1))
    await speaker.expect_refusal(0x82, 0x94)


async def test_topic_aliases_are_the_connections_own(broker, join):
    one = await join(broker, 5, "one")
    await one.publish("alias", b"1", 1, topic_alias=1)
    two = await join(broker, 5, "two")
    two.send(two.publish_packet("", b"1", 1, topic_alias=1))
    await two.expect_refusal(0x82, 0x94)
    await one.publish("", b"1", 1, topic_alias=1)


@pytest.mark.parametrize("alias", [0, 6, 0xFFFF])
async def test_a_topic_alias_that_is_out_of_range(start_broker, join, alias):
    """[MQTT-3.3.2-8], [MQTT-3.3.2-9]: 0x94."""
    broker = await start_broker(limits=Limits(topic_alias_maximum=5))
    speaker = await join(broker, 5, "speaker")
    assert speaker.connack.properties.topic_alias_maximum == 5
    speaker.send_bytes(b"\x30\x07\x00\x01a\x03\x23" + alias.to_bytes(2))
    await speaker.expect_refusal(0x94)


async def test_a_broker_without_topic_aliases(start_broker, join):
    broker = await start_broker(limits=Limits(topic_alias_maximum=0))
    speaker = await join(broker, 5, "speaker", topic_alias_maximum=10)
    assert speaker.connack.properties.topic_alias_maximum in (None, 0)
    await speaker.subscribe("alias")
    await speaker.publish("alias", b"1", 1)
    await speaker.take("alias", b"1", topic_alias=None)
    speaker.send(speaker.publish_packet("alias", b"1", 1, topic_alias=1))
    await speaker.expect_refusal(0x94)


# --- topic aliases of the broker ------------------------------------------------


class Aliases:
    """The broker's topic aliases as a client knows them."""

    def __init__(self, maximum):
        self.maximum = maximum
        self.topics = {}
        self.used = 0

    def topic_of(self, packet):
        alias = packet.properties.topic_alias
        if alias is None:
            assert packet.topic.value, "neither topic nor alias"
            return packet.topic.value
        # [MQTT-3.1.2-26], [MQTT-3.3.2-8]
        assert 0 < alias <= self.maximum
        if packet.topic.value:
            self.topics[alias] = packet.topic.value
        else:
            self.used += 1
        return self.topics[alias]


@pytest.mark.parametrize("maximum", [1, 3, 0xFFFF])
@pytest.mark.parametrize("qos", [0, 1, 2])
async def test_topic_aliases_of_the_broker(broker, join, maximum, qos):
    """[MQTT-3.1.2-26], [MQTT-3.3.2-11]."""
    listener = await join(broker, 5, "listener", topic_alias_maximum=maximum)
    await listener.subscribe("alias/#", qos=qos)
    plain = await join(broker, 5, "plain")
    await plain.subscribe("alias/#", qos=qos)
    speaker = await join(broker, 5, "speaker")
    aliases = Aliases(maximum)
    for number in range(20):
        topic = f"alias/{number % 5 if number % 2 else 0}"
        payload = str(number).encode()
        await speaker.publish(topic, payload, qos, content_type="text/plain")
        packet = await listener.expect(
            PUBLISH, payload=payload, qos=qos, content_type="text/plain"
        )
        assert aliases.topic_of(packet) == topic
        await listener.take_over(packet)
        # [MQTT-3.1.2-27]: none for who did not ask.
        await plain.take(topic, payload, qos, topic_alias=None)
    assert aliases.used > 0


async def test_what_comes_again_has_its_topic(broker, join):
    """[MQTT-3.3.2-7]: the new connection has not heard of the old one's aliases."""
    listener = await join(broker, 5, "listener", session=True, topic_alias_maximum=10)
    await listener.subscribe("alias", qos=2)
    speaker = await join(broker, 5, "speaker")
    for qos in (1, 2, 1):
        await speaker.publish("alias", b"1", qos)
    old = Aliases(10)
    for _ in range(3):
        assert old.topic_of(await listener.expect(PUBLISH)) == "alias"
    listener.vanish()
    await speaker.publish("alias", b"1", 1)
    listener = await join(broker, 5, "listener", session=True, topic_alias_maximum=1)
    new = Aliases(1)
    for _ in range(4):
        packet = await listener.expect(PUBLISH)
        assert new.topic_of(packet) == "alias"
        await listener.take_over(packet)
    await listener.nothing()
    await listener.goodbye()
    listener = await join(broker, 5, "listener", session=True)
    await speaker.publish("alias", b"2", 1)
    await listener.take("alias", b"2", 1, topic_alias=None)


async def test_aliases_do_not_make_a_packet_too_large(broker, join):
    """[MQTT-3.1.2-24], with what the broker adds."""
    listener = await join(
        broker, 5, "listener", topic_alias_maximum=10, maximum_packet_size=64
    )
    listener.refuse_larger_packets(64)
    await listener.subscribe("alias", qos=1, identifier=1)
    speaker = await join(broker, 5, "speaker")
    for size in range(40, 60):
        await speaker.publish("alias", b"x" * size, 1)
    await speaker.publish("alias", b"last", 1)
    aliases = Aliases(10)
    payload = b""
    while payload != b"last":
        packet = await listener.expect(PUBLISH)
        assert aliases.topic_of(packet) == "alias"
        payload = packet.payload
        await listener.take_over(packet)
    await listener.nothing()
