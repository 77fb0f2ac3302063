"""Calls that outlast a connection: they wait for the next one."""

import asyncio
import math
from typing import Any

import pytest

from aiomqtt import Client, MqttError, Publication
from tests.continuous import continuous, dial, enter, watch_of
from tests.driving import calls_of, driver_of
from tests.peer import (
    CONNECT,
    DISCONNECT,
    PUBACK,
    PUBLISH,
    PUBREL,
    SUBACK,
    SUBSCRIBE,
    UNSUBSCRIBE,
    serve,
)
from tests.raw_scripts import (
    SMALL_SEND_BUFFER,
    accept,
    ack_bytes,
    all_done,
    answer,
    expect_publish,
    gone,
    lasting,
    new_client,
    polite,
    publish_bytes,
    serve_politely,
    stop_reading,
    take_apart,
    turns,
    within,
)


def leaves_nothing(client: Any) -> None:
    """No call waits, and nothing would be sent on the next connection."""
    calls = client._calls
    assert calls.waiting == 0
    assert calls.waiting_for_room == 0
    assert client.pending_messages() == ()


async def cut_when_told(peer):
    await accept(peer)
    await peer.expect(PUBLISH)
    peer.abort()


async def lose(client: Client) -> None:
    """Have `cut_when_told` end the connection."""
    await client.publish("cut")
    await watch_of(client).wait_until_lost()


# --- how connections end ----------------------------------------------------------


async def reset(peer):
    peer.abort()


async def close(peer):
    peer.close()


async def disconnect(peer):
    """Server shutting down: 5.0 only."""
    peer.packet(DISCONNECT << 4, b"\x8b\x00")
    peer.close()


async def break_a_rule(peer):
    peer.send(b"\xf0\x00")
    await gone(peer)


async def fall_silent(peer):
    """No PINGRESP comes."""
    await gone(peer)


ENDS = [reset, close, disconnect, break_a_rule, fall_silent]
each_end = pytest.mark.parametrize("end", ENDS)


def options_for(end: Any) -> dict[str, Any]:
    return {"keepalive": 1} if end is fall_silent else {}


# --- calls that wait for an answer ------------------------------------------------


@each_end
@pytest.mark.parametrize("qos", [1, 2])
async def test_a_publish_completes_on_the_next_connection(qos, end):
    """Without a lasting session it is sent as a new message."""

    async def first(peer):
        await accept(peer, 5)
        assert (await expect_publish(peer, 5)).payload == b"x"
        await end(peer)

    async def second(peer):
        await accept(peer, 5)
        kind, body = await peer.expect(PUBLISH)
        published = take_apart(kind, body, 5)
        assert (published.payload, published.qos, published.dup) == (b"x", qos, False)
        answer(peer, 5, kind, body)
        await serve_politely(peer, 5)

    async with serve(first, second) as server:
        client = new_client(server, 5, **options_for(end))
        async with continuous(client) as watch:
            task = asyncio.create_task(client.publish("t", b"x", qos))
            assert isinstance(await watch.wait_until_lost(), MqttError)
            assert not task.done()
            assert calls_of(client).is_waiting_for_connection
            await dial(client)
            assert not calls_of(client).is_waiting_for_connection
            await within(task)
            leaves_nothing(client)
            assert len(watch.connacks) == 2


@pytest.mark.parametrize("version", [4, 5])
async def test_qos_2_goes_on_in_a_lasting_session_where_it_was(version):
    async def first(peer):
        await accept(peer, version)
        kind, body = await peer.expect(PUBLISH)
        answer(peer, version, kind, body)
        await peer.expect(PUBREL)
        peer.abort()

    async def second(peer):
        await accept(peer, version, session_present=True)
        kind, body = await peer.expect(PUBREL)
        answer(peer, version, kind, body)
        await serve_politely(peer, version)

    async with serve(first, second) as server:
        client = lasting(server, version)
        async with continuous(client) as watch:
            task = asyncio.create_task(client.publish("t", b"x", 2))
            await watch.wait_until_lost()
            await dial(client)
            await within(task)
            leaves_nothing(client)


