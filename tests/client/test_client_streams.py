"""Streams of the client: what is sent for them, what they get, and how they end."""

import asyncio
from contextlib import AsyncExitStack
from typing import Any

import pytest

from aiomqtt import (
    Client,
    MqttCodeError,
    MqttError,
    MqttLimitError,
    Properties,
    Stream,
    SubscribeOptions,
    Topic,
    Wildcard,
)
from aiomqtt.streams.identifiers import to_common_identifier, to_identifier
from tests.peer import PUBACK, SUBACK, SUBSCRIBE, UNSUBACK, UNSUBSCRIBE, serve
from tests.raw_scripts import (
    accept,
    answer,
    cancelled_after,
    expect_publish,
    gone,
    goodbye,
    lasting,
    new_client,
    polite,
    publish_bytes,
    serve_politely,
    turns,
    within,
)


def filters_of(first, body, version):
    """The filters of a SUBSCRIBE with their options, or those of an UNSUBSCRIBE."""
    rest = body[2:]
    if version == 5:
        rest = rest[1 + rest[0] :]
    found: list[Any] = []
    while rest:
        size = int.from_bytes(rest[:2], "big") + 2
        name = rest[2:size].decode()
        if first >> 4 == SUBSCRIBE:
            found.append((name, rest[size]))
            size += 1
        else:
            found.append(name)
        rest = rest[size:]
    return found


async def expect_filters(peer, kind, version=4):
    """Take a SUBSCRIBE or UNSUBSCRIBE; its filters, and an answer that grants them."""
    first, body = await peer.expect(kind)
    return filters_of(first, body, version), lambda: answer(peer, version, first, body)


def nothing_open(client):
    """Whether the client waits for nothing, and has no stream."""
    assert client._router is not None
    assert client._calls is not None
    return not client._router._queues and not client._calls._waiters


def left(context):
    return context.__aexit__(None, None, None)


async def payloads(stream, count):
    async with asyncio.timeout(10):
        return [(await anext(stream)).payload for _ in range(count)]


# --- what is sent ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("filters", "options", "sent"),
    [
        (("a",), {}, [("a", 0)]),
        (
            ("a", Wildcard("b/#"), Topic("c")),
            {"qos": 1},
            [("a", 1), ("b/#", 1), ("c", 1)],
        ),
        ((("a", 2), "b"), {"qos": 1}, [("a", 2), ("b", 1)]),
        (("a", "b", ("a", 2)), {}, [("a", 2), ("b", 0)]),
        (("$share/g/a/+",), {"qos": 1}, [("$share/g/a/+", 1)]),
    ],
)
async def test_entering_subscribes_and_leaving_unsubscribes(
    version, filters, options, sent
):
    left = asyncio.Event()

    async def script(peer):
        await accept(peer, version)
        found, grant = await expect_filters(peer, SUBSCRIBE, version)
        assert found == sent
        # Messages may come before the SUBACK.
        topic = sent[-1][0].removeprefix("$share/g/").replace("+", "x")
        peer.send(publish_bytes(topic.replace("#", "x"), b"1", version=version))
        grant()
        found, grant = await expect_filters(peer, UNSUBSCRIBE, version)
        assert found == [name for name, _ in sent]
        left.set()
        grant()
        await goodbye(peer)

    async with serve(script) as server, new_client(server, version) as client:
        async with client.stream(*filters, **options) as stream:
            assert type(stream) is Stream
            assert await payloads(stream, 1) == [b"1"]
            assert not left.is_set()
        assert left.is_set()
        assert not client._engine.session.subscriptions


async def test_options_and_properties():
    pair = b"\x26\x00\x01k\x00\x01v"

    async def script(peer):
        await accept(peer, 5)
        _, body = await peer.expect(SUBSCRIBE)
        assert body[2:] == b"\x07" + pair + b"\x00\x01a\x2d"
        peer.packet(SUBACK << 4, body[:2] + b"\x00\x01")
        await serve_politely(peer, 5)

    async with serve(script) as server, new_client(server, 5) as client:
        options = SubscribeOptions(1, True, True, 2)
        properties = Properties(user_property=[("k", "v")])
        async with client.stream("a", options=options, properties=properties):
            pass


