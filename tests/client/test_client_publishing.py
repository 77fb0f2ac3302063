"""Publishing: what leaves, when the call returns, and what it raises."""

import asyncio
import logging
import math
from typing import Any

import pytest
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties as PahoProperties

from aiomqtt import MqttCodeError, MqttError, MqttLimitError, Properties, Topic
from tests.peer import (
    PUBACK,
    PUBCOMP,
    PUBLISH,
    PUBREC,
    PUBREL,
    SUBSCRIBE,
    serve,
)
from tests.raw_scripts import (
    accept,
    ack_bytes,
    expect_publish,
    goodbye,
    new_client,
    polite,
    serve_politely,
    turns,
    within,
)


def publishing(client, *arguments, **options):
    return asyncio.create_task(client.publish(*arguments, **options))


# --- what leaves ---------------------------------------------------------------

PAYLOADS = [
    (None, b""),
    ("", b""),
    ("grüße", "grüße".encode()),
    (b"\x00\xff", b"\x00\xff"),
    (bytearray(b"ab"), b"ab"),
    (5, b"5"),
    (-12345678901234567890, b"-12345678901234567890"),
    (38.5, b"38.5"),
    (0, b"0"),
    (False, b"False"),
]


async def test_payloads(version):
    async def script(peer):
        await accept(peer, version)
        for _, sent in PAYLOADS:
            assert (await expect_publish(peer, version)).payload == sent
        await goodbye(peer)

    async with serve(script) as server, new_client(server, version) as client:
        for payload, _ in PAYLOADS:
            await client.publish("a", payload)


@pytest.mark.conformance("5.0", "MQTT-3.3.1-2", "MQTT-4.3.1-1")
@pytest.mark.conformance("3.1.1", "MQTT-3.3.1-2", "MQTT-4.3.1-1")
@pytest.mark.parametrize("qos", [0, 1, 2])
@pytest.mark.parametrize("retain", [False, True])
async def test_what_leaves(version, qos, retain):
    none = b"\x00" if version == 5 else b""

    async def script(peer):
        await accept(peer, version)
        first, body = await peer.expect(PUBLISH)
        assert first == 0x30 | qos << 1 | retain
        assert body == b"\x00\x03a/b" + (b"\x00\x01" if qos else b"") + none + b"hi"
        if qos:
            peer.send(ack_bytes(PUBACK if qos == 1 else PUBREC, 1))
        if qos == 2:
            assert await peer.expect(PUBREL) == (0x62, b"\x00\x01")
            peer.send(ack_bytes(PUBCOMP, 1))
        await goodbye(peer)

    async with serve(script) as server, new_client(server, version) as client:
        await client.publish("a/b", "hi", qos, retain)


async def test_a_topic_may_be_a_topic():
    async def script(peer):
        await accept(peer)
        assert (await expect_publish(peer)).topic == "a/b"
        await goodbye(peer)

    async with serve(script) as server, new_client(server) as client:
        await client.publish(Topic("a/b"))


@pytest.mark.parametrize("whose", ["ours", "paho's"])
async def test_properties(whose):
    values = {
        "payload_format_indicator": 1,
        "message_expiry_interval": 7,
        "response_topic": "r",
        "correlation_data": b"c",
        "user_property": [("k", "v"), ("k", "w")],
        "content_type": "t",
    }
    properties: Any = Properties(**values)
    if whose == "paho's":
        properties = PahoProperties(PacketTypes.PUBLISH)
        for name, value in values.items():
            setattr(properties, name.title().replace("_", ""), value)

    async def script(peer):
        await accept(peer, 5)
        published = await expect_publish(peer, 5)
        for sent in (
            b"\x01\x01",
            b"\x02\x00\x00\x00\x07",
            b"\x08\x00\x01r",
            b"\x09\x00\x01c",
            b"\x26\x00\x01k\x00\x01v",
            b"\x26\x00\x01k\x00\x01w",
            b"\x03\x00\x01t",
        ):
            assert sent in published.properties
        assert len(published.properties) == 2 + 5 + 4 + 4 + 14 + 4
        await goodbye(peer)

    async with serve(script) as server, new_client(server, 5) as client:
        await client.publish("a", properties=properties)