@pytest.mark.parametrize("version", [3, 4, 5])
@pytest.mark.parametrize("kind", [SUBSCRIBE, UNSUBSCRIBE])
async def test_a_request_completes_on_the_next_connection(version, kind):
    async def first(peer):
        await accept(peer, version)
        await peer.expect(kind)
        peer.abort()

    async def second(peer):
        await accept(peer, version)
        first_byte, body = await peer.expect(kind)
        answer(peer, version, first_byte, body)
        await serve_politely(peer, version)

    async with serve(first, second) as server:
        client = new_client(server, version)
        async with continuous(client) as watch:
            call = client.subscribe("a", 1) if kind == SUBSCRIBE else None
            task = asyncio.create_task(call or client.unsubscribe("a"))
            await watch.wait_until_lost()
            await turns()
            assert not task.done()
            await dial(client)
            granted = await within(task)
            if kind == SUBSCRIBE:
                assert list(granted) == [1]
            leaves_nothing(client)


async def test_receipts_and_publish_many_complete_on_the_next_connection():
    count = 50

    async def first(peer):
        await accept(peer)
        for number in range(20):
            published = await expect_publish(peer)
            if number < 5:
                peer.send(ack_bytes(PUBACK, published.packet_id))
        peer.abort()

    payloads: list[bytes] = []

    async def second(peer):
        await accept(peer)
        for first_byte, body in await serve_politely(peer):
            if first_byte >> 4 == PUBLISH:
                payloads.append(take_apart(first_byte, body, 4).payload)

    async with serve(first, second) as server:
        client = new_client(server)
        async with continuous(client) as watch:
            receipt = client.publish_nowait("t", b"receipt", 1)
            waiting = asyncio.ensure_future(receipt)
            messages = [Publication("t", b"%d" % n, 1) for n in range(count)]
            task = asyncio.create_task(client.publish_many(messages, window=30))
            await watch.wait_until_lost()
            later = asyncio.ensure_future(receipt)
            await turns()
            assert not task.done()
            await dial(client)
            assert await within(task) == count
            for awaited in (waiting, later):
                await within(awaited)
            leaves_nothing(client)
    numbers = [int(payload) for payload in payloads if payload != b"receipt"]
    # QoS 1: what was not acknowledged came again, and in order.
    assert numbers == list(range(min(numbers), count))


# --- calls made without a connection ----------------------------------------------


@pytest.mark.parametrize("version", [4, 5])
async def test_calls_made_without_a_connection_wait_for_it(version):
    came: list[int] = []

    async def first(peer):
        await accept(peer, version)
        await peer.expect(PUBLISH)
        peer.abort()

    async def second(peer):
        await accept(peer, version)
        for first_byte, _ in await serve_politely(peer, version):
            came.append(first_byte >> 4)

    async with serve(first, second) as server:
        client = new_client(server, version)
        async with continuous(client):
            await lose(client)
            tasks = [
                asyncio.create_task(call)
                for call in (
                    client.publish("t", b"0"),
                    client.subscribe("a", 1),
                    client.publish("t", b"1", 1),
                    client.unsubscribe("b"),
                    client.publish("t", b"2", 2),
                )
            ]
            await turns()
            assert not any(task.done() for task in tasks)
            await dial(client)
            for task in tasks:
                await within(task)
            leaves_nothing(client)
    # Requests come first.
    assert came == [SUBSCRIBE, UNSUBSCRIBE, PUBLISH, PUBLISH, PUBLISH, PUBREL]


async def test_publishers_that_waited_for_a_slow_network_go_on_in_order():
    count, size = 40, 100_000
    are_waiting = asyncio.Event()

    async def first(peer):
        await accept(peer)
        stop_reading(peer)
        await within(are_waiting.wait())
        peer.abort()

    payloads: list[bytes] = []

    async def second(peer):
        await accept(peer)
        for first_byte, body in await serve_politely(peer):
            payloads.append(take_apart(first_byte, body, 4).payload[:1])

    async with serve(first, second) as server:
        client = new_client(server, socket_options=SMALL_SEND_BUFFER)
        async with continuous(client) as watch:
            tasks = [
                asyncio.create_task(client.publish("t", bytes([n]) * size))
                for n in range(count)
            ]
            while not calls_of(client).waiting_for_room:
                await turns(1)
            are_waiting.set()
            await watch.wait_until_lost()
            await dial(client)
            for task in tasks:
                await within(task)
    numbers = [payload[0] for payload in payloads]
    assert numbers == sorted(numbers)
    assert numbers[-1] == count - 1