async def test_streams_that_are_opened_together_share_packets(version):
    """NEEDS 22: a start-up storm takes few packets."""
    count = 600

    async def script(peer):
        await accept(peer, version)
        came = await serve_politely(peer, version)
        found = [filters_of(first, body, version) for first, body in came]
        assert [len(each) for each in found] == [500, 100] * 2
        for two in (found[:2], found[2:]):
            names = [
                each if isinstance(each, str) else each[0]
                for one in two
                for each in one
            ]
            assert names == [f"t/{number}" for number in range(count)]

    async with serve(script) as server, new_client(server, version) as client:
        contexts = [client.stream(f"t/{number}") for number in range(count)]
        await within(asyncio.gather(*(each.__aenter__() for each in contexts)))
        await within(asyncio.gather(*(left(each) for each in contexts)))


@pytest.mark.parametrize("whose", ["broker", "client"])
async def test_no_packet_is_too_large(whose):
    """A SUBSCRIBE for the broker, or its SUBACK for the client."""
    limits: dict[str, Any] = {}
    options: dict[str, Any] = {}
    if whose == "broker":
        limits["properties"] = b"\x27\x00\x00\x00\x64"
    else:
        options["properties"] = Properties(maximum_packet_size=20)

    async def script(peer):
        await accept(peer, 5, **limits)
        came = await serve_politely(peer, 5)
        found = [filters_of(first, body, 5) for first, body in came]
        assert sum([len(each) for each in found]) == 100
        if whose == "broker":
            assert len(found) == 2 * 25
            assert all(len(body) <= 98 for _, body in came)
        else:
            assert [len(each) for each in found] == [12, 12, 12, 12, 2] * 2

    async with serve(script) as server, new_client(server, 5, **options) as client:
        names = [
            f"{number:040}" if whose == "broker" else f"{number}"
            for number in range(50)
        ]
        async with client.stream(*names):
            pass


async def test_a_filter_stays_subscribed_while_it_is_needed(version):
    async def script(peer):
        await accept(peer, version)
        expected = [
            (SUBSCRIBE, ["plain"]),
            (SUBSCRIBE, ["a", "plain"]),
            (SUBSCRIBE, ["a", "b"]),
            (UNSUBSCRIBE, ["b"]),
            (UNSUBSCRIBE, ["a"]),
            (UNSUBSCRIBE, ["plain"]),
        ]
        for kind, names in expected:
            found, grant = await expect_filters(peer, kind, version)
            assert [
                each if isinstance(each, str) else each[0] for each in found
            ] == names
            grant()
        await goodbye(peer)

    async with serve(script) as server, new_client(server, version) as client:
        await client.subscribe("plain")
        async with client.stream("a", "plain"), client.stream("a", "b"):
            pass
        await client.unsubscribe("plain")


async def test_a_stream_keeps_what_the_program_unsubscribes_from(version):
    async def script(peer):
        await accept(peer, version)
        for kind, names in [
            (SUBSCRIBE, ["a", "b"]),
            (SUBSCRIBE, ["a"]),
            (UNSUBSCRIBE, ["b"]),
            (UNSUBSCRIBE, ["a"]),
        ]:
            found, grant = await expect_filters(peer, kind, version)
            assert [
                each if isinstance(each, str) else each[0] for each in found
            ] == names
            grant()
        await goodbye(peer)

    async with serve(script) as server, new_client(server, version) as client:
        await client.subscribe(["a", "b"])
        async with client.stream("a"):
            codes = await client.unsubscribe(["a", "b"])
            assert codes == (None if version < 5 else [0, 0])
            codes = await client.unsubscribe("a")
            assert codes == (None if version < 5 else [0])


async def test_a_stream_in_place_of_another_is_not_unsubscribed():
    """The UNSUBSCRIBE of the first would end the subscription of the second."""

    async def script(peer):
        await accept(peer)
        came = await serve_politely(peer)
        found = [(first >> 4, filters_of(first, body, 4)) for first, body in came]
        assert found == [
            (SUBSCRIBE, [("a", 0)]),
            (SUBSCRIBE, [("a", 1)]),
            (UNSUBSCRIBE, ["a"]),
        ]

    async with serve(script) as server, new_client(server) as client:
        first, second = client.stream("a"), client.stream("a", qos=1)
        await first.__aenter__()
        await within(asyncio.gather(left(first), second.__aenter__()))
        await left(second)


# --- overlapping filters (5.0) -----------------------------------------------------