async def test_packet_identifiers_count_up_from_1_and_order_stays(version):
    async def script(peer):
        await accept(peer, version)
        came = await serve_politely(peer, version)
        publishes = [body for first, body in came if first >> 4 == PUBLISH]
        assert [body[3:5] for body in publishes] == [
            number.to_bytes(2, "big") for number in range(1, 11)
        ]
        assert [body[-1] for body in publishes] == list(range(10))

    async with serve(script) as server, new_client(server, version) as client:
        await asyncio.gather(
            *(client.publish("a", bytes([n]), 1 + n % 2) for n in range(10))
        )


# --- when it returns -----------------------------------------------------------


@pytest.mark.conformance("5.0", "MQTT-4.3.2-3", "MQTT-4.3.3-3", "MQTT-4.3.3-4")
@pytest.mark.conformance("5.0", "MQTT-4.3.3-5")
@pytest.mark.conformance("3.1.1", "MQTT-4.3.2-1")
async def test_it_returns_when_the_flow_is_complete(version):
    came: asyncio.Queue[int] = asyncio.Queue()
    go_on: asyncio.Queue[None] = asyncio.Queue()

    async def script(peer):
        await accept(peer, version)
        for kind, reply in ((PUBLISH, PUBACK), (PUBLISH, PUBREC), (PUBREL, PUBCOMP)):
            await peer.expect(kind)
            came.put_nowait(kind)
            await go_on.get()
            peer.send(ack_bytes(reply, 1 if reply == PUBACK else 2))
        await goodbye(peer)

    async with serve(script) as server, new_client(server, version) as client:
        one = publishing(client, "a", b"", 1)
        await within(came.get())
        await turns()
        assert not one.done()
        go_on.put_nowait(None)
        await within(one)
        two = publishing(client, "a", b"", 2)
        for _ in range(2):
            await within(came.get())
            await turns()
            assert not two.done()
            go_on.put_nowait(None)
        await within(two)


# --- what it raises ------------------------------------------------------------


@pytest.mark.parametrize("qos", [1, 2])
async def test_the_broker_refuses(qos):
    async def script(peer):
        await accept(peer, 5)
        for number in (1, 2, 3):
            published = await expect_publish(peer, 5)
            if number < 3:
                text = b"\x0a\x1f\x00\x07because"
                properties = text if number == 1 else b""
                reply = PUBACK if qos == 1 else PUBREC
                peer.send(ack_bytes(reply, published.packet_id, 0x87, *properties))
        # Nothing but the third is in flight; it can't end any more.
        peer.send(ack_bytes(PUBACK if qos == 1 else PUBREC, published.packet_id, 0x97))
        await goodbye(peer)

    async with serve(script) as server, new_client(server, 5) as client:
        with pytest.raises(MqttCodeError, match="Not authorized: because") as caught:
            await client.publish("a", b"", qos)
        assert caught.value.rc == 135
        assert caught.value.reason_string == "because"
        assert caught.value.properties == Properties(reason_string="because")
        with pytest.raises(MqttCodeError, match="Not authorized$") as caught:
            await client.publish("a", b"", qos)
        assert caught.value.properties is None
        with pytest.raises(MqttCodeError, match="Quota exceeded"):
            await client.publish("a", b"", qos)
        assert client.is_connected()


@pytest.mark.parametrize("qos", [1, 2])
async def test_no_matching_subscribers_is_a_success(qos):
    async def script(peer):
        await accept(peer, 5)
        await expect_publish(peer, 5)
        peer.send(ack_bytes(PUBACK if qos == 1 else PUBREC, 1, 0x10))
        if qos == 2:
            assert await peer.expect(PUBREL) == (0x62, b"\x00\x01")
            peer.send(ack_bytes(PUBCOMP, 1))
        await goodbye(peer)

    async with serve(script) as server, new_client(server, 5) as client:
        await client.publish("a", b"", qos)