async def test_messages_are_iterated_across_connections():
    async def first(peer):
        await accept(peer)
        peer.send(publish_bytes("t", b"1"))
        await peer.drain()
        peer.close()

    async def second(peer):
        await accept(peer)
        peer.send(publish_bytes("t", b"2"))
        await serve_politely(peer)

    async with serve(first, second) as server:
        client = new_client(server)
        async with continuous(client) as watch:
            assert (await within(anext(client.messages))).payload == b"1"
            task = asyncio.ensure_future(anext(client.messages))
            await watch.wait_until_lost()
            await turns()
            assert not task.done()
            await dial(client)
            assert (await within(task)).payload == b"2"


# --- subscriptions ----------------------------------------------------------------


async def test_a_refused_restoration_is_logged_and_reported(caplog):
    async def first(peer):
        await accept(peer, 5)
        first_byte, body = await peer.expect(SUBSCRIBE)
        answer(peer, 5, first_byte, body)
        await peer.expect(PUBLISH)
        peer.close()

    async def second(peer):
        await accept(peer, 5)
        _, body = await peer.expect(SUBSCRIBE)
        peer.packet(SUBACK << 4, body[:2] + b"\x00\x01\x87")
        await serve_politely(peer, 5)

    async with serve(first, second) as server:
        client = new_client(server, 5)
        async with continuous(client) as watch:
            await client.subscribe([("a", 1), ("b", 1)])
            await client.publish("t")
            await watch.wait_until_lost()
            await dial(client)
            # Its answer comes behind the SUBACK.
            await client.unsubscribe("c")
            assert watch.refused == [("b", 0x87)]
            assert client.statistics.subscriptions == 1
    assert "refused to subscribe to 'b'" in caplog.text


# --- timeouts and cancellation without a connection ---------------------------------


def waiting_calls(client: Client, timeout: float | None = None) -> list[Any]:
    many = [Publication("t", b"x", 1)]
    return [
        client.publish("t", b"0", timeout=timeout),
        client.publish("t", b"1", 1, timeout=timeout),
        client.publish("t", b"2", 2, timeout=timeout),
        client.subscribe("a", timeout=timeout),
        client.unsubscribe("a", timeout=timeout),
        client.publish_many(many, timeout=timeout),
    ]


async def nothing_comes(peer):
    await accept(peer)
    assert await serve_politely(peer) == []


async def test_timeouts_expire_without_a_connection_and_leave_nothing():
    async with serve(cut_when_told, nothing_comes) as server:
        client = new_client(server)
        async with continuous(client):
            await lose(client)
            for call in waiting_calls(client, timeout=0.01):
                with pytest.raises(MqttError, match="Operation timed out") as caught:
                    await within(call)
                assert "0.01 seconds" in str(caught.value.__cause__)
            leaves_nothing(client)
            await dial(client)


@pytest.mark.parametrize("steps", [0, 1, 3])
async def test_a_cancellation_without_a_connection_leaves_nothing(steps):
    async with serve(cut_when_told, nothing_comes) as server:
        client = new_client(server)
        async with continuous(client):
            await lose(client)
            tasks = [asyncio.create_task(call) for call in waiting_calls(client)]
            await turns(steps)
            for task in tasks:
                task.cancel()
            await within(asyncio.wait(tasks))
            assert all(task.cancelled() for task in tasks)
            leaves_nothing(client)
            await dial(client)


