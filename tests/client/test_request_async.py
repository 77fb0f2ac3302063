"""Requests and responses (MQTT 5.0 §4.10)."""

import asyncio
import contextlib
import logging
import math

import pytest

from aiomqtt import (
    Broker,
    Client,
    Message,
    MqttCodeError,
    MqttError,
    Properties,
    SubscribeOptions,
)
from tests.peer import DISCONNECT, PUBACK, PUBLISH, SUBSCRIBE, UNSUBSCRIBE, serve
from tests.raw_scripts import (
    CEILING,
    accept,
    ack_bytes,
    cancelled_after,
    expect_publish,
    gone,
    goodbye,
    lasting,
    new_client,
    publish_bytes,
    within,
    works,
)


def client_of(broker: Broker, **options):
    options.setdefault("protocol", 5)
    return Client(broker.name, transport="memory", **options)


@contextlib.asynccontextmanager
async def both(**options):
    """A broker, a client that requests, and one that is asked."""
    async with (
        asyncio.timeout(CEILING),
        Broker(None) as broker,
        client_of(broker, identifier="asked") as asked,
        client_of(broker, identifier="me", **options) as client,
    ):
        await asked.subscribe("service/#", 2)
        yield client, asked


def nothing_left(client: Client) -> bool:
    """Whether no request has left anything behind."""
    topics = client._response_topics
    return (
        (topics is None or len(topics.pending) == 0)
        and client.statistics.waiting_calls == 0
        and client.statistics.unfinished_messages == 0
    )


def in_background(coroutine):
    return asyncio.get_running_loop().create_task(coroutine)


def response(published, payload: bytes) -> bytes:
    """The PUBLISH with which a broker passes on the reply to a request."""
    topic, correlation = routing_of(published)
    data = b"\x09" + len(correlation).to_bytes(2, "big") + correlation
    return publish_bytes(topic, payload, version=5, properties=data)


def routing_of(published) -> tuple[str, bytes]:
    """The response topic and the correlation data of a request in bytes."""
    rest, found = published.properties, {}
    while rest:
        kind, rest = rest[0], rest[1:]
        if kind == 0x02:
            rest = rest[4:]
            continue
        size = int.from_bytes(rest[:2], "big")
        found[kind], rest = rest[2 : 2 + size], rest[2 + size :]
    return found[0x08].decode(), found[0x09]


# --- the good case -------------------------------------------------------------


async def test_a_hundred_concurrent_requests_are_answered_right(caplog):
    caplog.set_level(logging.WARNING, "mqtt")
    async with both() as (client, asked):
        requests = [
            in_background(client.request(f"service/{number % 7}", str(number)))
            for number in range(100)
        ]
        came = [await anext(asked.messages) for _ in range(100)]
        # The last is answered first.
        for message in reversed(came):
            await asked.respond(message, b"re: " + message.payload)
        for number, request in enumerate(requests):
            reply = await request
            assert reply.payload == f"re: {number}".encode()
        assert len({message.properties.correlation_data for message in came}) == 100
        # One subscription for all of them, of which the program sees nothing.
        assert len({message.properties.response_topic for message in came}) == 1
        assert client.statistics.subscriptions == 1
        assert len(client.messages) == 0
        assert client.statistics.replies_ignored == 0
        assert nothing_left(client)
        # Many requests are no reason to warn, as many calls of `publish` are.
        assert not caplog.messages
        assert client._calls.uncounted == 0


@pytest.mark.parametrize("qos", [0, 1, 2])
async def test_every_quality_of_service(qos):
    async with both() as (client, asked):
        request = in_background(client.request("service", b"?", qos))
        message = await anext(asked.messages)
        assert message.qos == qos
        await asked.respond(message, b"!")
        reply = await request
        # At QoS 2 a reply would only be slower.
        assert (reply.payload, reply.qos) == (b"!", min(qos, 1))


async def test_the_properties_of_requests_and_responses():
    async with both() as (client, asked):
        given = Properties(content_type="text/plain", user_property=[("a", "1")])
        request = in_background(
            client.request("service", b"?", properties=given, timeout=7.5)
        )
        message = await anext(asked.messages)
        assert message.properties.content_type == "text/plain"
        assert message.properties.user_property == [("a", "1")]
        # Nobody needs to carry it out when nobody waits for it.
        assert message.properties.message_expiry_interval in (7, 8)
        # Those of the program stay as they are.
        assert given == Properties(
            content_type="text/plain", user_property=[("a", "1")]
        )
        more = Properties(user_property=[("status", "ok")])
        await asked.respond(message, b"!", properties=more)
        reply = await request
        assert reply.properties.user_property == [("status", "ok")]
        assert reply.properties.correlation_data == message.properties.correlation_data
        assert more.correlation_data is None