@pytest.mark.parametrize("qos", [1, 2])
async def test_a_timeout_of_the_call(version, qos):
    async def script(peer):
        await accept(peer, version)
        await expect_publish(peer, version)
        await goodbye(peer)

    async with serve(script) as server, new_client(server, version) as client:
        with pytest.raises(MqttError) as caught:
            await within(client.publish("a", b"", qos, timeout=0.01))
        assert str(caught.value) == "Operation timed out"
        assert client.is_connected()


async def test_the_timeout_of_the_client():
    async def script(peer):
        await accept(peer)
        await expect_publish(peer)
        await goodbye(peer)

    async with serve(script) as server, new_client(server) as client:
        client.timeout = 0.01
        with pytest.raises(MqttError, match="^Operation timed out$"):
            await within(client.publish("a", b"", 1))
        client.timeout = 5


async def test_it_can_wait_forever(version):
    answer = asyncio.Event()

    async def script(peer):
        await accept(peer, version)
        await expect_publish(peer, version)
        await answer.wait()
        peer.send(ack_bytes(PUBACK, 1))
        await goodbye(peer)

    async with serve(script) as server, new_client(server, version) as client:
        client.timeout = 0.01
        publish = publishing(client, "a", b"", 1, timeout=math.inf)
        await asyncio.sleep(0.05)
        assert not publish.done()
        answer.set()
        await within(publish)
        client.timeout = 5


async def test_a_publish_that_waited_for_the_quota_is_withdrawn_at_its_timeout():
    async def script(peer):
        await accept(peer, 5, properties=b"\x21\x00\x01")
        assert (await expect_publish(peer, 5)).payload == b"1"
        # The second never comes.
        await peer.expect(SUBSCRIBE)
        peer.packet(0x90, b"\x00\x02\x00\x00")
        peer.send(ack_bytes(PUBACK, 1))
        assert (await expect_publish(peer, 5)).payload == b"3"
        peer.send(ack_bytes(PUBACK, 3))
        await goodbye(peer)

    async with serve(script) as server, new_client(server, 5) as client:
        first = publishing(client, "a", b"1", 1)
        await turns()
        with pytest.raises(MqttError, match="timed out"):
            await within(client.publish("a", b"2", 1, timeout=0.01))
        await client.subscribe("a")
        await within(first)
        await client.publish("a", b"3", 1)


LIMITS = [
    ("MQTT-3.2.2-11", b"\x24\x00", {"qos": 1}, 0x9B),
    ("MQTT-3.2.2-11", b"\x24\x01", {"qos": 2}, 0x9B),
    ("MQTT-3.2.2-14", b"\x25\x00", {"retain": True}, 0x9A),
    ("MQTT-3.2.2-15", b"\x27\x00\x00\x00\x14", {"payload": b"x" * 20}, 0x95),
    ("MQTT-3.2.2-15", b"\x27\x00\x00\x00\x14", {"payload": b"x" * 14, "qos": 1}, 0x95),
]


@pytest.mark.conformance("5.0", "MQTT-3.2.2-11", "MQTT-3.2.2-14", "MQTT-3.2.2-15")
@pytest.mark.parametrize(("label", "limit", "arguments", "code"), LIMITS)
async def test_the_limits_of_the_broker(label, limit, arguments, code):
    async def script(peer):
        await accept(peer, 5, properties=limit)
        came = await serve_politely(peer, 5)
        assert [body for _, body in came] == [b"\x00\x01a\x00fine"]

    async with serve(script) as server, new_client(server, 5) as client:
        with pytest.raises(MqttLimitError) as caught:
            await client.publish("a", **arguments)
        assert caught.value.rc == code
        await client.publish("a", b"fine")