async def test_what_was_sent_and_is_cancelled_later_is_still_sent():
    """Its packet identifier is the session's until the acknowledgement."""

    async def first(peer):
        await accept(peer)
        await peer.expect(PUBLISH)
        await peer.expect(SUBSCRIBE)
        peer.abort()

    async def second(peer):
        await accept(peer)
        came = await serve_politely(peer)
        assert [first_byte >> 4 for first_byte, _ in came] == [PUBLISH]

    async with serve(first, second) as server:
        client = new_client(server)
        async with continuous(client) as watch:
            tasks = [
                asyncio.create_task(client.publish("t", b"x", 1)),
                asyncio.create_task(client.subscribe("a")),
            ]
            await watch.wait_until_lost()
            for task in tasks:
                task.cancel()
            await within(asyncio.wait(tasks))
            assert calls_of(client).waiting == 0
            assert len(client.pending_messages()) == 1
            await dial(client)
            await all_done(client)


async def test_a_timeout_of_what_was_sent_says_that_it_is_still_sent():
    async def first(peer):
        await accept(peer)
        await peer.expect(PUBLISH)
        peer.abort()

    async with serve(first) as server:
        client = new_client(server)
        async with continuous(client) as watch:
            call = client.publish("t", b"x", 1, timeout=0.2)
            task = asyncio.create_task(call)
            await watch.wait_until_lost()
            with pytest.raises(MqttError, match="timed out") as caught:
                await within(task)
            assert caught.value.is_in_session


async def test_a_message_dropped_without_a_connection_resolves_its_call():
    async def first(peer):
        await accept(peer)
        await peer.expect(PUBLISH)
        peer.abort()

    async with serve(first, nothing_comes) as server:
        client = new_client(server)
        async with continuous(client) as watch:
            task = asyncio.create_task(client.publish("t", b"x", 1))
            await watch.wait_until_lost()
            assert client.drop_pending() == 1
            with pytest.raises(MqttError, match="dropped"):
                await within(task)
            await dial(client)


# --- attempts ---------------------------------------------------------------------


async def test_calls_outlast_attempts_that_fail():
    async def refuse(peer):
        await peer.expect(CONNECT)
        peer.packet(0x20, b"\x00\x03")
        await gone(peer)

    async def cut_in_the_middle(peer):
        await accept(peer)
        await peer.expect(SUBSCRIBE)
        peer.abort()

    async with serve(cut_when_told, refuse, cut_in_the_middle, polite()) as server:
        client = new_client(server)
        async with continuous(client) as watch:
            await lose(client)
            tasks = [
                asyncio.create_task(client.publish("t", b"x", 1)),
                asyncio.create_task(client.subscribe("a")),
            ]
            with pytest.raises(MqttError, match="refused"):
                await dial(client)
            await dial(client)
            await watch.wait_until_lost()
            assert not any(task.done() for task in tasks)
            await dial(client)
            for task in tasks:
                await within(task)


async def test_what_happens_during_an_attempt_does_not_lose_its_connect():
    """Between `Engine.connect` and the transport, nothing is written."""

    async with serve(cut_when_told, polite()) as server:
        client = new_client(server)
        async with continuous(client) as watch:
            client.publish_nowait("t", b"dropped", 1)
            await watch.wait_until_lost()
            calls = calls_of(client)
            calls.begin_connection()
            client._engine.connect()
            # What a program may do in the meantime.
            assert client.drop_pending() == 1
            task = asyncio.create_task(client.publish("t", b"x", 1))
            request = asyncio.create_task(client.subscribe("a"))
            many = asyncio.create_task(client.publish_many([("t", b"y", 1)]))
            await turns()
            for each in (task, request, many):
                each.cancel()
            await within(asyncio.wait([task, request, many]))
            driver_of(client).flush()
            driver_of(client).hold()
            await turns()
            leaves_nothing(client)
            output = client._engine.take()
            assert b"".join(output.data)[:1] == b"\x10"
            driver_of(client).abort()
            await dial(client)
            assert client.is_connected()


# --- the end ----------------------------------------------------------------------


