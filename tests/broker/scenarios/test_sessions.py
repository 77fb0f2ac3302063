"""The session of a client that is not connected (MQTT 5.0 §4.1, §4.4)."""

import time

import pytest

from aiomqtt.protocol.packets import Ack
from tests.broker.scenarios.line import (
    DISCONNECT,
    PUBACK,
    PUBCOMP,
    PUBLISH,
    PUBREC,
    PUBREL,
)
from tests.until import until


def is_told(version):
    """Session Present; 3.1 does not know it."""
    return version > 3


async def test_messages_wait_for_a_client_that_is_away(broker, join, version):
    """5.0 [MQTT-3.1.2-5], [MQTT-4.5.0-1]; 3.1.1 [MQTT-3.1.2-5], [MQTT-4.5.0-1]."""
    listener = await join(broker, version, "away", session=True)
    assert listener.connack.session_present is False
    await listener.subscribe("queue/#", qos=2)
    await listener.goodbye()
    speaker = await join(broker, version, "speaker")
    for number in range(10):
        # A broker may keep those of QoS 0; this one does not.
        await speaker.publish(f"queue/{number}", b"waits", number % 3)
    listener = await join(broker, version, "away", session=True)
    assert listener.connack.session_present is is_told(version)
    for number in range(10):
        if number % 3:
            await listener.take(f"queue/{number}", b"waits", number % 3, dup=False)
    await listener.nothing()
    # The subscription is still there.
    await speaker.publish("queue/live", b"now", 1)
    await listener.take("queue/live", b"now", 1)


async def test_messages_wait_for_a_client_that_vanished(broker, join, version):
    listener = await join(broker, version, "vanished", session=True)
    await listener.subscribe("queue", qos=1)
    listener.vanish()
    speaker = await join(broker, version, "speaker")
    await speaker.publish("queue", b"1", 1)
    listener = await join(broker, version, "vanished", session=True)
    packet = await listener.expect(PUBLISH, payload=b"1", qos=1)
    # It may have been sent into the connection that was lost.
    await listener.take_over(packet)
    await listener.nothing()


async def test_no_session_is_kept_that_nobody_asked_for(broker, join, version):
    """5.0 §3.1.2.11.2, 3.1.1 [MQTT-3.1.2-6]."""
    listener = await join(broker, version, "clean")
    await listener.subscribe("queue", qos=1)
    await listener.goodbye()
    speaker = await join(broker, version, "speaker")
    await speaker.publish("queue", b"1", 1)
    listener = await join(broker, version, "clean", session=True)
    assert listener.connack.session_present is False
    await speaker.publish("queue", b"2", 1)
    await listener.nothing()


async def test_a_clean_start_ends_the_session(broker, join, version):
    """5.0 [MQTT-3.1.2-4], [MQTT-3.2.2-2]; 3.1.1 [MQTT-3.1.2-6], [MQTT-3.2.2-1]."""
    listener = await join(broker, version, "again", session=True)
    await listener.subscribe("queue", qos=1)
    await listener.goodbye()
    speaker = await join(broker, version, "speaker")
    await speaker.publish("queue", b"1", 1)
    options = {"session_expiry_interval": 1000} if version == 5 else {}
    listener = await join(broker, version, "again", clean=True, **options)
    assert listener.connack.session_present is False
    await speaker.publish("queue", b"2", 1)
    await listener.nothing()
    await listener.goodbye()
    if version < 5:  # where it also is the end of the new one
        listener = await join(broker, version, "again", session=True)
        assert listener.connack.session_present is False


