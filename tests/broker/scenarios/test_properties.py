"""The properties of messages and answers in MQTT 5.0 (§3.3.2.3)."""

import asyncio

import pytest

from aiomqtt.broker import Limits
from tests.broker.scenarios.line import DISCONNECT, PUBACK, PUBLISH


@pytest.fixture
async def speaker(broker, join):
    return await join(broker, 5, "speaker")


@pytest.fixture
async def listener(broker, join):
    listener = await join(broker, 5, "listener")
    await listener.subscribe("to/#", qos=2)
    return listener


@pytest.mark.parametrize(
    "values",
    [
        {"payload_format_indicator": 0},  # [MQTT-3.3.2-4]
        {"payload_format_indicator": 1},
        {"content_type": "text/ü"},  # [MQTT-3.3.2-20]
        {"response_topic": "answers/to/me"},  # [MQTT-3.3.2-15]
        {"correlation_data": b""},  # [MQTT-3.3.2-16]
        {"correlation_data": bytes(range(256)) * 255},
        {"user_property": [("", "")]},  # [MQTT-3.3.2-17]
        {"user_property": [("b", "1"), ("a", "2"), ("b", "1"), ("b", "0")]},  # -18
        {"message_expiry_interval": 0xFFFF_FFFF},
        {},
    ],
    ids=lambda values: ", ".join(values) or "none",
)
@pytest.mark.parametrize("qos", [0, 1, 2])
async def test_properties_arrive_as_they_were(speaker, listener, values, qos):
    await speaker.publish("to/a", b"1", qos, **values)
    packet = await listener.take("to/a", b"1", qos)
    assert packet.properties.present == values


async def test_all_properties_at_once(speaker, listener):
    values = {
        "payload_format_indicator": 1,
        "message_expiry_interval": 1_000_000,
        "content_type": "application/json",
        "response_topic": "answers",
        "correlation_data": b"\x00\x01",
        "user_property": [("k", "v"), ("k", "w")],
    }
    await speaker.publish("to/a", b"{}", 1, topic_alias=3, **values)
    packet = await listener.take("to/a", b"{}", 1)
    # The alias was the speaker's own.
    assert packet.properties.present == values


async def test_a_request_and_its_response(broker, join):
    """§4.10: the topics and the data that belong together come from the requester."""
    requester = await join(broker, 5, "requester")
    responder = await join(broker, 5, "responder")
    await responder.subscribe("requests", qos=1)
    await requester.subscribe("responses/1", qos=1)
    await requester.publish(
        "requests",
        b"what is it?",
        1,
        response_topic="responses/1",
        correlation_data=b"334",
    )
    request = await responder.take("requests", b"what is it?", 1)
    await responder.publish(
        request.properties.response_topic,
        b"this",
        1,
        correlation_data=request.properties.correlation_data,
    )
    await requester.take("responses/1", b"this", 1, correlation_data=b"334")


@pytest.mark.parametrize("qos", [1, 2])
async def test_a_publisher_is_told_that_nobody_listens(speaker, listener, qos):
    # §3.4.2.1, §3.5.2.1
    assert await speaker.publish("to/nobody/else", b"1", qos) == 0
    assert await speaker.publish("else", b"1", qos) == 0x10


# --- message expiry (§3.3.2.3.3) ------------------------------------------------


async def test_an_expired_message_is_not_delivered(broker, join, speaker):
    """[MQTT-3.3.2-5], [MQTT-3.3.2-6]."""
    listener = await join(broker, 5, "away", session=True)
    await listener.subscribe("expiry/#", qos=2)
    await listener.goodbye()
    for qos in (1, 2):
        await speaker.publish(f"expiry/{qos}", b"short", qos, message_expiry_interval=1)
        await speaker.publish(f"expiry/{qos}", b"long", qos, message_expiry_interval=90)
        await speaker.publish(f"expiry/{qos}", b"forever", qos)
    await asyncio.sleep(1.1)
    listener = await join(broker, 5, "away", session=True)
    for qos in (1, 2):
        packet = await listener.take(f"expiry/{qos}", b"long", qos)
        assert 80 <= packet.properties.message_expiry_interval <= 89
        await listener.take(
            f"expiry/{qos}", b"forever", qos, message_expiry_interval=None
        )
    await listener.nothing()


async def test_a_message_expires_while_the_client_is_slow(broker, join, speaker):
    """One that was not sent for want of quota."""
    listener = await join(broker, 5, "slow", receive_maximum=1)
    await listener.subscribe("expiry", qos=1)
    for payload in (b"1", b"2", b"3"):
        interval = {"message_expiry_interval": 1} if payload == b"2" else {}
        await speaker.publish("expiry", payload, 1, **interval)
    packet = await listener.expect(PUBLISH, payload=b"1")
    await asyncio.sleep(1.1)
    await listener.take_over(packet)
    await listener.take("expiry", b"3", 1)
    await listener.nothing()


async def test_a_message_that_was_sent_does_not_expire(broker, join, speaker):
    """Its delivery has begun ([MQTT-4.4.0-1]), so that it is completed."""
    listener = await join(broker, 5, "begun", session=True)
    await listener.subscribe("expiry", qos=2)
    await speaker.publish("expiry", b"1", 2, message_expiry_interval=1)
    packet = await listener.expect(PUBLISH, payload=b"1", qos=2)
    await asyncio.sleep(1.1)
    await listener.take_over(packet)
    await listener.nothing()


async def test_expiry_counts_for_subscribers_that_can_not_be_told(
    broker, join, speaker
):
    listener = await join(broker, 4, "older", session=True)
    await listener.subscribe("expiry", qos=1)
    await listener.goodbye()
    await speaker.publish("expiry", b"short", 1, message_expiry_interval=1)
    await speaker.publish("expiry", b"long", 1, message_expiry_interval=90)
    await asyncio.sleep(1.1)
    listener = await join(broker, 4, "older", session=True)
    await listener.take("expiry", b"long", 1)
    await listener.nothing()


# --- CONNACK and DISCONNECT -----------------------------------------------------


async def test_problem_information_may_be_unwanted(broker, join):
    """[MQTT-3.1.2-29]: no reason strings but in CONNACK, PUBLISH and DISCONNECT."""
    talker = await join(broker, 5, "talker", request_problem_information=0)
    talker.send(talker.publish_packet("$SYS/forbidden", b"1", 1))
    await talker.expect(PUBACK, reason_string=None, user_property=())
    talker.send(talker.publish_packet("", b"1", topic_alias=1))
    await talker.expect(DISCONNECT, reason_code=0x82)


async def test_response_information_is_for_who_asks(broker, join):
    # [MQTT-3.1.2-28]
    talker = await join(broker, 5, "talker", request_response_information=0)
    assert talker.connack.properties.response_information is None


async def test_the_session_may_be_shorter_than_asked_for(start_broker, join):
    # §3.2.2.3.2
    broker = await start_broker(limits=Limits(maximum_session_expiry=1))
    talker = await join(broker, 5, "talker", session=True)
    assert talker.connack.properties.session_expiry_interval == 1
    await talker.goodbye()
    assert "talker" in broker.sessions
    modest = await join(broker, 5, "modest", clean=False, session_expiry_interval=0)
    assert modest.connack.properties.session_expiry_interval in (None, 0)
