"""Streams with real brokers: overlapping filters, retained messages, many streams."""

import asyncio
import contextlib
from typing import Any

import pytest

from aiomqtt import Client, Properties, Publication
from tests.raw_scripts import within


@pytest.fixture
def connect(broker, version):
    def make(**options):
        where = broker.name if broker.transport == "memory" else broker.host
        return Client(
            where,
            broker.port,
            transport=broker.transport,
            protocol=version,
            **options,
        )

    return make


async def everything(client, publisher, *streams):
    """The payloads that wait, once all that was sent before has come."""
    async with client.stream("last", qos=2) as last:
        await publisher.publish("last", b"", 2)
        await within(anext(last))
    return [
        [(await anext(each)).payload.decode() for _ in range(len(each))]
        for each in streams
    ]


@pytest.mark.parametrize("qos", [0, 1, 2])
async def test_each_stream_gets_each_message_once(connect, version, qos):
    """NEEDS 13: also where the broker sends one copy for each subscription."""
    async with connect() as client, connect() as publisher:
        async with (
            client.stream("t/1", qos=qos) as exact,
            client.stream("t/+", "t/#", "t/2", qos=qos) as several,
            client.stream("#", qos=qos) as every,
            client.stream("t/1", qos=qos) as same,
        ):
            for number in range(20):
                await publisher.publish(f"t/{number % 3}", str(number), 2)
            await publisher.publish("t/1/x", "deep", 2)
            await publisher.publish("other", "other", 2)
            got = await everything(client, publisher, exact, several, every, same)
        assert len(client.messages) == 0
    numbers = [str(number) for number in range(20)]
    ones = numbers[1::3]
    assert got[0] == got[3] == ones
    assert got[1] == [*numbers, "deep"]
    # Before these come the messages that other tests let this broker retain.
    wanted = [*numbers, "deep", "other"]
    assert [each for each in got[2] if each][-len(wanted) :] == wanted
    assert not {*wanted} & {*got[2][: -len(wanted) - 1]}


async def test_a_call_of_subscribe_is_like_a_stream(connect, version):
    """It gets its messages once too, whichever of them comes first."""
    async with connect() as client, connect() as publisher:
        await client.subscribe("t/#", 1)
        async with client.stream("t/1", qos=1) as stream:
            await client.subscribe([("t/+", 1), ("u", 1)])
            await publisher.publish("t/1", "1", 1)
            await publisher.publish("u", "u", 1)
            await publisher.publish("t/2", "2", 1)
            assert await everything(client, publisher, stream) == [["1"]]
            plain = await everything(client, publisher, client.messages)
        await publisher.publish("t/1", "3", 1)
        await client.unsubscribe("t/+")
        await publisher.publish("t/1", "4", 1)
        plain += await everything(client, publisher, client.messages)
    # Two calls that overlap get what the broker sends for both, as in aiomqtt 2.
    assert [*dict.fromkeys(plain[0])] == ["1", "u", "2"]
    assert [*dict.fromkeys(plain[1])] == ["3", "4"]
    assert plain[0].count("1") == 1


async def test_retained_messages_come_once_to_each_stream(connect, version):
    async with connect() as client, connect() as publisher:
        for name in ("r/1", "r/2"):
            await publisher.publish(name, name, 1, retain=True)
        try:
            async with (
                client.stream("r/1", qos=1) as one,
                client.stream("r/#", qos=1) as two,
                client.stream("r/1", "r/2", qos=1) as three,
            ):
                await publisher.publish("r/1", "live", 1)
                got = await everything(client, publisher, one, two, three)
        finally:
            for name in ("r/1", "r/2"):
                await publisher.publish(name, b"", 1, retain=True)
    assert got[0] == ["r/1", "live"]
    assert sorted(got[1]) == sorted(got[2]) == ["live", "r/1", "r/2"]


async def test_retained_messages_on_their_way_when_a_stream_opens(connect, version):
    """Each stream gets them once, whichever SUBSCRIBE has caused them."""
    names = [f"r/{number}" for number in range(20)]
    async with connect() as client, connect() as publisher:
        for name in names:
            await publisher.publish(name, name, 1, retain=True)
        try:
            async with contextlib.AsyncExitStack() as stack:
                # The first two share a SUBSCRIBE. The others are opened while the
                # messages for these come.
                streams = await asyncio.gather(
                    *[
                        stack.enter_async_context(client.stream(*filters, qos=1))
                        for filters in [("r/+", "r/1", "#"), ("r/#",)]
                    ]
                )
                streams += [
                    await stack.enter_async_context(client.stream(name, qos=1))
                    for name in names[:5]
                ]
                got = await everything(client, publisher, *streams)
        finally:
            for name in names:
                await publisher.publish(name, b"", 1, retain=True)
    # Before these come the messages that other tests let this broker retain.
    assert sorted(each for each in got[0] if each.startswith("r/")) == sorted(names)
    assert sorted(got[1]) == sorted(names)
    assert got[2:] == [[name] for name in names[:5]]