@pytest.mark.parametrize(
    ("timeout", "given", "expiry"),
    [
        pytest.param(None, None, {10, 9}, id="the timeout of the client"),
        pytest.param(math.inf, None, {None}, id="forever"),
        pytest.param(5, 99, {99, 98}, id="what the program says"),
    ],
)
async def test_when_a_request_expires(timeout, given, expiry):
    async with both() as (client, asked):
        properties = Properties(message_expiry_interval=given)
        request = in_background(
            client.request("service", properties=properties, timeout=timeout)
        )
        message = await anext(asked.messages)
        assert message.properties.message_expiry_interval in expiry
        await asked.respond(message)
        assert (await request).payload == b""


async def test_a_response_topic_and_correlation_data_of_the_program():
    async with both() as (client, asked):
        given = Properties(response_topic="my/answers", correlation_data=b"7")
        request = in_background(client.request("service", properties=given))
        message = await anext(asked.messages)
        assert message.properties.response_topic == "my/answers"
        assert message.properties.correlation_data == b"7"
        with pytest.raises(ValueError, match="the same correlation_data"):
            await client.request("service", properties=given)
        await asked.respond(message, b"!")
        assert (await request).topic.value == "my/answers"
        # It may be used again.
        request = in_background(client.request("service", properties=given))
        await asked.respond(await anext(asked.messages), b"!!")
        assert (await request).payload == b"!!"


async def test_requests_at_once_with_the_same_correlation_data():
    async with both() as (client, asked):
        given = Properties(correlation_data=b"7")
        # The first has not subscribed to the response topic yet.
        first = in_background(client.request("service", b"1", properties=given))
        second = in_background(client.request("service", b"2", properties=given))
        with pytest.raises(ValueError, match="the same correlation_data"):
            await second
        message = await anext(asked.messages)
        assert message.payload == b"1"
        await asked.respond(message, b"!")
        assert (await first).payload == b"!"


async def test_a_client_can_ask_itself():
    async with both() as (client, _), asyncio.timeout(CEILING):
        await client.subscribe("mine")
        request = in_background(client.request("mine", b"?"))
        await client.respond(await anext(client.messages), b"!")
        assert (await request).payload == b"!"


async def test_the_response_information_of_the_broker():
    async def script(peer):
        await accept(peer, 5, properties=b"\x1a\x00\x09replies/7")
        _, body = await peer.expect(SUBSCRIBE)
        size = int.from_bytes(body[3:5], "big")
        assert body[5:15] == b"replies/7/"
        # QoS 1, and no retained messages.
        assert body[5 + size :] == b"\x21"
        peer.packet(0x90, b"\x00\x01\x00\x01")
        published = await expect_publish(peer, 5)
        assert routing_of(published)[0].startswith("replies/7/")
        peer.send(ack_bytes(PUBACK, 2) + response(published, b"!"))
        await goodbye(peer)

    asked = Properties(request_response_information=1)
    async with (
        serve(script) as server,
        new_client(server, 5, properties=asked) as client,
    ):
        assert (await within(client.request("service"))).payload == b"!"


async def test_a_reply_that_comes_before_the_acknowledgement():
    async def script(peer):
        await accept(peer, 5)
        await peer.expect(SUBSCRIBE)
        peer.packet(0x90, b"\x00\x01\x00\x01")
        for packet_id in (2, 3):
            published = await expect_publish(peer, 5)
            peer.send(response(published, b"!"))
            if packet_id == 2:
                peer.send(ack_bytes(PUBACK, 2))
        # The second is never acknowledged.
        await gone(peer)

    async with serve(script) as server, new_client(server, 5) as client:
        assert (await within(client.request("service"))).payload == b"!"
        reply = await within(client.request("service", timeout=0.2))
        assert reply.payload == b"!"
        assert client.drop_pending() == 1


# --- who else gets a reply -------------------------------------------------------