async def test_what_was_not_acknowledged_comes_again(broker, join, version):
    """5.0 [MQTT-4.4.0-1], [MQTT-3.3.1-1]; 3.1.1 [MQTT-4.4.0-1], [MQTT-3.3.1-1]."""
    listener = await join(broker, version, "redelivery", session=True)
    await listener.subscribe("again/#", qos=2)
    speaker = await join(broker, version, "speaker")
    for qos in (1, 2, 1, 2):
        await speaker.publish(f"again/{qos}", b"1", qos)
    first = [await listener.expect(PUBLISH, dup=False) for _ in range(4)]
    # The second one is half done.
    listener.ack(PUBREC, first[1])
    await listener.expect(PUBREL, packet_id=first[1].mid)
    listener.vanish()

    listener = await join(broker, version, "redelivery", session=True)
    ids = [packet.mid for packet in first]
    await listener.pick(PUBREL, ids[1])
    # The messages in the order of before, with the identifiers of before.
    await listener.expect(PUBLISH, dup=True, packet_id=ids[0], topic="again/1", qos=1)
    await listener.expect(PUBLISH, dup=True, packet_id=ids[2], topic="again/1", qos=1)
    await listener.expect(PUBLISH, dup=True, packet_id=ids[3], topic="again/2", qos=2)
    listener.send(Ack(PUBACK, ids[0]), Ack(PUBCOMP, ids[1]), Ack(PUBACK, ids[2]))
    listener.send(Ack(PUBREC, ids[3]))
    await listener.expect(PUBREL, packet_id=ids[3])
    listener.send(Ack(PUBCOMP, ids[3]))
    await listener.nothing()
    await listener.goodbye()
    # That was all.
    listener = await join(broker, version, "redelivery", session=True)
    await listener.nothing()


async def test_nothing_comes_again_while_the_connection_lasts(broker, join):
    # 5.0 [MQTT-4.4.0-1]
    listener = await join(broker, 5, "patient", session=True)
    await listener.subscribe("again", qos=1)
    speaker = await join(broker, 5, "speaker")
    await speaker.publish("again", b"1", 1)
    await listener.expect(PUBLISH, dup=False)
    await listener.nothing()


async def test_a_publish_of_qos_2_is_completed_after_a_reconnect(broker, join, version):
    """5.0 §4.3.3: the broker remembers the packet identifier, and delivers once."""
    listener = await join(broker, version, "listener")
    await listener.subscribe("once", qos=2)
    speaker = await join(broker, version, "speaker", session=True)
    packet = speaker.publish_packet("once", b"1", 2)
    speaker.send(packet)
    await speaker.expect(PUBREC, packet_id=packet.mid)
    speaker.vanish()
    speaker = await join(broker, version, "speaker", session=True)
    packet.dup = True
    speaker.send(packet)
    await speaker.expect(PUBREC, packet_id=packet.mid)
    speaker.vanish()
    speaker = await join(broker, version, "speaker", session=True)
    speaker.send(Ack(PUBREL, packet.mid))
    await speaker.expect(PUBCOMP, packet_id=packet.mid, reason_code=0)
    await listener.take("once", b"1", 2)
    await listener.nothing()


async def test_a_new_session_knows_no_packet_identifiers(broker, join):
    listener = await join(broker, 5, "listener")
    await listener.subscribe("new", qos=2)
    speaker = await join(broker, 5, "speaker", session=True)
    packet = speaker.publish_packet("new", b"1", 2)
    speaker.send(packet)
    await speaker.expect(PUBREC, packet_id=packet.mid)
    speaker.vanish()
    speaker = await join(broker, 5, "speaker")
    speaker.send(Ack(PUBREL, packet.mid))
    await speaker.expect(PUBCOMP, packet_id=packet.mid, reason_code=0x92)
    speaker.send(packet)
    await speaker.expect(PUBREC, packet_id=packet.mid, reason_code=0)
    # Both are messages: the first was the broker's when it answered.
    await listener.take("new", b"1", 2)
    await listener.take("new", b"1", 2)
    await listener.nothing()


@pytest.mark.parametrize(("before", "after"), [(4, 5), (5, 4), (3, 5), (5, 3), (3, 4)])
async def test_a_session_goes_from_one_version_to_another(broker, join, before, after):
    listener = await join(broker, before, "changing", session=True)
    await listener.subscribe("changing", qos=2)
    speaker = await join(broker, 5, "speaker")
    await speaker.publish("changing", b"seen", 1, content_type="text/plain")
    await listener.expect(PUBLISH, payload=b"seen", dup=False)
    listener.vanish()
    await speaker.publish("changing", b"unseen", 2, content_type="text/plain")
    listener = await join(broker, after, "changing", session=True)
    content_type = "text/plain" if after == 5 else None
    await listener.take("changing", b"seen", 1, dup=True, content_type=content_type)
    await listener.take("changing", b"unseen", 2, content_type=content_type)
    await listener.nothing()


# --- session expiry, which came with 5.0 (§3.1.2.11.2) --------------------------


