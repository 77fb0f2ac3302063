"""Subscribing and unsubscribing: all forms of the arguments, what comes back."""

import asyncio
import math
from typing import Any

import pytest
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties as PahoProperties
from paho.mqtt.subscribeoptions import SubscribeOptions as PahoSubscribeOptions

from aiomqtt import (
    MqttCodeError,
    MqttError,
    MqttLimitError,
    Properties,
    ReasonCode,
    SubscribeOptions,
    Topic,
    Wildcard,
)
from tests.peer import (
    PUBACK,
    SUBACK,
    SUBSCRIBE,
    UNSUBACK,
    UNSUBSCRIBE,
    serve,
)
from tests.raw_scripts import (
    accept,
    ack_bytes,
    expect_publish,
    goodbye,
    new_client,
    text,
    turns,
    within,
)

# --- what leaves ---------------------------------------------------------------

FORMS = [
    # arguments of subscribe, the filters on the wire with their options' byte
    (("a",), [("a", 0)]),
    (("a/+/b", 1), [("a/+/b", 1)]),
    (("#", 2), [("#", 2)]),
    ((Wildcard("a/#"), 1), [("a/#", 1)]),
    ((Topic("a"), 1), [("a", 1)]),
    (([Topic("a"), (Wildcard("b/#"), 2), "c"],), [("a", 0), ("b/#", 2), ("c", 0)]),
    ((("a", 1),), [("a", 1)]),
    ((["a", "b"], 1), [("a", 1), ("b", 1)]),
    (([("a", 0), ("b", 1), ("c", 2)],), [("a", 0), ("b", 1), ("c", 2)]),
    (([("a", 2), "b"], 1), [("a", 2), ("b", 1)]),
]
FORMS_5 = [
    (("a", 0, SubscribeOptions(1, True, True, 2)), [("a", 0x2D)]),
    (("a", 0, PahoSubscribeOptions(1, True, True, 2)), [("a", 0x2D)]),
    ((("a", SubscribeOptions(2)),), [("a", 0x02)]),
    ((("a", PahoSubscribeOptions(2)),), [("a", 0x02)]),
    (((Wildcard("+"), SubscribeOptions(2)),), [("+", 0x02)]),
    (
        (
            [
                ("a", SubscribeOptions(0, no_local=True)),
                ("b", SubscribeOptions(1, retain_as_published=True)),
                ("c", SubscribeOptions(2, retain_handling=1)),
            ],
        ),
        [("a", 0x04), ("b", 0x09), ("c", 0x12)],
    ),
    ((["a", "b"], 0, SubscribeOptions(1, True)), [("a", 5), ("b", 5)]),
    (("$share/group/a/#", 1), [("$share/group/a/#", 1)]),
]


@pytest.mark.conformance("3.1.1", "MQTT-3.8.1-1", "MQTT-3-8.3-4", "MQTT-3.8.3-1")
@pytest.mark.parametrize("forms", [FORMS, FORMS_5], ids=["all versions", "5.0"])
async def test_all_forms_of_subscribe(version, forms):
    if forms is FORMS_5 and version < 5:
        return
    none = b"\x00" if version == 5 else b""

    async def script(peer):
        await accept(peer, version)
        for number, (_, filters) in enumerate(forms, 1):
            packet_id = number.to_bytes(2, "big")
            payload = b"".join(text(name) + bytes([byte]) for name, byte in filters)
            assert await peer.expect(SUBSCRIBE) == (0x82, packet_id + none + payload)
            granted = bytes(byte & 3 for _, byte in filters)
            peer.packet(SUBACK << 4, packet_id + none + granted)
        await goodbye(peer)

    async with serve(script) as server, new_client(server, version) as client:
        for arguments, filters in forms:
            granted = await client.subscribe(*arguments)
            assert list(granted) == [byte & 3 for _, byte in filters]
            assert type(granted) is (list if version == 5 else tuple)


@pytest.mark.conformance("3.1.1", "MQTT-3.10.1-1")
@pytest.mark.parametrize(
    "topics",
    [
        "a",
        ["a"],
        ["a", "b/#"],
        ("a", "b"),
        Wildcard("+"),
        Topic("a"),
        [Topic("a"), Wildcard("b/#"), "c"],
    ],
)
async def test_all_forms_of_unsubscribe(version, topics):
    none = b"\x00" if version == 5 else b""
    names = [topics] if isinstance(topics, str | Wildcard) else topics
    filters = b"".join(text(str(name)) for name in names)

    async def script(peer):
        await accept(peer, version)
        first, body = await peer.expect(UNSUBSCRIBE)
        assert (first, body) == (0xA2, b"\x00\x01" + none + filters)
        codes = bytes(len(names)) if version == 5 else b""
        peer.packet(UNSUBACK << 4, b"\x00\x01" + none + codes)
        await goodbye(peer)

    async with serve(script) as server, new_client(server, version) as client:
        await client.unsubscribe(topics)