async def test_shared_subscriptions(connect, version):
    """The group gets each message once, and an overlapping stream too."""
    if version < 5:
        return
    async with connect() as client, connect() as other, connect() as publisher:
        async with (
            client.stream("$share/g/t/+", qos=1) as first,
            other.stream("$share/g/t/+", qos=1) as second,
            client.stream("t/#", qos=1) as every,
        ):
            for number in range(20):
                await publisher.publish("t/1", f"{number:02}", 1)
            got = await everything(client, publisher, first, every)
            got += await everything(other, publisher, second)
        assert len(client.messages) == len(other.messages) == 0
    numbers = [f"{number:02}" for number in range(20)]
    assert got[1] == numbers
    assert sorted(got[0] + got[2]) == numbers
    assert got[2]


async def test_the_highest_qos_of_streams_with_the_same_filter_counts(connect, version):
    async with (
        connect() as client,
        client.stream("t", qos=1) as one,
        client.stream("t", qos=0) as two,
    ):
        await client.publish("t", "1", 1)
        assert (await within(anext(one))).qos == 1
        assert (await within(anext(two))).qos == 1


async def test_trap_3_what_a_session_kept_is_held_for_the_streams(connect, version):
    """NEEDS 13, trap 3: nothing that waited at the broker is lost."""
    options: dict[str, Any] = {"identifier": f"kept-{version}"}
    if version < 5:
        options["clean_session"] = False
    else:
        options["properties"] = Properties(session_expiry_interval=60)
    async with connect(**options) as client:
        await client.subscribe([("t/#", 1), ("u", 1)])
    async with connect() as publisher:
        for number in range(50):
            await publisher.publish(f"t/{number % 2}", f"{number:02}", 1)
        await publisher.publish("u", "u", 1)
    if version == 5:
        options["clean_start"] = False
    async with connect(**options) as client, connect() as publisher:
        async with asyncio.timeout(10):
            while len(client.messages) < 51:  # noqa: ASYNC110
                await asyncio.sleep(0.001)
        async with client.stream("t/1", qos=1) as one, client.stream("t/0") as zero:
            got = await everything(client, publisher, one, zero, client.messages)
        await client.unsubscribe(["t/#", "u"])
    if version == 5:
        options["properties"] = Properties(session_expiry_interval=0)
        options["clean_start"] = True
    else:
        options["clean_session"] = True
    async with connect(**options):
        pass
    numbers = [f"{number:02}" for number in range(50)]
    assert got == [numbers[1::2], numbers[::2], ["u"]]


async def test_a_start_up_storm(mosquitto):
    """NEEDS 22: 5,000 streams and 5,000 retained messages, in few packets."""
    # Debug mode makes asyncio slow.
    count = 500 if asyncio.get_running_loop().get_debug() else 5000
    names = [f"storm/{number}" for number in range(count)]
    async with Client(mosquitto.host, mosquitto.port, timeout=30) as client:
        try:
            await client.publish_many(
                Publication(name, name, 1, retain=True) for name in names
            )
            before = client.statistics.bytes_sent
            contexts = [client.stream(name) for name in names]
            streams = await asyncio.gather(*(each.__aenter__() for each in contexts))
            sent = client.statistics.bytes_sent - before
            # At most ten packets, and nothing else.
            assert sent <= 10 * 7 + sum([3 + len(name) for name in names])
            for name, stream in zip(names, streams, strict=True):
                message = await within(anext(stream))
                assert (message.payload.decode(), message.retain) == (name, True)
                assert len(stream) == stream.discarded == 0
            await asyncio.gather(
                *(each.__aexit__(None, None, None) for each in contexts)
            )
            assert client.statistics.subscriptions == 0
            assert len(client.messages) == client.messages.discarded == 0
        finally:
            await client.publish_many(
                Publication(name, b"", 1, retain=True) for name in names
            )
