"""The features that only MQTT 5.0 has, with a real broker.

Properties are ours or paho-mqtt's, as programs written for aiomqtt 2.5 pass them.
"""

import asyncio
import re
from typing import Any

import pytest
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties as PahoProperties
from paho.mqtt.subscribeoptions import SubscribeOptions as PahoSubscribeOptions

import aiomqtt
from aiomqtt.testing import FaultProxy
from tests.integration.programs import (
    client_of,
    nothing_more,
    payloads,
    take,
    unique,
    until_logged,
)


class Ours:
    """Makes properties and options the way this library does."""

    @staticmethod
    def properties(packet: str, **values: Any) -> aiomqtt.Properties:
        return aiomqtt.Properties(**values)

    options = aiomqtt.SubscribeOptions


class Pahos:
    """Makes them the way a program does that was written for aiomqtt 2.5."""

    @staticmethod
    def properties(packet: str, **values: Any) -> PahoProperties:
        kind = getattr(PacketTypes, packet)
        properties = PahoProperties(kind)
        for name, value in values.items():
            camel = "".join(part.capitalize() for part in name.split("_"))
            setattr(properties, camel, value)
        return properties

    @staticmethod
    def options(**values: Any) -> PahoSubscribeOptions:
        return PahoSubscribeOptions(
            qos=values.get("qos", 0),
            noLocal=values.get("no_local", False),
            retainAsPublished=values.get("retain_as_published", False),
            retainHandling=values.get("retain_handling", 0),
        )


@pytest.fixture(params=[Ours, Pahos], ids=["ours", "paho"])
def make(request: pytest.FixtureRequest) -> Any:
    return request.param


async def next_properties(client: aiomqtt.Client) -> aiomqtt.Properties:
    """The properties of the next message."""
    (message,) = await take(client, 1)
    assert message.properties is not None
    return message.properties


# --- properties ---------------------------------------------------------------------


async def test_the_properties_of_a_message_arrive(broker, make):
    topic = unique("properties")
    pairs = [("a", "1"), ("b", "2"), ("a", "3"), ("", "ü")]
    async with client_of(broker, 5) as client:
        await client.subscribe(topic, 1)
        properties = make.properties(
            "PUBLISH",
            payload_format_indicator=1,
            content_type="text/plain",
            response_topic="answers/here",
            correlation_data=b"\x00\xff",
            message_expiry_interval=600,
            user_property=pairs,
        )
        await client.publish(topic, "text", 1, properties=properties)
        found = await next_properties(client)
    assert found.user_property == pairs
    assert found.content_type == "text/plain"
    assert found.payload_format_indicator == 1
    assert found.response_topic == "answers/here"
    assert found.correlation_data == b"\x00\xff"
    assert 590 <= found.MessageExpiryInterval <= 600
    # The names that programs for aiomqtt 2.5 read.
    assert found.UserProperty == pairs
    assert found.ResponseTopic == "answers/here"
    assert found.CorrelationData == b"\x00\xff"
    assert found.ContentType == "text/plain"


async def test_a_message_without_properties_has_empty_ones(broker):
    topic = unique("no-properties")
    async with client_of(broker, 5) as client:
        await client.subscribe(topic)
        await client.publish(topic, "text")
        (message,) = await take(client, 1)
    assert message.properties == aiomqtt.Properties()
    assert not hasattr(message.properties, "ResponseTopic")