@pytest.mark.parametrize("whose", ["ours", "paho's"])
async def test_properties(whose):
    if whose == "ours":
        asked: Any = Properties(subscription_identifier=[7], user_property=[("k", "v")])
        ended: Any = Properties(user_property=[("k", "v")])
    else:
        asked = PahoProperties(PacketTypes.SUBSCRIBE)
        asked.SubscriptionIdentifier = 7
        asked.UserProperty = ("k", "v")
        ended = PahoProperties(PacketTypes.UNSUBSCRIBE)
        ended.UserProperty = ("k", "v")
    pair = b"\x26\x00\x01k\x00\x01v"

    async def script(peer):
        await accept(peer, 5)
        _, body = await peer.expect(SUBSCRIBE)
        assert body in (
            b"\x00\x01\x09\x0b\x07" + pair + b"\x00\x01a\x00",
            b"\x00\x01\x09" + pair + b"\x0b\x07" + b"\x00\x01a\x00",
        )
        peer.packet(SUBACK << 4, b"\x00\x01\x00\x00")
        _, body = await peer.expect(UNSUBSCRIBE)
        assert body == b"\x00\x02\x07" + pair + b"\x00\x01a"
        peer.packet(UNSUBACK << 4, b"\x00\x02\x00\x00")
        await goodbye(peer)

    async with serve(script) as server, new_client(server, 5) as client:
        await client.subscribe("a", properties=asked)
        await client.unsubscribe("a", properties=ended)


# --- what comes back -----------------------------------------------------------


@pytest.mark.conformance("5.0", "MQTT-3.9.3-1")
@pytest.mark.conformance("3.1.1", "MQTT-3.9.3-1")
async def test_what_was_granted_in_the_order_of_the_filters(version):
    codes = b"\x02\x00\x80\x01" if version < 5 else b"\x02\x87\x00\x8f"
    none = b"\x00" if version == 5 else b""

    async def script(peer):
        await accept(peer, version)
        await peer.expect(SUBSCRIBE)
        peer.packet(SUBACK << 4, b"\x00\x01" + none + codes)
        await goodbye(peer)

    async with serve(script) as server, new_client(server, version) as client:
        granted = await client.subscribe([(name, 2) for name in "abcd"])
        assert list(granted) == list(codes)
        if version == 5:
            assert isinstance(granted, list)
            assert all(isinstance(code, ReasonCode) for code in granted)
            assert [code.is_failure for code in granted] == [False, True, False, True]
            assert str(granted[1]) == "Not authorized"
            assert granted[1].value == 0x87
        else:
            assert granted == tuple(codes)


REFUSED = {4: [0, 0x80, 0x80], 5: [0, 0x87, 0x9E]}


@pytest.mark.parametrize("level", [4, 5], ids=["3.1.1", "5.0"])
async def test_a_refused_subscribe_is_logged(caplog, level):
    async def script(peer):
        await accept(peer, level)
        await peer.expect(SUBSCRIBE)
        properties = b"\x00" if level == 5 else b""
        peer.packet(SUBACK << 4, b"\x00\x01" + properties + bytes(REFUSED[level]))
        await goodbye(peer)

    async with serve(script) as server, new_client(server, level) as client:
        await within(client.subscribe(["a", "b\u202e", "x" * 1000]))
    lines = [record.getMessage() for record in caplog.records]
    assert [record.levelname for record in caplog.records] == ["WARNING"] * 2
    name = "Failure" if level == 4 else "Not authorized"
    assert lines[0] == f"The broker refused to subscribe to 'b\\u202e': {name}"
    assert lines[1].startswith("The broker refused to subscribe to 'xxx")
    assert len(lines[1]) < 300


async def test_of_many_refused_filters_some_are_logged(caplog):
    async def script(peer):
        await accept(peer, 5)
        await peer.expect(SUBSCRIBE)
        peer.packet(SUBACK << 4, b"\x00\x01\x00" + b"\x87" * 100)
        await goodbye(peer)

    async with serve(script) as server, new_client(server, 5) as client:
        await within(client.subscribe([f"t/{number}" for number in range(100)]))
    assert len(caplog.records) == 11
    assert "to subscribe to 90 more" in caplog.records[-1].getMessage()