async def test_only_who_has_subscribed_for_replies_sees_them():
    async with both() as (client, asked):
        async with client.stream("responses/#") as stream:
            request = in_background(client.request("service", b"?"))
            await asked.respond(await anext(asked.messages), b"!")
            await request
            assert (await anext(stream)).payload == b"!"
        assert len(client.messages) == 0
        await client.subscribe("#")
        request = in_background(client.request("service", b"?"))
        message = await anext(asked.messages)
        await asked.respond(message, b"!!")
        assert (await request).payload == b"!!"
        await client.publish("end")
        topics: list[str] = []
        while not topics or topics[-1] != "end":
            topics.append((await anext(client.messages)).topic.value)
        topic = message.properties.response_topic
        assert topics == ["service", topic, "end"]


async def test_foreign_replies_are_ignored_and_counted():
    async with both() as (client, asked):
        request = in_background(client.request("service", b"?"))
        message = await anext(asked.messages)
        topic = message.properties.response_topic
        for properties in (
            None,
            Properties(correlation_data=b"guess"),
            Properties(correlation_data=b""),
        ):
            await asked.publish(topic, b"wrong", 1, properties=properties)
        await asked.respond(message, b"right")
        assert (await request).payload == b"right"
        assert client.statistics.replies_ignored == 3
        # Twice the same.
        await asked.respond(message, b"again")
        while client.statistics.replies_ignored < 4:  # noqa: ASYNC110
            await asyncio.sleep(0.001)
        assert len(client.messages) == 0


async def test_requests_go_on_while_too_many_messages_wait():
    async with both() as (client, asked):
        await client.subscribe("flood")
        client._stream.maximum_messages = 10
        for _ in range(30):
            await asked.publish("flood", b"x", 1)
        request = in_background(client.request("service", b"?"))
        await asked.respond(await anext(asked.messages), b"!")
        assert (await request).payload == b"!"
        assert len(client.messages) > 10


@pytest.mark.parametrize("ack", ["processed", "manual"])
async def test_replies_are_acknowledged_whatever_the_program_acknowledges(ack):
    async with both(ack=ack, max_queued_incoming_messages=2) as (client, asked):
        for _ in range(5):
            request = in_background(client.request("service", b"?"))
            await asked.respond(await anext(asked.messages), b"!", 1)
            assert (await request).payload == b"!"


# --- no reply ------------------------------------------------------------------


async def test_without_a_reply_the_request_times_out_and_a_late_one_is_counted():
    async with both() as (client, asked):
        with pytest.raises(MqttError, match="^Operation timed out$") as caught:
            await client.request("service", b"?", timeout=0.05)
        assert str(caught.value.__cause__) == "no reply came within 0.05 seconds"
        assert nothing_left(client)
        await asked.respond(await anext(asked.messages), b"late")
        while not client.statistics.replies_ignored:  # noqa: ASYNC110
            await asyncio.sleep(0.001)
        request = in_background(client.request("service", b"?"))
        await asked.respond(await anext(asked.messages), b"in time")
        assert (await request).payload == b"in time"
        assert client.statistics.replies_ignored == 1
        assert len(client.messages) == 0


@pytest.mark.parametrize("is_first", [True, False])
async def test_a_cancelled_request_leaves_nothing(is_first):
    async with both() as (client, asked):
        answers = 0
        for steps in range(12):
            if steps == 0 and not is_first:
                request = in_background(client.request("service", b"?"))
                await asked.respond(await anext(asked.messages), b"!")
                await request
            await cancelled_after(steps, client.request("service/lost", b"?"))
            assert len(client._to_response_topics().pending) == 0
            request = in_background(client.request("service/kept", b"?"))
            while not request.done():
                message = await anext(asked.messages)
                if message.topic.value == "service/kept":
                    await asked.respond(message, b"!")
                    await request
                    answers += 1
            # What was on its way when its caller was cancelled is acknowledged.
            while not nothing_left(client):  # noqa: ASYNC110
                await asyncio.sleep(0.001)
            if is_first:
                # Subscribe again.
                await client.__aexit__(None, None, None)
                await client.__aenter__()
        assert answers == 12