def identified(came):
    """The identifier and the filters of each SUBSCRIBE, with their options."""
    found = []
    for first, body in came:
        if first >> 4 == SUBSCRIBE:
            properties = body[3 : 3 + body[2]]
            identifier = shift = 0
            for byte in properties[1:]:
                identifier |= (byte & 0x7F) << shift
                shift += 7
            found.append((identifier, filters_of(first, body, 5)))
    return found


async def subscribes(use, **connack):
    """Let a client do something; what it has subscribed to."""
    came = []

    async def script(peer):
        await accept(peer, 5, **connack)
        came.extend(await serve_politely(peer, 5))

    async with serve(script) as server, new_client(server, 5) as client:
        await within(use(client))
    return identified(came)


A_B, A_ALL, A_ANY = (to_identifier(name) for name in ("a/b", "a/#", "a/+"))


async def test_overlapping_filters_get_identifiers_when_they_have_to():
    async def use(client):
        async with (
            client.stream("a/b", "x", qos=1),
            client.stream("c/+"),
            client.stream("a/#", "a/+"),
            client.stream("c/d/e"),
        ):
            pass

    assert await subscribes(use) == [
        (0, [("a/b", 1), ("x", 1)]),
        (0, [("c/+", 0)]),
        # Renewed first, without retained messages.
        (A_B, [("a/b", 0x11)]),
        (A_ALL, [("a/#", 0)]),
        (A_ANY, [("a/+", 0)]),
        (0, [("c/d/e", 0)]),
    ]


async def test_without_identifiers_of_the_broker():
    async def use(client):
        async with client.stream("a/b"), client.stream("a/#"):
            pass

    found = await subscribes(use, properties=b"\x29\x00")
    assert found == [(0, [("a/b", 0)]), (0, [("a/#", 0)])]


async def test_calls_of_subscribe_get_identifiers_too():
    own = Properties(subscription_identifier=[7])

    async def use(client):
        await client.subscribe("a/#", 1, properties=own)
        await client.subscribe("d/#", 1)
        async with client.stream("a/b", "d/e"):
            await client.subscribe([("a/+", 2), ("z", 0)])
            await client.subscribe("+/b", properties=own)

    common = to_common_identifier(["a/+", "z"])
    assert await subscribes(use) == [
        (7, [("a/#", 1)]),
        (0, [("d/#", 1)]),
        (to_identifier("d/#"), [("d/#", 0x11)]),
        (A_B, [("a/b", 0), ("d/e", 0)]),
        (common, [("a/+", 2), ("z", 0)]),
        (7, [("+/b", 0)]),
    ]


async def test_calls_of_subscribe_that_overlap_no_stream_are_as_before():
    async def use(client):
        async with client.stream("a"):
            await client.subscribe(["b/#", "b/c"])
            await client.subscribe("b/+")

    assert await subscribes(use) == [
        (0, [("a", 0)]),
        (0, [("b/#", 0), ("b/c", 0)]),
        (0, [("b/+", 0)]),
    ]


async def test_options_of_streams_with_the_same_filter():
    """The broker has one subscription for both: it has to be enough for each."""
    quiet = SubscribeOptions(2, no_local=True, retain_handling=1)
    other = SubscribeOptions(1, retain_as_published=True)

    async def use(client):
        async with client.stream(("a", quiet)), client.stream(("a", other)):
            await client.subscribe("a")

    assert await subscribes(use) == [
        (0, [("a", 0x16)]),
        (0, [("a", 0x0A)]),
        (0, [("a", 0x0A)]),
    ]


async def test_a_refused_call_of_subscribe_wants_nothing():
    async def script(peer):
        await accept(peer, 5)
        first, body = await peer.expect(SUBSCRIBE)
        answer(peer, 5, first, body)
        _, body = await peer.expect(SUBSCRIBE)
        peer.packet(SUBACK << 4, body[:2] + b"\x00\x87")
        await expect_publish(peer, 5)
        peer.send(publish_bytes("a", b"1", version=5))
        await serve_politely(peer, 5)

    async with (
        serve(script) as server,
        new_client(server, 5) as client,
        client.stream("a") as stream,
    ):
        codes: Any = await client.subscribe("a")
        assert codes == [0x87]
        await client.publish("go")
        assert await payloads(stream, 1) == [b"1"]
        assert len(client.messages) == 0
        with pytest.raises(ValueError, match="topic filter"):
            await client.subscribe("a#")
        assert "a#" not in client._router._filters.by_name  # type: ignore[union-attr]