async def test_requests_and_responses(broker, make):
    """A hundred requests at once, each gets the answer to its own."""
    service, answers = unique("service"), unique("answers")

    async def serve(server: aiomqtt.Client) -> None:
        async for request in server.messages:
            asked = request.properties
            assert asked is not None
            await server.publish(
                asked.ResponseTopic,
                request.payload * 2,
                properties=make.properties(
                    "PUBLISH", correlation_data=asked.CorrelationData
                ),
            )

    async with client_of(broker, 5) as server, client_of(broker, 5) as client:
        await server.subscribe(service, 1)
        await client.subscribe(answers, 1)
        serving = asyncio.create_task(serve(server))
        for number in range(100):
            properties = make.properties(
                "PUBLISH",
                response_topic=answers,
                correlation_data=number.to_bytes(2),
            )
            await client.publish(service, f"{number},", 1, properties=properties)
        received = {}
        for message in await take(client, 100):
            assert message.properties is not None
            number = int.from_bytes(message.properties.CorrelationData)
            received[number] = message.payload
        serving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await serving
    assert received == {number: f"{number},{number},".encode() for number in range(100)}


async def test_the_properties_of_the_will_arrive(broker, make):
    topic = unique("will")
    properties = make.properties(
        "WILLMESSAGE", content_type="text/plain", user_property=[("why", "gone")]
    )
    will = aiomqtt.Will(topic, "vanished", 1, properties=properties)
    async with (
        client_of(broker, 5) as listener,
        FaultProxy(broker.host, broker.port) as network,
    ):
        await listener.subscribe(topic, 1)
        async with client_of(broker, 5, will=will, port=network.port):
            network.reset()
            found = await next_properties(listener)
    assert found.content_type == "text/plain"
    assert found.user_property == [("why", "gone")]


@pytest.mark.conformance("5.0", "MQTT-3.14.2-1")
@pytest.mark.parametrize(("code", "is_published"), [(0x04, True), (0x00, False)])
async def test_leaving_says_whether_the_will_is_published(broker, code, is_published):
    topic, name = unique("will"), unique("leaving")
    will = aiomqtt.Will(topic, "left", 1)
    async with client_of(broker, 5) as listener:
        await listener.subscribe(topic, 1)
        async with client_of(broker, 5, will=will, identifier=name) as client:
            await client.disconnect(code)
        if is_published:
            assert await payloads(listener, 1) == [b"left"]
        else:
            await until_logged(broker, f"Client {name} disconnected")
            await nothing_more(listener)


async def test_a_message_expires_in_the_queue(broker):
    name, topic = unique("late"), unique("expires")
    client = client_of(broker, 5, persistent=True, identifier=name)
    async with client:
        await client.subscribe(topic, 1)
    async with client_of(broker, 5) as publisher:
        for make in (Ours, Pahos):
            for payload, seconds in (("soon", 1), ("late", 600)):
                properties = make.properties("PUBLISH", message_expiry_interval=seconds)
                await publisher.publish(topic, payload, 1, properties=properties)
    await asyncio.sleep(2.5)  # the broker's clock, in whole seconds
    async with client:
        for message in await take(client, 2):
            assert message.payload == b"late"
            assert message.properties is not None
            assert 0 < message.properties.MessageExpiryInterval < 600
        await nothing_more(client)


async def test_subscription_identifiers_tell_which_filter_matched(broker, make):
    base = unique("identifiers")
    async with client_of(broker, 5) as client:
        for number, topic in ((7, f"{base}/+"), (268_435_455, f"{base}/b")):
            properties = make.properties("SUBSCRIBE", subscription_identifier=number)
            await client.subscribe(topic, 1, properties=properties)
        await client.publish(f"{base}/a", b"a", 1)
        assert (await next_properties(client)).subscription_identifier == [7]
        await client.publish(f"{base}/b", b"b", 1)
        # mosquitto sends a copy for each filter that matches, others one for all.
        found: list[int] = []
        while len(found) < 2:
            found += (await next_properties(client)).SubscriptionIdentifier
        assert sorted(found) == [7, 268_435_455]