async def test_a_refusal_that_comes_too_late_is_logged(caplog):
    answer = asyncio.Event()

    async def script(peer):
        await accept(peer, 5)
        await peer.expect(SUBSCRIBE)
        await answer.wait()
        peer.packet(SUBACK << 4, b"\x00\x01\x00\x87")
        await expect_publish(peer, 5)
        peer.send(ack_bytes(PUBACK, 2))
        await goodbye(peer)

    async with serve(script) as server, new_client(server, 5) as client:
        with pytest.raises(MqttError, match="timed out"):
            await client.subscribe("a", timeout=0.01)
        answer.set()
        await within(client.publish("t", qos=1))  # its answer comes behind
    assert "refused to subscribe to 'a'" in caplog.text


async def test_what_an_unsuback_says_is_returned(version, caplog):
    async def script(peer):
        await accept(peer, version)
        await peer.expect(UNSUBSCRIBE)
        codes = b"\x00\x00\x11\x87" if version == 5 else b""
        peer.packet(UNSUBACK << 4, b"\x00\x01" + codes)
        await goodbye(peer)

    async with serve(script) as server, new_client(server, version) as client:
        codes = await within(client.unsubscribe(["a", "b", "c"]))
    if version < 5:
        assert codes is None
        return
    assert codes == [0, 0x11, 0x87]
    assert isinstance(codes[0], ReasonCode)
    assert "refused to unsubscribe from 'c': Not authorized" in caplog.text
    assert len(caplog.records) == 1


@pytest.mark.conformance("5.0", "MQTT-3.11.3-1")
async def test_an_unsuback_that_refuses_is_no_error_of_the_connection():
    async def script(peer):
        await accept(peer, 5)
        await peer.expect(UNSUBSCRIBE)
        peer.packet(UNSUBACK << 4, b"\x00\x01\x00\x00\x11")
        await goodbye(peer)

    async with serve(script) as server, new_client(server, 5) as client:
        await client.unsubscribe(["a", "b"])
        assert client.is_connected()


async def test_answers_find_their_calls_in_any_order(version):
    none = b"\x00" if version == 5 else b""

    async def script(peer):
        await accept(peer, version)
        asked = [(await peer.expect(SUBSCRIBE))[1] for _ in range(3)]
        for body in reversed(asked):
            # The filter is a digit, and so is what is granted.
            peer.packet(SUBACK << 4, body[:2] + none + bytes([int(body[-2:-1])]))
        await goodbye(peer)

    async with serve(script) as server, new_client(server, version) as client:
        granted = await within(
            asyncio.gather(*(client.subscribe(str(qos), qos) for qos in (0, 1, 2)))
        )
        assert [list(one) for one in granted] == [[0], [1], [2]]


@pytest.mark.conformance("5.0", "MQTT-2.2.1-6")
@pytest.mark.conformance("3.1.1", "MQTT-2.3.1-7")
async def test_an_answer_that_nobody_asked_for_resolves_nobody(version):
    none = b"\x00" if version == 5 else b""

    async def script(peer):
        await accept(peer, version)
        await peer.expect(SUBSCRIBE)
        peer.packet(SUBACK << 4, b"\x00\x09" + none + b"\x02")
        peer.packet(SUBACK << 4, b"\x00\x01" + none + b"\x01")
        await goodbye(peer)

    async with serve(script) as server, new_client(server, version) as client:
        assert list(await within(client.subscribe("a", 1))) == [1]


# --- what it raises ------------------------------------------------------------


@pytest.mark.conformance("5.0", "MQTT-3.8.4-6", "MQTT-3.8.4-7", "MQTT-3.9.3-2")
@pytest.mark.conformance("5.0", "MQTT-3.11.3-2")
@pytest.mark.conformance("3.1.1", "MQTT-3.8.4-5", "MQTT-3.9.3-2")
@pytest.mark.parametrize(
    ("call", "kind", "codes"),
    [
        ("subscribe", SUBACK, b"\x00"),
        ("subscribe", SUBACK, b"\x00\x00\x00"),
        ("subscribe", SUBACK, b""),
        ("subscribe", SUBACK, b"\x00\x03"),
        ("subscribe", SUBACK, b"\x00\x7f"),
        ("subscribe", UNSUBACK, b"\x00\x00"),
        ("unsubscribe", SUBACK, b"\x00\x00"),
        ("unsubscribe", UNSUBACK, b"\x00\x01"),
    ],
)
async def test_an_answer_that_does_not_fit_ends_the_connection(
    version, call, kind, codes
):
    none = b"\x00" if version == 5 else b""

    async def script(peer):
        await accept(peer, version)
        await peer.read_packet()
        peer.packet(kind << 4, b"\x00\x01" + none + codes)
        if version == 5:
            first, body = await peer.read_packet("DISCONNECT")
            assert first == 0xE0
            assert body[0] in (0x81, 0x82)
        await peer.expect_end()
        peer.close()

    async with serve(script) as server:
        client = new_client(server, version)
        with pytest.raises(MqttCodeError) as caught:
            async with client:
                await within(getattr(client, call)(["a", "b"]))
        assert caught.value.reason_code in (0x81, 0x82)