async def test_a_session_expires(broker, join):
    """5.0 §3.1.2.11.2, [MQTT-4.1.0-2]; and the time starts anew at each end."""
    talker = await join(broker, 5, "short", clean=False, session_expiry_interval=1)
    await talker.subscribe("short", qos=1)
    await talker.goodbye()
    talker = await join(broker, 5, "short", clean=False, session_expiry_interval=1)
    assert talker.connack.session_present is True
    ended = time.monotonic()
    await talker.goodbye()
    await until(lambda: "short" not in broker.sessions)
    assert time.monotonic() - ended >= 0.9
    talker = await join(broker, 5, "short", clean=False)
    assert talker.connack.session_present is False
    await talker.publish("short", b"1", 1)
    await talker.nothing()


async def test_a_session_that_is_in_use_does_not_expire(broker, join):
    talker = await join(broker, 5, "used", clean=False, session_expiry_interval=1)
    other = await join(broker, 5, "other", clean=False, session_expiry_interval=1)
    await talker.goodbye()
    talker = await join(broker, 5, "used", clean=False, session_expiry_interval=1)
    # What ends at the same time as the other one would have.
    await other.goodbye()
    await until(lambda: "other" not in broker.sessions)
    await talker.nothing()
    assert "used" in broker.sessions


@pytest.mark.parametrize("interval", [None, 0])
async def test_a_session_without_an_interval_ends_with_the_connection(
    broker, join, interval
):
    options = {} if interval is None else {"session_expiry_interval": interval}
    talker = await join(broker, 5, "none", clean=False, **options)
    await talker.subscribe("none", qos=1)
    talker.vanish()
    await until(lambda: "none" not in broker.sessions)
    talker = await join(broker, 5, "none", clean=False)
    assert talker.connack.session_present is False


async def test_a_disconnect_ends_the_session(broker, join):
    # §3.14.2.2.2
    talker = await join(broker, 5, "ended", session=True)
    await talker.goodbye(session_expiry_interval=0)
    talker = await join(broker, 5, "ended", session=True)
    assert talker.connack.session_present is False


async def test_a_disconnect_makes_the_session_last(broker, join):
    talker = await join(broker, 5, "longer", clean=False, session_expiry_interval=1)
    await talker.goodbye(session_expiry_interval=100)
    other = await join(broker, 5, "other", clean=False, session_expiry_interval=1)
    await other.goodbye()
    await until(lambda: "other" not in broker.sessions)
    talker = await join(broker, 5, "longer", clean=False)
    assert talker.connack.session_present is True


async def test_a_disconnect_can_not_make_a_session_of_none(broker, join):
    """§3.14.2.2.2: a session that was to end with the connection ends with it."""
    for interval in (None, 0):
        options = {} if interval is None else {"session_expiry_interval": interval}
        talker = await join(broker, 5, "none", **options)
        packet = talker.disconnect_packet(session_expiry_interval=10)
        talker.send(packet)
        await talker.expect(DISCONNECT, reason_code=0x82)
        await talker.expect_end()
        talker = await join(broker, 5, "none", clean=False)
        assert talker.connack.session_present is False
        await talker.goodbye()


# --- two connections with one identifier ----------------------------------------


async def test_a_second_connection_takes_over(broker, join, version):
    """5.0 [MQTT-3.1.4-3], 3.1.1 [MQTT-3.1.4-2]."""
    first = await join(broker, version, "same", session=True)
    await first.subscribe("over", qos=2)
    speaker = await join(broker, version, "speaker")
    await speaker.publish("over", b"1", 1)
    await first.expect(PUBLISH, payload=b"1", dup=False)
    second = await join(broker, version, "same", session=True)
    await first.expect_refusal(0x8E)
    assert second.connack.session_present is is_told(version)
    await second.take("over", b"1", 1, dup=True)
    await speaker.publish("over", b"2", 2)
    await second.take("over", b"2", 2, dup=False)
    await second.nothing()


async def test_taking_over_with_a_clean_start(broker, join, version):
    first = await join(broker, version, "same", session=True)
    await first.subscribe("over", qos=1)
    second = await join(broker, version, "same")
    await first.expect_refusal(0x8E)
    assert second.connack.session_present is False
    speaker = await join(broker, version, "speaker")
    await speaker.publish("over", b"1", 1)
    await second.nothing()