@pytest.mark.parametrize("qos", [0, 1, 2])
async def test_topic_aliases_to_the_broker(broker, make, qos):
    topic, other = unique("aliased"), unique("aliased")
    name = unique("aliasing")
    async with client_of(broker, 5, identifier=name) as client:
        await client.subscribe([(topic, 2), (other, 2)])
        alias = make.properties("PUBLISH", topic_alias=1)
        await client.publish(topic, b"sets it", qos, properties=alias)
        await client.publish("", b"uses it", qos, properties=alias)
        await client.publish(other, b"sets it anew", qos, properties=alias)
        await client.publish("", b"uses that", qos, properties=alias)
        received = [(str(m.topic), m.payload) for m in await take(client, 4)]
        assert received == [
            (topic, b"sets it"),
            (topic, b"uses it"),
            (other, b"sets it anew"),
            (other, b"uses that"),
        ]
        # mosquitto's Topic Alias Maximum is 10.
        too_high = make.properties("PUBLISH", topic_alias=11)
        with pytest.raises(ValueError, match="topic_alias"):
            await client.publish(topic, b"refused", qos, properties=too_high)
        assert client.is_connected()
        await nothing_more(client)


async def test_a_topic_alias_does_not_outlive_the_connection(broker, make):
    topic = unique("aliased")
    alias = make.properties("PUBLISH", topic_alias=1)
    client = client_of(broker, 5)
    async with client:
        await client.publish(topic, b"sets it", properties=alias)
    async with client:
        await client.subscribe(topic)
        with pytest.raises(ValueError, match="topic_alias"):
            await client.publish("", b"uses it", properties=alias)
        await client.publish(topic, b"sets it again", properties=alias)
        assert await payloads(client, 1) == [b"sets it again"]


# --- subscribe options ----------------------------------------------------------------


async def test_no_local(broker, make):
    topic = unique("no-local")
    async with client_of(broker, 5) as client, client_of(broker, 5) as other:
        await client.subscribe(topic, options=make.options(qos=1, no_local=True))
        await client.publish(topic, b"my own", 1)
        await other.publish(topic, b"another's", 1)
        assert await payloads(client, 1) == [b"another's"]
        await nothing_more(client)


async def test_retain_as_published_and_retain_handling(broker, make):
    topic = unique("retain")
    options = make.options(qos=1, retain_as_published=True, retain_handling=1)
    never = make.options(retain_handling=2)
    async with client_of(broker, 5) as client:
        await client.publish(topic, b"before", 1, retain=True)
        await client.subscribe((topic, options))
        (message,) = await take(client, 1)
        assert (message.payload, message.retain) == (b"before", True)
        await client.subscribe([(topic, options)])  # not new: nothing retained
        await client.publish(topic, b"live", 1, retain=True)
        (message,) = await take(client, 1)
        assert (message.payload, message.retain) == (b"live", True)
        await client.unsubscribe(topic)
        await client.subscribe([(topic, never)])
        await nothing_more(client)


# --- sessions -----------------------------------------------------------------------


async def test_a_session_lasts_as_long_as_its_expiry_says(broker, make):
    topic, name = unique("expiry"), unique("lasting")
    expiry = make.properties("CONNECT", session_expiry_interval=600)
    client = client_of(broker, 5, identifier=name, properties=expiry)
    async with client:
        await client.subscribe(topic, 2)
    async with client_of(broker, 5) as publisher:
        for number in range(6):
            await publisher.publish(topic, number, number % 3)
    async with client:  # not a clean start: that is only for the first connection
        assert await payloads(client, 4) == [b"1", b"2", b"4", b"5"]
        await nothing_more(client)


async def test_a_session_without_an_expiry_ends_with_its_connection(broker):
    topic, name = unique("expiry"), unique("fleeting")
    client = client_of(broker, 5, identifier=name, clean_start=False)
    async with client:
        await client.subscribe(topic, 2)
    async with client_of(broker, 5) as publisher:
        await publisher.publish(topic, b"missed", 2)
    async with client:
        await nothing_more(client)