# --- what they get -------------------------------------------------------------------


def sends(*topics, version=4):
    """A script that sends a message for each topic when the client publishes."""

    async def script(peer):
        await accept(peer, version)
        while True:
            first, body = await peer.read_packet()
            if first >> 4 == 14:
                return peer.close()
            answer(peer, version, first, body)
            if first >> 4 == 3:
                peer.send(
                    b"".join(
                        publish_bytes(topic, topic.encode(), version=version)
                        for topic in topics
                    )
                )

    return script


async def test_each_stream_gets_its_messages_and_nobody_elses(version):
    script = sends("a/1", "b", "a/2/x", "c", version=version)
    async with (
        serve(script) as server,
        new_client(server, version) as client,
        client.stream("a/#", "b") as one,
        client.stream("a/+", "a/1") as two,
    ):
        await client.publish("go", qos=1)
        assert await payloads(one, 3) == [b"a/1", b"b", b"a/2/x"]
        assert await payloads(two, 1) == [b"a/1"]
        assert await payloads(client.messages, 1) == [b"c"]
        assert len(one) == len(two) == len(client.messages) == 0


async def test_trap_3_messages_that_come_first_are_held_for_the_stream():
    """NEEDS 13, trap 3: replayed right after the CONNACK, before there is a stream."""

    async def script(peer):
        await accept(peer, 4, session_present=True)
        for number in range(1, 4):
            peer.send(publish_bytes(f"t/{number % 2}", bytes([number]), 1, number))
        for _ in range(3):
            await peer.expect(PUBACK)
        first, body = await peer.expect(SUBSCRIBE)
        peer.send(publish_bytes("t/1", b"\x04"))
        answer(peer, 4, first, body)
        await serve_politely(peer)

    async with serve(script) as server, lasting(server, 4) as client:
        client._engine.session.identify("me", True)
        async with asyncio.timeout(10):
            while len(client.messages) < 3:  # noqa: ASYNC110
                await asyncio.sleep(0.001)
        async with client.stream("t/1") as stream:
            assert await payloads(stream, 3) == [b"\x01", b"\x03", b"\x04"]
            assert await payloads(client.messages, 1) == [b"\x02"]


async def test_a_full_stream_pauses_reading_and_goes_on():
    count = 500

    async def script(peer):
        await accept(peer)
        first, body = await peer.expect(SUBSCRIBE)
        answer(peer, 4, first, body)
        for number in range(count):
            peer.send(publish_bytes("a", number.to_bytes(2, "big")))
            peer.send(publish_bytes("b", b""))
        await serve_politely(peer)

    async with (
        serve(script) as server,
        new_client(server) as client,
        client.stream("a", max_messages=10) as stream,
    ):
        found = await payloads(stream, count)
        assert found == [number.to_bytes(2, "big") for number in range(count)]
        assert stream.discarded == 0
        await payloads(client.messages, count)


async def test_the_size_of_what_waits_is_bounded():
    async def script(peer):
        await accept(peer)
        first, body = await peer.expect(SUBSCRIBE)
        answer(peer, 4, first, body)
        for _ in range(200):
            peer.send(publish_bytes("a", bytes(100_000)))
        await serve_politely(peer)

    async with (
        serve(script) as server,
        new_client(server) as client,
        client.stream("a", max_bytes=1_000_000) as stream,
    ):
        async with asyncio.timeout(10):
            for _ in range(20):
                for _ in range(10):
                    await anext(stream)
                    assert stream._stream._bytes < 2_500_000
                await turns(10)


