"""The message that a broker publishes when a client is gone (MQTT 5.0 §3.1.2.5)."""

import asyncio
import time

import pytest

from aiomqtt.properties import Properties
from aiomqtt.protocol.packets import WillMessage
from tests.broker.scenarios.line import BUSY, DISCONNECT


def will_of(version, qos=0, retain=False, topic="will", **properties):
    values = Properties(**properties) if version == 5 else None
    return WillMessage(topic, b"gone", qos, retain, values)


@pytest.fixture
async def listener(broker, join, version):
    """A client that hears the wills."""
    listener = await join(broker, version, "listener")
    await listener.subscribe("will", qos=2)
    return listener


@pytest.fixture
async def listener5(broker, join):
    """The same, for what only 5.0 has."""
    listener = await join(broker, 5, "listener")
    await listener.subscribe("will", qos=2)
    return listener


@pytest.mark.parametrize("qos", [0, 1, 2])
async def test_it_comes_when_the_client_vanishes(broker, join, listener, version, qos):
    """5.0 [MQTT-3.1.2-8], [MQTT-3.1.2-14]; 3.1.1 [MQTT-3.1.2-8], [MQTT-3.1.2-16]."""
    talker = await join(broker, version, "talker", will=will_of(version, qos))
    talker.vanish()
    await listener.take("will", b"gone", qos, retain=False)
    await listener.nothing()
    late = await join(broker, version, "late")
    await late.subscribe("will")
    await late.nothing()


async def test_it_is_retained(broker, join, listener, version):
    """5.0 [MQTT-3.1.2-15], 3.1.1 [MQTT-3.1.2-17]."""
    will = will_of(version, 1, retain=True)
    talker = await join(broker, version, "talker", will=will)
    talker.vanish()
    await listener.take("will", b"gone", 1, retain=False)
    late = await join(broker, version, "late")
    await late.subscribe("will")
    await late.take("will", b"gone", 0, retain=True)


async def test_it_comes_when_the_client_closes_without_a_word(
    broker, join, listener, version
):
    talker = await join(broker, version, "talker", will=will_of(version))
    await talker.close()
    await listener.take("will", b"gone")


async def test_it_does_not_come_after_a_disconnect(broker, join, listener, version):
    """5.0 [MQTT-3.14.4-3], 3.1.1 [MQTT-3.1.2-10]."""
    talker = await join(broker, version, "talker", will=will_of(version))
    await talker.goodbye()
    await listener.nothing()
    # Nor with the next connection, which has none.
    talker = await join(broker, version, "talker")
    talker.vanish()
    await listener.nothing()


async def test_it_comes_when_the_client_breaks_a_rule(broker, join, listener, version):
    talker = await join(broker, version, "talker", will=will_of(version))
    talker.send_bytes(b"\xf0\x00" if version < 5 else b"\x00\x00")
    await talker.expect_refusal(0x81, 0x82)
    await listener.take("will", b"gone")


async def test_it_comes_when_another_connection_takes_over(
    broker, join, listener, version
):
    # 5.0 §3.1.4: the will of the existing connection has no delay.
    talker = await join(broker, version, "talker", will=will_of(version))
    await join(broker, version, "talker")
    await talker.expect_refusal(0x8E)
    await listener.take("will", b"gone")
    await listener.nothing()


async def test_it_belongs_to_the_connection(broker, join, listener, version):
    """A session that is taken up has the will of the new CONNECT, or none."""
    talker = await join(broker, version, "talker", session=True, will=will_of(version))
    await talker.goodbye()
    talker = await join(broker, version, "talker", session=True)
    talker.vanish()
    await talker.close()
    other = await join(broker, version, "other", will=will_of(version))
    other.vanish()
    await listener.take("will", b"gone")
    await listener.nothing()


async def test_the_session_of_the_client_hears_it(broker, join, version):
    talker = await join(
        broker, version, "talker", session=True, will=will_of(version, 1)
    )
    await talker.subscribe("will", qos=1)
    talker.vanish()
    talker = await join(broker, version, "talker", session=True)
    await talker.take("will", b"gone", 1)


# --- since 5.0 ------------------------------------------------------------------


async def test_a_disconnect_with_will(broker, join, listener5):
    # §3.14.2.1
    talker = await join(broker, 5, "talker", will=will_of(5))
    await talker.goodbye(0x04)
    await listener5.take("will", b"gone")