async def test_the_end_of_the_connection_ends_all_requests():
    async def cuts(peer):
        await accept(peer, 5)
        await peer.expect(SUBSCRIBE)
        peer.packet(0x90, b"\x00\x01\x00\x01")
        for packet_id in (2, 3):
            await peer.expect(PUBLISH)
            peer.send(ack_bytes(PUBACK, packet_id))
        peer.packet(0xE0, b"\x8b\x00")
        peer.close()

    async def again(peer):
        await accept(peer, 5)
        await peer.expect(SUBSCRIBE)
        peer.packet(0x90, b"\x00\x01\x00\x01")
        published = await expect_publish(peer, 5)
        peer.send(ack_bytes(PUBACK, 2) + response(published, b"!"))
        await goodbye(peer)

    async with serve(cuts, again) as server, asyncio.timeout(CEILING):
        client = new_client(server, 5)
        with pytest.raises(MqttCodeError, match="not currently connected"):
            await client.request("service")
        async with client:
            ended = await asyncio.gather(
                client.request("service"),
                client.request("service", timeout=math.inf),
                return_exceptions=True,
            )
            for error in ended:
                assert isinstance(error, MqttError)
                assert error.reason_code == 0x8B
            with pytest.raises(MqttError):
                await client.request("service")
            assert nothing_left(client)
        async with client:
            assert (await client.request("service")).payload == b"!"


async def test_leaving_waits_for_replies():
    async with both() as (client, asked):
        request = in_background(client.request("service", b"?"))
        message = await anext(asked.messages)
        leaving = in_background(client.__aexit__(None, None, None))
        await asyncio.sleep(0)
        await asked.respond(message, b"!")
        assert (await request).payload == b"!"
        await leaving


@pytest.mark.parametrize("count", [1, 3])
async def test_a_refused_subscription_is_told_to_all_and_tried_again(count):
    async def script(peer):
        await accept(peer, 5)
        for code in (*[0x87] * count, 1):
            _, body = await peer.expect(SUBSCRIBE)
            peer.packet(0x90, body[:2] + bytes([0, code]))
            if code == 0x87:
                # Whatever the broker has, it is not wanted.
                _, body = await peer.expect(UNSUBSCRIBE)
                peer.packet(0xB0, body[:2] + b"\x00\x11")
        published = await expect_publish(peer, 5)
        peer.send(ack_bytes(PUBACK, published.packet_id) + response(published, b"!"))
        await goodbye(peer)

    async with serve(script) as server, new_client(server, 5) as client:
        ended = await within(
            asyncio.gather(
                *(client.request("service") for _ in range(count)),
                return_exceptions=True,
            )
        )
        for error in ended:
            assert isinstance(error, MqttCodeError)
            assert error.rc == 0x87
        assert (await within(client.request("service"))).payload == b"!"


async def test_a_refused_request_is_told_at_once():
    async def script(peer):
        await accept(peer, 5)
        await peer.expect(SUBSCRIBE)
        peer.packet(0x90, b"\x00\x01\x00\x01")
        await peer.expect(PUBLISH)
        peer.send(ack_bytes(PUBACK, 2, 0x87))
        await goodbye(peer)

    async with serve(script) as server, new_client(server, 5) as client:
        with pytest.raises(MqttCodeError) as caught:
            await within(client.request("service", timeout=math.inf))
        assert caught.value.rc == 0x87
        assert nothing_left(client)


# --- a session that lasts --------------------------------------------------------


async def test_a_session_that_lasts_gathers_no_replies():
    async def first(peer):
        await accept(peer, 5)
        await peer.expect(SUBSCRIBE)
        peer.packet(0x90, b"\x00\x01\x00\x01")
        published = await expect_publish(peer, 5)
        peer.send(ack_bytes(PUBACK, 2) + response(published, b"!"))
        _, body = await peer.expect(UNSUBSCRIBE)
        assert body[5:] == routing_of(published)[0].encode()
        await peer.expect(DISCONNECT)
        late.append(response(published, b"late"))
        peer.close()

    async def second(peer):
        await accept(peer, 5, session_present=1)
        # The broker had queued it by then.
        peer.send(late[0])
        peer.send(publish_bytes("t", b"again", version=5))
        _, body = await peer.expect(SUBSCRIBE)
        peer.packet(0x90, body[:2] + b"\x00\x01")
        published = await expect_publish(peer, 5)
        peer.send(ack_bytes(PUBACK, published.packet_id) + response(published, b"!!"))
        await gone(peer)

    late: list[bytes] = []
    async with serve(first, second) as server:
        client = lasting(server, 5)
        async with client:
            assert (await within(client.request("service"))).payload == b"!"
        async with client:
            message = await within(anext(client.messages))
            assert message.payload == b"again"
            assert client.statistics.replies_ignored == 1
            assert (await within(client.request("service"))).payload == b"!!"