@pytest.mark.parametrize("is_lasting", [True, False], ids=["lasting", "not lasting"])
async def test_leaving_without_a_connection_ends_all_that_waits(is_lasting):
    async def first(peer):
        await accept(peer)
        await peer.expect(PUBLISH)
        peer.abort()

    async with serve(first) as server:
        client = (lasting if is_lasting else new_client)(server, 4)
        async with continuous(client) as watch:
            sent = asyncio.create_task(client.publish("t", b"x", 1))
            receiver = asyncio.ensure_future(anext(client.messages))
            await watch.wait_until_lost()
            tasks = [asyncio.create_task(call) for call in waiting_calls(client)]
            await turns()
        for task in [sent, *tasks]:
            with pytest.raises(MqttError, match="Disconnected"):
                await within(task)
        error = sent.exception()
        assert isinstance(error, MqttError)
        assert error.is_in_session is is_lasting
        with pytest.raises(MqttError, match="during message iteration") as caught:
            await within(receiver)
        assert caught.value.__cause__ is None
        assert len(client.pending_messages()) == is_lasting
        assert not client.is_connected()


async def test_leaving_during_an_attempt_ends_it():
    reached = asyncio.Event()

    async def never(peer):
        await peer.expect(CONNECT)
        reached.set()
        await gone(peer)

    async with serve(cut_when_told, never, polite()) as server:
        client = new_client(server)
        async with continuous(client):
            await lose(client)
            call = asyncio.create_task(client.subscribe("a", timeout=math.inf))
            attempt = asyncio.create_task(dial(client))
            await within(reached.wait())
        with pytest.raises(MqttError, match="Disconnected"):
            await within(call)
        with pytest.raises(MqttError):
            await within(attempt)
        async with continuous(client):
            await within(client.publish("t", b"x", 1))


async def test_leaving_with_a_connection_waits_for_answers_but_not_for_another():
    is_leaving = asyncio.Event()

    async def cut(peer):
        await accept(peer)
        await peer.expect(PUBLISH)
        await is_leaving.wait()
        peer.close()

    async with serve(cut) as server:
        client = new_client(server)
        async with continuous(client):
            task = asyncio.create_task(client.publish("t", b"x", 1))
            await turns()
            asyncio.get_running_loop().call_soon(is_leaving.set)
        with pytest.raises(MqttError, match="lost"):
            await within(task)
        assert client.pending_messages() == ()


async def test_after_give_up_calls_raise_its_error():
    async with serve(cut_when_told) as server:
        client = new_client(server)
        async with continuous(client):
            await lose(client)
            receiver = asyncio.ensure_future(anext(client.messages))
            tasks = [asyncio.create_task(call) for call in waiting_calls(client)]
            await turns()
            why = MqttError("no more attempts")
            calls_of(client).give_up(why)
            for task in tasks:
                with pytest.raises(MqttError, match="no more attempts"):
                    await within(task)
            with pytest.raises(MqttError, match="iteration") as caught:
                await within(receiver)
            assert caught.value.__cause__ is why
            # Later ones as well.
            for call in waiting_calls(client):
                with pytest.raises(MqttError) as caught:
                    await within(call)
                assert "not currently connected" in str(caught.value)
                assert caught.value.__cause__ is why
            leaves_nothing(client)


async def test_the_first_connection_can_be_waited_for_as_well():
    async with serve(polite()) as server:
        client = new_client(server)
        enter(client)
        task = asyncio.create_task(client.publish("t", b"x", 1))
        request = asyncio.create_task(client.subscribe("a"))
        await turns()
        assert not task.done()
        await dial(client)
        await within(task)
        await within(request)
        assert len(watch_of(client).connacks) == 1
        await client.__aexit__(None, None, None)


def test_a_closed_event_loop_ends_what_waited_for_a_connection():
    client = Client("127.0.0.1", 1)

    async def main():
        enter(client)
        asyncio.ensure_future(client.publish("t", b"x", 1))  # noqa: RUF006
        asyncio.ensure_future(client.subscribe("a"))  # noqa: RUF006
        await turns()

    asyncio.run(main())

    async def again():
        async with serve(polite()) as server:
            other = new_client(server)
            client._addresses = other._addresses
            async with continuous(client):
                await within(client.publish("t", b"y", 1))

    asyncio.run(again())