async def test_a_session_ends_when_its_expiry_has_passed(broker, make):
    topic, name = unique("expiry"), unique("expiring")
    expiry = make.properties("CONNECT", session_expiry_interval=1)
    client = client_of(broker, 5, identifier=name, clean_start=False, properties=expiry)
    async with client:
        await client.subscribe(topic, 2)
    await until_logged(broker, f"Expiring client {name}")
    async with client:
        await client.publish(topic, b"no longer subscribed", 2)
        await nothing_more(client)


async def test_a_clean_start_ends_the_session(broker, make):
    topic, name = unique("clean-start"), unique("starts")
    expiry = make.properties("CONNECT", session_expiry_interval=600)
    first = client_of(broker, 5, identifier=name, properties=expiry)
    async with first:
        await first.subscribe(topic, 2)
    again = client_of(broker, 5, identifier=name, properties=expiry, clean_start=True)
    async with again:
        await again.publish(topic, b"no longer subscribed", 2)
        await nothing_more(again)


async def test_a_session_of_an_earlier_process(broker, make):
    topic, name = unique("process"), unique("next-process")
    expiry = make.properties("CONNECT", session_expiry_interval=600)
    options = {"identifier": name, "properties": expiry, "clean_start": False}
    async with client_of(broker, 5, **options) as first:
        await first.subscribe(topic, 2)
    async with client_of(broker, 5) as publisher:
        await publisher.publish(topic, b"meanwhile", 2)
    async with client_of(broker, 5, **options) as second:
        assert await payloads(second, 1) == [b"meanwhile"]


async def test_the_broker_assigns_an_identifier(broker):
    client = client_of(broker, 5)
    assert client.identifier == ""
    async with client:
        assigned = client.identifier
        assert re.fullmatch(r"auto-[-0-9A-F]+", assigned)
        assert f"as {assigned} " in broker.log
    async with client:  # and it stays that
        assert client.identifier == assigned


# --- reason codes -------------------------------------------------------------------


@pytest.mark.parametrize("qos", [1, 2])
async def test_a_publish_that_is_not_authorized(start_broker, qos):
    broker = await start_broker(rules={"open/#": "readwrite", "closed/#": "read"})
    client = client_of(broker, 5)
    async with client:
        with pytest.raises(aiomqtt.MqttCodeError) as caught:
            await client.publish("closed/topic", b"refused", qos)
        assert caught.value.rc == 0x87
        assert str(caught.value.rc) == "Not authorized"
        assert "[code:135]" in str(caught.value)
        # mosquitto 2.0.11 closes the connection now; later ones don't.
    async with client:
        await client.subscribe([("open/#", qos), ("closed/#", qos)])
        await client.publish("open/topic", b"accepted", qos)
        assert await payloads(client, 1) == [b"accepted"]


@pytest.mark.parametrize("version", [3, 4], ids=["3.1", "3.1.1"])
async def test_below_5_a_refused_publish_is_acknowledged(start_broker, version):
    broker = await start_broker(rules={"closed/#": "read"})
    async with client_of(broker, version) as client:
        await client.publish("closed/topic", b"dropped", 1)
    assert "Denied PUBLISH" in broker.log


async def test_no_matching_subscribers_is_no_failure(broker):
    async with client_of(broker, 5) as client:
        for qos in (1, 2):  # reason code 0x10
            await client.publish(unique("nobody/listens"), b"", qos)


async def test_subscribe_returns_reason_codes(broker):
    async with client_of(broker, 5) as client:
        codes = await client.subscribe([(unique("code"), qos) for qos in (0, 1, 2)])
        assert isinstance(codes, list)
        assert codes == [0, 1, 2]
        assert [code.value for code in codes] == [0, 1, 2]
        assert [code.is_failure for code in codes] == [False] * 3
        assert [str(code) for code in codes] == [
            "Granted QoS 0",
            "Granted QoS 1",
            "Granted QoS 2",
        ]