async def test_a_subscription_that_the_session_has_is_used_again():
    async def first(peer):
        await accept(peer, 5)
        await peer.expect(SUBSCRIBE)
        peer.packet(0x90, b"\x00\x01\x00\x01")
        published = await expect_publish(peer, 5)
        peer.send(ack_bytes(PUBACK, 2) + response(published, b"!"))
        peer.close()

    async def kept(peer):
        await accept(peer, 5, session_present=1)
        published = await expect_publish(peer, 5)
        peer.send(ack_bytes(PUBACK, published.packet_id) + response(published, b"!!"))
        peer.close()

    async def lost(peer):
        await accept(peer, 5)
        _, body = await peer.expect(SUBSCRIBE)
        peer.packet(0x90, body[:2] + b"\x00\x01")
        published = await expect_publish(peer, 5)
        peer.send(ack_bytes(PUBACK, published.packet_id) + response(published, b"3"))
        await gone(peer)

    async with serve(first, kept, lost) as server:
        client = lasting(server, 5)
        for payload in (b"!", b"!!"):
            with pytest.raises(MqttError):
                async with asyncio.timeout(CEILING), client:
                    assert (await client.request("service")).payload == payload
                    await anext(client.messages)
        async with client:
            assert (await within(client.request("service"))).payload == b"3"


# --- bad input -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("topic", "options", "error", "match"),
    [
        ("a/#", {}, ValueError, "topic"),
        (1, {}, TypeError, "topic must be str"),
        ("a", {"payload": object()}, TypeError, "payload"),
        ("a", {"qos": 3}, ValueError, "qos"),
        ("a", {"timeout": "1"}, TypeError, "timeout"),
        ("a", {"properties": 1}, TypeError, "properties"),
        ("a", {"properties": Properties(response_topic="")}, ValueError, "topic"),
        ("a", {"properties": Properties(maximum_qos=1)}, ValueError, "maximum_qos"),
    ],
)
async def test_what_is_wrong_with_a_request_is_told_before_anything_is_sent(
    topic, options, error, match
):
    async with both() as (client, _):
        with pytest.raises(error, match=match):
            await client.request(topic, **options)
        assert client.statistics.subscriptions == 0
        assert nothing_left(client)


@pytest.mark.parametrize("level", [3, 4])
async def test_below_5_there_are_no_response_topics(level):
    client = Client("localhost", protocol=level)
    message = Message("a", b"", 0, False, 0, Properties(response_topic="b"))
    for call in (
        lambda: client.request("a"),
        lambda: client.respond(message),
        lambda: client.serve("a", lambda _: None).__aenter__(),
    ):
        with pytest.raises(ValueError, match="ProtocolVersion.V5"):
            await call()


@pytest.mark.parametrize("properties", [None, Properties(correlation_data=b"1")])
async def test_a_message_that_asks_for_no_response(properties):
    client = Client("localhost", protocol=5)
    with pytest.raises(ValueError, match="asks for no response"):
        await client.respond(Message("a", b"", 0, False, 0, properties))


async def test_what_is_wrong_with_a_response():
    client = Client("localhost", protocol=5)
    message = Message("a", b"", 1, False, 1, Properties(response_topic="b"))
    with pytest.raises(TypeError, match="message must be Message"):
        await client.respond("a")  # type: ignore[arg-type]
    for name, value in (("response_topic", "c"), ("correlation_data", b"")):
        with pytest.raises(ValueError, match=f"respond takes no {name}"):
            await client.respond(message, properties=Properties(**{name: value}))
    with pytest.raises(ValueError, match="qos"):
        await client.respond(message, b"", 3)
    with pytest.raises(MqttCodeError, match="not currently connected"):
        await client.respond(message, b"")


async def test_the_quality_of_service_of_a_response():
    async with both() as (client, asked):
        await client.subscribe("b", options=SubscribeOptions(2))
        for came, qos, expected in ((0, None, 0), (2, None, 2), (2, 1, 1), (1, 0, 0)):
            properties = Properties(response_topic="b", correlation_data=b"7")
            await asked.respond(Message("a", b"", came, False, 0, properties), b"", qos)
            message = await anext(client.messages)
            assert message.qos == expected
            assert message.properties.correlation_data == b"7"


async def test_a_client_is_none_the_worse_for_requests():
    async def script(peer):
        await accept(peer, 5)
        await peer.expect(SUBSCRIBE)
        peer.close()

    async def good(peer):
        await accept(peer, 5)
        peer.send(publish_bytes("t", b"again", version=5))
        await goodbye(peer)

    async with serve(script, good) as server:
        client = new_client(server, 5)
        async with client:
            with pytest.raises(MqttError):
                await within(client.request("service"))
        await works(client)