@pytest.mark.conformance("5.0", "MQTT-3.2.2-17", "MQTT-3.2.2-18", "MQTT-3.3.2-9")
@pytest.mark.conformance("5.0", "MQTT-3.3.2-7")
async def test_topic_aliases_of_the_program():
    async def first(peer):
        await accept(peer, 5, properties=b"\x22\x00\x02")
        assert await peer.expect(PUBLISH) == (0x30, b"\x00\x01a\x03\x23\x00\x021")
        assert await peer.expect(PUBLISH) == (0x30, b"\x00\x00\x03\x23\x00\x022")
        await goodbye(peer)

    async def second(peer):
        await accept(peer, 5, properties=b"\x22\x00\x02")
        assert await peer.expect(PUBLISH) == (0x30, b"\x00\x01a\x03\x23\x00\x023")
        await goodbye(peer)

    async with serve(first, second) as server:
        client = new_client(server, 5)
        alias = Properties(topic_alias=2)
        async with client:
            await client.publish("a", b"1", properties=alias)
            await client.publish("", b"2", properties=alias)
            with pytest.raises(ValueError, match="topic_alias"):
                await client.publish("a", b"", properties=Properties(topic_alias=3))
        async with client:
            with pytest.raises(ValueError, match="topic"):  # it means nothing here
                await client.publish("", b"3", properties=alias)
            await client.publish("a", b"3", properties=alias)


# --- how many at once ----------------------------------------------------------


async def held_back(client, count, qos=1):
    """Publish this many at once; the tasks."""
    tasks = [publishing(client, "a", bytes([n]), qos) for n in range(count)]
    await turns()
    return tasks


async def expect_just(peer, version, numbers):
    """Read publishes with these payloads, and see that no more comes."""
    ids = []
    for number in numbers:
        published = await expect_publish(peer, version)
        assert published.payload == bytes([number])
        ids.append(published.packet_id)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await peer._reader.readexactly(1)
    return ids


@pytest.mark.conformance("5.0", "MQTT-3.3.4-7", "MQTT-4.9.0-1", "MQTT-4.9.0-2")
async def test_receive_maximum_of_the_broker():
    async def script(peer):
        await accept(peer, 5, properties=b"\x21\x00\x02")
        one, two = await expect_just(peer, 5, [0, 1])
        peer.send(ack_bytes(PUBREC, two))
        assert await peer.expect(PUBREL) == (0x62, two.to_bytes(2, "big"))
        await expect_just(peer, 5, [])  # PUBREC does not free the place
        peer.send(ack_bytes(PUBCOMP, two))
        (three,) = await expect_just(peer, 5, [2])
        peer.send(ack_bytes(PUBREC, one, 0x87))  # a refusal does
        (four,) = await expect_just(peer, 5, [3])
        for packet_id in (three, four):
            peer.send(ack_bytes(PUBREC, packet_id))
            await peer.expect(PUBREL)
            peer.send(ack_bytes(PUBCOMP, packet_id))
        await goodbye(peer)

    async with serve(script) as server, new_client(server, 5) as client:
        tasks = await held_back(client, 4, qos=2)
        results = await within(asyncio.gather(*tasks, return_exceptions=True))
        assert [type(result) for result in results] == [MqttCodeError] + [
            type(None)
        ] * 3


@pytest.mark.conformance("5.0", "MQTT-3.3.4-8", "MQTT-4.9.0-3")
async def test_a_full_window_holds_back_nothing_else():
    async def script(peer):
        await accept(peer, 5, properties=b"\x21\x00\x01")
        (one,) = await expect_just(peer, 5, [0])
        assert (await expect_publish(peer, 5)).payload == b"at once"
        await peer.expect(SUBSCRIBE)
        peer.packet(0x90, b"\x00\x02\x00\x00")
        peer.send(ack_bytes(PUBACK, one))
        peer.send(ack_bytes(PUBACK, (await expect_publish(peer, 5)).packet_id))
        await goodbye(peer)

    async with serve(script) as server, new_client(server, 5) as client:
        tasks = await held_back(client, 2)
        await asyncio.sleep(0.1)
        await client.publish("a", b"at once")
        await client.subscribe("a")
        await within(asyncio.gather(*tasks))