# --- what fails -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "options", "error", "match"),
    [
        ((), {}, ValueError, "at least one topic filter"),
        (("",), {}, ValueError, "topic filter"),
        (("a#",), {}, ValueError, "topic filter"),
        (("$share/g",), {}, ValueError, "topic filter"),
        ((1,), {}, TypeError, "topic must be str"),
        ((["a"],), {}, TypeError, "topic must be str"),
        (("a",), {"qos": 3}, ValueError, "qos"),
        (("a",), {"options": 1}, TypeError, "options"),
        (("a",), {"qos": 1, "options": SubscribeOptions()}, ValueError, "combined"),
        (
            ("a",),
            {"properties": Properties(user_property=[("k", "v")])},
            ValueError,
            "5.0",
        ),
        (
            ("a",),
            {"properties": Properties(subscription_identifier=[1])},
            ValueError,
            "subscription_identifier",
        ),
        (("a",), {"max_messages": 0}, ValueError, "max_messages must be at least 1"),
        (("a",), {"max_messages": "1"}, TypeError, "max_messages"),
        (("a",), {"max_bytes": -1}, ValueError, "max_bytes must be at least 1"),
        (("a",), {"timeout": "1"}, TypeError, "timeout"),
    ],
)
def test_wrong_arguments(arguments, options, error, match):
    client = Client("localhost")
    with pytest.raises(error, match=match):
        client.stream(*arguments, **options)
    assert client._router is None


async def test_without_a_connection():
    async with serve(polite()) as server:
        client = new_client(server)
        with pytest.raises(MqttCodeError, match="not currently connected"):
            await client.stream("a").__aenter__()
        async with client:
            pass
        with pytest.raises(MqttCodeError, match="not currently connected"):
            await client.stream("a").__aenter__()


@pytest.mark.parametrize("level", [4, 5])
async def test_a_refused_filter_raises_and_the_others_are_ended(level):
    """NEEDS 17: the error says which filter, and why."""
    code = 0x80 if level == 4 else 0x87

    async def script(peer):
        await accept(peer, level)
        _, body = await peer.expect(SUBSCRIBE)
        none = b"\x00" if level == 5 else b""
        peer.send(publish_bytes("a", b"early", version=level))
        peer.packet(SUBACK << 4, body[:2] + none + bytes([0, code]))
        found, grant = await expect_filters(peer, UNSUBSCRIBE, level)
        assert found == ["a", "b/#"]
        grant()
        await serve_politely(peer, level)

    async with serve(script) as server, new_client(server, level) as client:
        name = "Failure" if level == 4 else "Not authorized"
        with pytest.raises(
            MqttCodeError, match=f"subscribe to 'b/#' .{name}"
        ) as caught:
            await client.stream("a", "b/#").__aenter__()
        assert caught.value.rc == code
        assert await payloads(client.messages, 1) == [b"early"]
        async with client.stream("a"):
            pass


async def test_one_stream_that_the_broker_does_not_allow_fails_alone():
    async def script(peer):
        await accept(peer, 5, properties=b"\x28\x00")
        await serve_politely(peer, 5)

    async with serve(script) as server, new_client(server, 5) as client:
        good, bad = client.stream("a"), client.stream("b/#")
        results = await within(
            asyncio.gather(good.__aenter__(), bad.__aenter__(), return_exceptions=True)
        )
        assert isinstance(results[0], Stream)
        assert isinstance(results[1], MqttLimitError)
        await left(good)


async def test_a_timeout_ends_what_may_have_been_subscribed():
    async def script(peer):
        await accept(peer)
        await peer.expect(SUBSCRIBE)
        peer.send(publish_bytes("a", b"1"))
        await expect_publish(peer)
        found, _ = await expect_filters(peer, UNSUBSCRIBE)
        assert found == ["a"]
        await gone(peer)

    async with serve(script) as server, new_client(server) as client:
        entering = asyncio.create_task(client.stream("a", timeout=0.05).__aenter__())
        await turns()
        await client.publish("t")
        with pytest.raises(MqttError, match="timed out") as caught:
            await within(entering)
        assert "no SUBACK came within 0.05" in str(caught.value.__cause__)
        assert await payloads(client.messages, 1) == [b"1"]
        assert nothing_open(client)


async def test_cancelled_at_every_step():
    """NEEDS 4: nothing is lost, and the client works on."""
    for steps in range(12):

        async def script(peer):
            await accept(peer)
            peer.send(publish_bytes("a", b"1"))
            await serve_politely(peer)

        async def use(client):
            async with client.stream("a") as stream:
                await anext(stream)
                await asyncio.Event().wait()

        async with serve(script) as server, new_client(server) as client:
            task = await cancelled_after(steps, use(client))
            assert task.cancelled()
            async with client.stream("a"):
                pass
            assert nothing_open(client)
            assert not client._engine.session.subscriptions