async def test_the_brokers_maximum_packet_size_is_kept(start_broker):
    broker = await start_broker(limits={"max_packet_size": 1000})
    topic = unique("large")
    async with client_of(broker, 5) as client:
        await client.subscribe(topic)
        for qos in (0, 1, 2):
            with pytest.raises(ValueError, match="Packet too large") as caught:
                await client.publish(topic, bytes(1000), qos)
            assert isinstance(caught.value, aiomqtt.MqttLimitError)
            assert caught.value.rc == 0x95
        assert client.is_connected()
        await client.publish(topic, bytes(900), 2)
        assert await payloads(client, 1) == [bytes(900)]


async def test_our_maximum_packet_size_is_announced(broker, make):
    topic = unique("large")
    limits = make.properties("CONNECT", maximum_packet_size=200)
    async with client_of(broker, 5, properties=limits) as client:
        await client.subscribe(topic, 1)
        async with client_of(broker, 5) as publisher:
            await publisher.publish(topic, bytes(300), 1)
            await publisher.publish(topic, bytes(100), 1)
        assert await payloads(client, 1) == [bytes(100)]


async def test_the_brokers_receive_maximum_is_kept(start_broker):
    broker = await start_broker(limits={"max_inflight_messages": 3})
    topic = unique("window")
    start = len(broker.log)
    async with client_of(broker, 5, identifier="three") as client:
        client.pending_calls_threshold = 2000
        async with asyncio.TaskGroup() as tasks:
            for number in range(1000):
                tasks.create_task(client.publish(topic, number, 2))
    in_flight = most = 0
    for line in broker.log[start:].splitlines():
        if "Received PUBLISH from three" in line:
            in_flight += 1
            most = max(most, in_flight)
        elif "Sending PUBCOMP to three" in line:
            in_flight -= 1
    assert (most, in_flight) == (3, 0)


async def test_a_method_that_the_broker_does_not_know(broker):
    """No broker here has enhanced authentication: each refuses it as it should."""
    client = client_of(broker, 5, authenticator=aiomqtt.ScramSha256("user", "pencil"))
    with pytest.raises(aiomqtt.MqttConnectError) as raised:
        await client.__aenter__()
    assert raised.value.rc == 0x8C  # §4.12 [MQTT-4.12.0-1]


# --- requests and responses ----------------------------------------------------


async def test_a_hundred_concurrent_requests_are_answered(broker):
    service = unique("service")

    async def answer(message: aiomqtt.Message) -> bytes:
        await asyncio.sleep(0)
        return b"re: " + message.payload

    async with (
        client_of(broker, 5) as server,
        client_of(broker, 5) as client,
        server.serve(f"{service}/+", answer, concurrency=20) as serving,
    ):
        replies = await asyncio.gather(
            *(client.request(f"{service}/{n % 9}", str(n), n % 3) for n in range(100))
        )
        for number, reply in enumerate(replies):
            assert reply.payload == f"re: {number}".encode()
        assert serving.failed == 0
        assert client.statistics.replies_ignored == 0
        assert len(client.messages) == 0


async def test_a_session_that_lasts_gathers_no_replies(broker):
    service = unique("service")
    keep = aiomqtt.Properties(session_expiry_interval=60)
    client = client_of(broker, 5, identifier=unique("client"), properties=keep)
    async with client_of(broker, 5) as server:
        await server.subscribe(service, 1)
        async with client:
            with pytest.raises(aiomqtt.MqttError):
                await client.request(service, b"?", timeout=0.1)
        await server.respond(await anext(server.messages), b"late")
        async with client:
            assert client.session_present
            await client.publish("end", b"", 1)
            assert client.statistics.subscriptions <= 1
            assert len(client.messages) == 0
            assert client.statistics.replies_ignored == 0
            request = asyncio.get_running_loop().create_task(client.request(service))
            await server.respond(await anext(server.messages), b"in time")
            assert (await request).payload == b"in time"