async def test_max_inflight_messages(version):
    async def script(peer):
        await accept(peer, version)
        for numbers in ([0, 1], [2, 3]):
            for packet_id in await expect_just(peer, version, numbers):
                peer.send(ack_bytes(PUBACK, packet_id))
        await goodbye(peer)

    async with (
        serve(script) as server,
        new_client(server, version, max_inflight_messages=2) as client,
    ):
        await within(asyncio.gather(*await held_back(client, 4)))


async def test_max_queued_outgoing_messages(version):
    answer = asyncio.Event()

    async def script(peer):
        await accept(peer, version)
        ids = [(await expect_publish(peer, version)).packet_id for _ in range(2)]
        assert (await expect_publish(peer, version)).payload == b"at QoS 0"
        await answer.wait()
        for packet_id in ids:
            peer.send(ack_bytes(PUBACK, packet_id))
        await serve_politely(peer, version)

    async with (
        serve(script) as server,
        new_client(server, version, max_queued_outgoing_messages=2) as client,
    ):
        tasks = await held_back(client, 2)
        with pytest.raises(MqttCodeError, match="2 are unfinished") as caught:
            await client.publish("a", b"", 1)
        assert caught.value.rc == 15
        await client.publish("a", b"at QoS 0")
        answer.set()
        await within(asyncio.gather(*tasks))
        await client.publish("a", b"", 1)


async def test_max_concurrent_outgoing_calls(version):
    answer = asyncio.Event()

    async def script(peer):
        await accept(peer, version)
        (one,) = await expect_just(peer, version, [0])
        answer.set()
        peer.send(ack_bytes(PUBACK, one))
        _, body = await peer.expect(SUBSCRIBE)
        peer.packet(0x90, body[:2] + (b"\x00\x00" if version == 5 else b"\x00"))
        peer.send(ack_bytes(PUBACK, (await expect_publish(peer, version)).packet_id))
        await goodbye(peer)

    async with (
        serve(script) as server,
        new_client(server, version, max_concurrent_outgoing_calls=1) as client,
    ):
        first = publishing(client, "a", b"\0", 1)
        await turns()
        others = asyncio.gather(client.subscribe("a"), client.publish("a", b"\1", 1))
        await within(answer.wait())
        await within(asyncio.gather(first, others))


# --- the warning about pending calls -------------------------------------------


def warnings(caplog):
    return [
        record.getMessage()
        for record in caplog.records
        # asyncio's own of a slow callback speak of pending tasks.
        if record.levelno == logging.WARNING
        and record.name == "mqtt"
        and "pending" in record.getMessage()
    ]


@pytest.mark.parametrize(("threshold", "count"), [(None, 11), (2, 3)])
async def test_many_pending_calls_are_logged(caplog, threshold, count):
    async with serve(polite()) as server, new_client(server) as client:
        if threshold is not None:
            client.pending_calls_threshold = threshold
        assert client.pending_calls_threshold == (threshold or 10)
        await within(asyncio.gather(*await held_back(client, count - 1)))
        assert warnings(caplog) == []
        await within(asyncio.gather(*await held_back(client, count)))
        assert warnings(caplog) == [f"There are {count} pending publish calls."]
        assert caplog.records[-1].name == "mqtt"


async def test_a_flood_of_calls_is_no_flood_of_warnings(caplog):
    async with serve(polite()) as server, new_client(server) as client:
        await within(asyncio.gather(*await held_back(client, 200)))
    assert 1 <= len(warnings(caplog)) < 10


async def test_a_logger_of_ones_own(caplog):
    mine = logging.getLogger("mine")
    async with serve(polite()) as server, new_client(server, logger=mine) as client:
        await within(asyncio.gather(*await held_back(client, 11)))
    assert {record.name for record in caplog.records if "pending" in record.msg} == {
        "mine"
    }