async def test_the_end_of_the_connection_ends_every_stream(version):
    async def script(peer):
        await accept(peer, version)
        first, body = await peer.expect(SUBSCRIBE)
        answer(peer, version, first, body)
        first, body = await peer.expect(SUBSCRIBE)
        peer.send(publish_bytes("a", b"1", version=version))
        peer.close()

    async with serve(script) as server, new_client(server, version) as client:
        async with client.stream("a") as stream:
            with pytest.raises(MqttError):
                await client.stream("b").__aenter__()
            assert await payloads(stream, 1) == [b"1"]
            with pytest.raises(
                MqttError, match="Disconnected during message iteration"
            ):
                await anext(stream)
        with pytest.raises(MqttError):
            await client.stream("b").__aenter__()


async def test_streams_work_again_after_the_client_is_entered_again():
    async def script(peer):
        await accept(peer)
        first, body = await peer.expect(SUBSCRIBE)
        answer(peer, 4, first, body)
        peer.send(publish_bytes("a", b"1"))
        await serve_politely(peer)

    async with serve(script, script) as server:
        client = new_client(server)
        for _ in range(2):
            async with client, client.stream("a") as stream:
                assert await payloads(stream, 1) == [b"1"]
        with pytest.raises(MqttError):
            await anext(stream)


async def test_a_stream_that_outlives_its_client_unsubscribes_nothing():
    """Also if the client is entered again meanwhile."""

    async def script(peer):
        await accept(peer)
        came = await serve_politely(peer)
        assert [first >> 4 for first, _ in came] in ([SUBSCRIBE], [])

    async with serve(script, script) as server, AsyncExitStack() as stack:
        client = new_client(server)
        async with client:
            stream = await stack.enter_async_context(client.stream("a"))
        async with client:
            await stack.aclose()
            with pytest.raises(MqttError):
                await anext(stream)


async def test_a_left_stream_raises():
    async with serve(polite()) as server, new_client(server) as client:
        async with client.stream("a") as stream:
            waiting = asyncio.create_task(anext(stream))
            await turns()
        with pytest.raises(MqttError) as caught:
            await within(waiting)
        assert str(caught.value.__cause__) == "The stream was left"


async def test_an_exception_in_the_body_unsubscribes_without_waiting():
    async def script(peer):
        await accept(peer)
        first, body = await peer.expect(SUBSCRIBE)
        answer(peer, 4, first, body)
        found, _ = await expect_filters(peer, UNSUBSCRIBE)
        assert found == ["a"]
        await goodbye(peer)

    async with serve(script) as server:
        with pytest.raises(ZeroDivisionError):
            async with new_client(server) as client, client.stream("a"):
                raise ZeroDivisionError


async def test_a_missing_unsuback_does_not_fail():
    async def script(peer):
        await accept(peer)
        first, body = await peer.expect(SUBSCRIBE)
        answer(peer, 4, first, body)
        await peer.expect(UNSUBSCRIBE)
        await goodbye(peer)

    async with serve(script) as server, new_client(server) as client:
        async with client.stream("a"):
            client.timeout = 0.05
        assert nothing_open(client)
        client.timeout = 10


async def test_an_unsuback_for_what_is_wanted_again():
    """It must not remove the route of the stream that came meanwhile."""

    async def script(peer):
        await accept(peer)
        first, body = await peer.expect(SUBSCRIBE)
        answer(peer, 4, first, body)
        _, unsubscribe = await peer.expect(UNSUBSCRIBE)
        first, body = await peer.expect(SUBSCRIBE)
        peer.packet(UNSUBACK << 4, unsubscribe[:2])
        answer(peer, 4, first, body)
        peer.send(publish_bytes("a", b"1"))
        await serve_politely(peer)

    async with serve(script) as server, new_client(server) as client:
        context = client.stream("a")
        await context.__aenter__()
        leaving = asyncio.create_task(left(context))
        await turns(5)
        async with client.stream("a") as stream:
            await within(leaving)
            assert await payloads(stream, 1) == [b"1"]


async def test_calls_beyond_the_maximum_wait():
    async with serve(polite()) as server:
        client = new_client(server, max_concurrent_outgoing_calls=1)
        async with client, AsyncExitStack() as stack:
            contexts = [client.stream(name) for name in "abc"]
            await within(
                asyncio.gather(*(stack.enter_async_context(each) for each in contexts))
            )
            assert not client._call_slots.locked()  # type: ignore[union-attr]