async def test_its_properties_are_those_of_the_message(broker, join, listener5):
    # §3.1.3.2
    values = {
        "content_type": "text/plain",
        "response_topic": "answers",
        "correlation_data": b"7",
        "payload_format_indicator": 1,
        "user_property": [("b", "1"), ("a", "2"), ("b", "3")],
    }
    will = will_of(5, will_delay_interval=0, message_expiry_interval=90, **values)
    talker = await join(broker, 5, "talker", will=will)
    talker.vanish()
    packet = await listener5.take("will", b"gone", **values)
    assert 85 <= packet.properties.message_expiry_interval <= 90


async def test_it_is_delayed(broker, join, listener5):
    # §3.1.3.2.2
    will = will_of(5, 1, will_delay_interval=1)
    talker = await join(broker, 5, "talker", session=True, will=will)
    began = time.monotonic()
    talker.vanish()
    await listener5.take("will", b"gone", 1)
    assert 0.9 <= time.monotonic() - began < 1 + BUSY
    await listener5.nothing()
    # It does not come a second time, with the connection or without.
    talker = await join(broker, 5, "talker", session=True)
    talker.vanish()
    await listener5.nothing()


async def test_who_is_back_in_time_leaves_no_will(broker, join, listener5):
    # [MQTT-3.1.3-9]; two seconds, as on a busy machine one is no time to be back in.
    will = will_of(5, 1, will_delay_interval=2)
    talker = await join(broker, 5, "back", session=True, will=will)
    talker.vanish()
    await talker.close()
    talker = await join(broker, 5, "back", session=True)
    # By then it would have been due: another one, a little later, is.
    will = will_of(5, 1, topic="will", will_delay_interval=2, content_type="other")
    other = await join(broker, 5, "other", session=True, will=will)
    other.vanish()
    await listener5.take("will", b"gone", 1, content_type="other")
    await listener5.nothing()


async def test_taking_over_is_being_back_in_time(broker, join, listener5):
    # [MQTT-3.1.3-9]
    will = will_of(5, 1, will_delay_interval=1)
    first = await join(broker, 5, "same", session=True, will=will)
    await join(broker, 5, "same", session=True)
    await first.expect_refusal(0x8E)
    await asyncio.sleep(1.1)
    await listener5.nothing()


@pytest.mark.parametrize("interval", [None, 0])
async def test_it_comes_at_once_with_the_end_of_the_session(
    broker, join, listener5, interval
):
    # §3.1.3.2.2: after the delay or the session, whichever ends first.
    will = will_of(5, 1, will_delay_interval=100)
    options = {} if interval is None else {"session_expiry_interval": interval}
    talker = await join(broker, 5, "talker", will=will, **options)
    talker.vanish()
    await listener5.take("will", b"gone", 1)


async def test_it_comes_when_the_session_expires(broker, join, listener5):
    will = will_of(5, 1, will_delay_interval=100)
    talker = await join(
        broker, 5, "talker", clean=False, session_expiry_interval=1, will=will
    )
    began = time.monotonic()
    talker.vanish()
    await listener5.take("will", b"gone", 1)
    assert 0.9 <= time.monotonic() - began < 1 + BUSY
    await listener5.nothing()


async def test_it_comes_when_a_clean_start_ends_the_session(broker, join, listener5):
    will = will_of(5, 1, will_delay_interval=100)
    talker = await join(broker, 5, "talker", session=True, will=will)
    talker.vanish()
    await talker.close()
    await join(broker, 5, "talker")
    await listener5.take("will", b"gone", 1)
    await listener5.nothing()


async def test_a_disconnect_with_will_is_delayed_too(broker, join, listener5):
    will = will_of(5, 1, will_delay_interval=1)
    talker = await join(broker, 5, "talker", session=True, will=will)
    began = time.monotonic()
    await talker.goodbye(0x04)
    await listener5.take("will", b"gone", 1)
    assert time.monotonic() - began >= 0.9


async def test_it_comes_when_the_disconnect_is_refused(broker, join, listener5):
    talker = await join(broker, 5, "talker", will=will_of(5, 1))
    talker.send(talker.disconnect_packet(session_expiry_interval=10))
    await talker.expect(DISCONNECT, reason_code=0x82)
    await listener5.take("will", b"gone", 1)
