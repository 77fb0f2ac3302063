"""Streams and subscriptions of clients that reconnect while they are asked for."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from aiomqtt import (
    Client,
    ConnectionState,
    MqttCodeError,
    MqttError,
    Properties,
    ProtocolVersion,
    Reconnect,
    SubscribeOptions,
)
from aiomqtt.testing import (
    CONNACK,
    CONNECT,
    DISCONNECT,
    PUBLISH,
    SUBACK,
    SUBSCRIBE,
    UNSUBSCRIBE,
    Script,
)
from tests.raw_scripts import CEILING

KEPT_OR_LOST = pytest.mark.parametrize("is_kept", [True, False], ids=["kept", "lost"])
NOT_AUTHORIZED = 0x87


def subscribe(name, qos=0):
    """The fields of a SUBSCRIBE for one filter."""
    return {"subscriptions": [(name, SubscribeOptions(qos))]}


@asynccontextmanager
async def client_of(script: Script, **options: Any) -> AsyncIterator[Client]:
    """A client of a script, with a session, that reconnects at once."""
    async with (
        asyncio.timeout(CEILING),
        script,
        Client(
            script.name,
            transport="memory",
            identifier="me",
            protocol=ProtocolVersion.V5,
            reconnect=Reconnect(min_delay=0.001, max_delay=0.001),
            properties=Properties(session_expiry_interval=60),
            **options,
        ) as client,
    ):
        yield client


def accept(script, **fields):
    return script.expect(CONNECT).reply(CONNACK, **fields)


class Outage:
    """A time without a connection, which the test begins and ends."""

    def __init__(self, script: Script, **fields: Any) -> None:
        self._has_begun = asyncio.Event()
        self._is_over = asyncio.Event()
        script.call(self._has_begun.wait).drop_connection()
        script.expect(CONNECT).call(self._is_over.wait).reply(CONNACK, **fields)

    async def begin(self, client: Client) -> None:
        """Return when the client has noticed."""
        self._has_begun.set()
        async for change in client.states():
            if change.state is not ConnectionState.CONNECTED:
                return

    def end(self) -> None:
        """Accept the next connection."""
        self._is_over.set()


async def opened(context):
    """Open a stream in a task: its messages up to the first one."""
    async with context as stream:
        return (await anext(stream)).payload


# --- what a stream waits for when a connection ends ---------------------------------


@KEPT_OR_LOST
@pytest.mark.parametrize("reason", [0, NOT_AUTHORIZED], ids=["granted", "refused"])
async def test_opening_goes_on_with_the_next_connection(is_kept, reason):
    script = accept(Script()).expect(SUBSCRIBE, **subscribe("a")).drop_connection()
    accept(script, session_present=is_kept)
    script.expect(SUBSCRIBE, **subscribe("a")).reply(SUBACK, reason_codes=[reason])
    if not reason:
        script.send(PUBLISH, topic="a", payload=b"1")
    script.expect(UNSUBSCRIBE, filters=["a"]).reply().expect(DISCONNECT)
    async with client_of(script) as client:
        if reason:
            with pytest.raises(MqttCodeError) as caught:
                await opened(client.stream("a"))
            assert caught.value.rc == NOT_AUTHORIZED
        else:
            assert await opened(client.stream("a")) == b"1"


@KEPT_OR_LOST
async def test_an_open_stream_goes_on_with_the_next_connection(is_kept):
    script = accept(Script()).expect(SUBSCRIBE).reply()
    accept(script.close(), session_present=is_kept)
    if not is_kept:
        # This one is not answered, and the next one is.
        script.expect(SUBSCRIBE, **subscribe("a"))
        accept(script.drop_connection(), session_present=True)
        script.expect(SUBSCRIBE, **subscribe("a")).reply()
    script.send(PUBLISH, topic="a", payload=b"1")
    script.expect(UNSUBSCRIBE, filters=["a"]).reply().expect(DISCONNECT)
    async with client_of(script) as client:
        assert await opened(client.stream("a")) == b"1"


async def test_an_open_stream_ends_if_its_subscription_is_not_restored():
    script = accept(Script()).expect(SUBSCRIBE).reply()
    accept(script.close(), session_present=False)
    script.expect(SUBSCRIBE).reply(SUBACK, reason_codes=[NOT_AUTHORIZED])
    script.expect(UNSUBSCRIBE).reply().expect(DISCONNECT)
    async with client_of(script) as client:
        with pytest.raises(MqttError, match="The stream has ended"):
            await opened(client.stream("a"))


@KEPT_OR_LOST
async def test_leaving_goes_on_with_the_next_connection(is_kept):
    script = accept(Script()).expect(SUBSCRIBE).reply()
    script.expect(UNSUBSCRIBE, filters=["a"]).drop_connection()
    accept(script, session_present=is_kept)
    script.expect(UNSUBSCRIBE, filters=["a"]).reply().expect(DISCONNECT)
    async with client_of(script) as client:
        async with client.stream("a"):
            pass
        assert not client._engine.session.subscriptions


# --- what the next connection forbids -----------------------------------------------


async def test_each_stream_learns_whether_the_next_connection_forbids_it():
    script = accept(Script())
    limits = Properties(wildcard_subscription_available=0)
    outage = Outage(script, properties=limits)
    script.expect(SUBSCRIBE, **subscribe("a")).reply()
    script.send(PUBLISH, topic="a", payload=b"1")
    script.expect(UNSUBSCRIBE, filters=["a"]).reply().expect(DISCONNECT)
    async with client_of(script) as client:
        await outage.begin(client)
        # They share a SUBSCRIBE, which the next connection forbids.
        contexts = [client.stream(name) for name in ("w/+", "a", "w/+")]
        tasks = [asyncio.create_task(opened(context)) for context in contexts]
        await asyncio.sleep(0)
        outage.end()
        first, granted, second = await asyncio.gather(*tasks, return_exceptions=True)
        assert granted == b"1"
        assert isinstance(first, MqttCodeError)
        assert isinstance(second, MqttCodeError)
        assert first.rc == second.rc == 0xA2
        # Each raises its own.
        assert first is not second


async def test_a_stream_that_the_next_connection_forbids_does_not_hang():
    script = accept(Script()).expect(SUBSCRIBE).drop_connection()
    accept(script, properties=Properties(maximum_packet_size=20)).expect(DISCONNECT)
    async with client_of(script) as client:
        with pytest.raises(MqttCodeError) as caught:
            await opened(client.stream("a" * 40))
        assert caught.value.rc == 0x95


async def test_identifiers_are_left_out_where_the_next_connection_lacks_them():
    script = accept(Script()).expect(SUBSCRIBE).reply()
    script.expect(SUBSCRIBE).reply().expect(SUBSCRIBE).drop_connection()
    limits = Properties(subscription_identifier_available=0)
    accept(script, session_present=False, properties=limits)
    for _ in range(2):
        script.expect(SUBSCRIBE, subscription_identifier=()).reply()
    script.send(PUBLISH, topic="a/b", payload=b"1")
    for _ in range(2):
        script.expect(UNSUBSCRIBE).reply()
    script.expect(DISCONNECT)
    async with (
        client_of(script) as client,
        client.stream("a/b") as first,
        # It overlaps the other, so both get identifiers.
        client.stream("a/+") as second,
    ):
        assert (await anext(first)).payload == b"1"
        assert (await anext(second)).payload == b"1"


# --- who wants a filter -------------------------------------------------------------


async def test_what_was_given_up_without_a_connection_is_never_sent():
    script = accept(Script())
    outage = Outage(script)
    script.expect(SUBSCRIBE, **subscribe("b")).reply()
    script.expect(UNSUBSCRIBE, filters=["b"]).reply().expect(DISCONNECT)
    async with client_of(script) as client:
        await outage.begin(client)
        with pytest.raises(MqttError, match="timed out"):
            await opened(client.stream("a", timeout=0))
        with pytest.raises(MqttError, match="timed out"):
            await client.subscribe("b", timeout=0)
        outage.end()
        # No call of `subscribe` has "b", so leaving unsubscribes.
        async with client.stream("b"):
            pass


async def test_a_stream_stays_subscribed_when_another_call_for_it_is_cancelled():
    asked = asyncio.Event()
    gate = asyncio.Event()
    script = accept(Script()).expect(SUBSCRIBE, **subscribe("a")).reply()
    script.expect(SUBSCRIBE, **subscribe("a", 1)).drop_connection()
    # The session is lost; the call is sent again, and cancelled.
    accept(script, session_present=False)
    script.expect(SUBSCRIBE, **subscribe("a", 1)).call(asked.set).call(gate.wait)
    accept(script.drop_connection(), session_present=True)
    # The broker may not have it: the stream needs it.
    script.expect(SUBSCRIBE, **subscribe("a")).reply()
    script.send(PUBLISH, topic="a", payload=b"1").expect(DISCONNECT)
    async with client_of(script) as client, client.stream("a") as stream:
        call = asyncio.create_task(client.subscribe("a", 1))
        await asked.wait()
        call.cancel()
        await asyncio.wait((call,))
        gate.set()
        assert (await anext(stream)).payload == b"1"


async def test_unsubscribing_decides_when_its_turn_comes():
    script = accept(Script()).expect(SUBSCRIBE, **subscribe("a")).reply()
    script.expect(SUBSCRIBE, **subscribe("a")).reply()
    script.send(PUBLISH, topic="a", payload=b"1")
    script.expect(UNSUBSCRIBE, filters=["a"]).reply().expect(DISCONNECT)
    async with client_of(script, max_concurrent_outgoing_calls=1) as client:
        await client.subscribe("a")
        context = client.stream("a")
        opening = asyncio.create_task(opened(context))
        await asyncio.sleep(0)
        # The stream is opened first, so this leaves its filter alone.
        assert await client.unsubscribe("a") == [0]
        assert await opening == b"1"


async def test_a_filter_that_was_refused_is_not_wanted():
    script = accept(Script()).expect(SUBSCRIBE)
    script.reply(SUBACK, reason_codes=[NOT_AUTHORIZED])
    script.expect(SUBSCRIBE).reply()
    script.expect(UNSUBSCRIBE, filters=["a"]).reply().expect(DISCONNECT)
    async with client_of(script) as client:
        assert await client.subscribe("a") == [NOT_AUTHORIZED]
        async with client.stream("a"):
            pass