@pytest.mark.parametrize("call", ["subscribe", "unsubscribe"])
async def test_a_timeout(version, call):
    async def script(peer):
        await accept(peer, version)
        _, body = await peer.read_packet()
        assert body[:2] == b"\x00\x01"
        # The first identifier is in use until its answer comes.
        _, body = await peer.read_packet()
        assert body[:2] == b"\x00\x02"
        await goodbye(peer)

    async with serve(script) as server, new_client(server, version) as client:
        with pytest.raises(MqttError) as caught:
            await within(getattr(client, call)("a", timeout=0.01))
        assert str(caught.value) == "Operation timed out"
        client.timeout = 0.01
        with pytest.raises(MqttError, match="^Operation timed out$"):
            await within(getattr(client, call)("a"))
        client.timeout = 5


@pytest.mark.parametrize("call", ["subscribe", "unsubscribe"])
async def test_it_can_wait_forever(call):
    answer = asyncio.Event()

    async def script(peer):
        await accept(peer)
        first, _ = await peer.read_packet()
        await answer.wait()
        if first >> 4 == SUBSCRIBE:
            peer.packet(SUBACK << 4, b"\x00\x01\x00")
        else:
            peer.packet(UNSUBACK << 4, b"\x00\x01")
        await goodbye(peer)

    async with serve(script) as server, new_client(server) as client:
        client.timeout = 0.01
        task = asyncio.create_task(getattr(client, call)("a", timeout=math.inf))
        await asyncio.sleep(0.05)
        assert not task.done()
        answer.set()
        await within(task)
        client.timeout = 5


async def test_a_late_answer_is_harmless(version):
    none = b"\x00" if version == 5 else b""
    late = asyncio.Event()

    async def script(peer):
        await accept(peer, version)
        await peer.expect(SUBSCRIBE)
        await late.wait()
        peer.packet(SUBACK << 4, b"\x00\x01" + none + b"\x00")
        await peer.expect(SUBSCRIBE)
        peer.packet(SUBACK << 4, b"\x00\x02" + none + b"\x01")
        await goodbye(peer)

    async with serve(script) as server, new_client(server, version) as client:
        with pytest.raises(MqttError, match="timed out"):
            await within(client.subscribe("a", timeout=0.01))
        late.set()
        await turns()
        assert list(await client.subscribe("b", 1)) == [1]


LIMITS = [
    (b"\x28\x00", "a/#", {}, 0xA2),
    (b"\x2a\x00", "$share/g/a", {}, 0x9E),
    (b"\x29\x00", "a", {"properties": Properties(subscription_identifier=[1])}, 0xA1),
    (b"\x27\x00\x00\x00\x14", "a" * 30, {}, 0x95),
]


@pytest.mark.conformance("5.0", "MQTT-3.2.2-15")
@pytest.mark.parametrize(("limit", "topic", "options", "code"), LIMITS)
async def test_what_the_broker_does_not_offer(limit, topic, options, code):
    async def script(peer):
        await accept(peer, 5, properties=limit)
        await goodbye(peer)

    async with serve(script) as server, new_client(server, 5) as client:
        with pytest.raises(MqttLimitError) as caught:
            await client.subscribe(topic, **options)
        assert caught.value.rc == code


async def test_identifiers_are_shared_with_publish(version):
    """Trap 5: a SUBSCRIBE never takes the identifier of a PUBLISH in flight."""
    none = b"\x00" if version == 5 else b""

    async def script(peer):
        await accept(peer, version)
        published = await expect_publish(peer, version)
        _, subscribed = await peer.expect(SUBSCRIBE)
        again = await expect_publish(peer, version)
        assert published.packet_id == 1
        assert subscribed[:2] == b"\x00\x02"
        assert again.packet_id == 3
        for packet_id in (1, 3):
            peer.send(ack_bytes(PUBACK, packet_id))
        peer.packet(SUBACK << 4, b"\x00\x02" + none + b"\x00")
        await goodbye(peer)

    async with serve(script) as server, new_client(server, version) as client:
        await within(
            asyncio.gather(
                client.publish("a", b"", 1),
                client.subscribe("a"),
                client.publish("a", b"", 1),
            )
        )
