"""Serving requests by a handler."""

import asyncio
import contextlib
import logging
from functools import partial

import pytest

from aiomqtt import (
    Broker,
    Client,
    MqttCodeError,
    MqttError,
    Properties,
)
from tests.peer import SUBSCRIBE, serve
from tests.raw_scripts import (
    CEILING,
    accept,
    new_client,
    publish_bytes,
    text,
)
from tests.until import until


def client_of(broker: Broker, **options):
    return Client(broker.name, transport="memory", protocol=5, **options)


@contextlib.asynccontextmanager
async def both():
    """A client that serves, and one that requests."""
    async with (
        asyncio.timeout(CEILING),
        Broker(None) as broker,
        client_of(broker, identifier="server") as server,
        client_of(broker, identifier="client") as client,
    ):
        yield server, client


def in_background(coroutine):
    return asyncio.get_running_loop().create_task(coroutine)


def events(caplog):
    found = []
    for record in caplog.records:
        fields = vars(record)
        if fields.get("mqtt_event") in ("handler_failed", "response_failed"):
            assert record.exc_info
            found.append((fields["mqtt_event"], fields["mqtt_topic"]))
    return found


async def test_a_hundred_requests_are_answered():
    async with both() as (server, client):

        async def answer(message):
            await asyncio.sleep(0)
            return b"re: " + message.payload

        async with server.serve("service/+", answer, concurrency=10) as serving:
            replies = await asyncio.gather(
                *(client.request(f"service/{n % 7}", str(n)) for n in range(100))
            )
            assert [reply.payload for reply in replies] == [
                f"re: {number}".encode() for number in range(100)
            ]
            await until(lambda: serving.handled == 100)
            assert (serving.failed, serving.running) == (0, 0)
        # Nobody answers any more.
        assert server.statistics.subscriptions == 0
        with pytest.raises(MqttError, match="timed out"):
            await client.request("service/1", timeout=0.05)


async def test_a_handler_may_be_a_function_and_answer_or_not():
    async with both() as (server, client):
        seen = []

        def answer(message):
            seen.append(message.payload)
            return {b"number": 7, b"text": "t", b"nothing": None}[message.payload]

        async with server.serve("service", answer):
            assert (await client.request("service", "number")).payload == b"7"
            assert (await client.request("service", "text")).payload == b"t"
            with pytest.raises(MqttError, match="timed out"):
                await client.request("service", "nothing", timeout=0.05)
        assert seen == [b"number", b"text", b"nothing"]


async def test_a_handler_may_respond_itself():
    async with both() as (server, client):

        async def answer(message):
            properties = Properties(user_property=[("status", "ok")])
            await server.respond(message, b"!", properties=properties)

        async with server.serve(["service/#", ("other", 0)], answer):
            for topic in ("service/1", "other"):
                reply = await client.request(topic)
                assert reply.properties.user_property == [("status", "ok")]


@pytest.mark.parametrize("concurrency", [1, 3])
async def test_so_many_handlers_run_at_once(concurrency):
    async with both() as (server, client):
        running: list[bytes] = []
        go_on = asyncio.Semaphore(0)

        async def answer(message):
            running.append(message.payload)
            await go_on.acquire()
            return message.payload

        async with server.serve("service", answer, concurrency=concurrency) as serving:
            requests = [
                in_background(client.request("service", str(n))) for n in range(7)
            ]
            await until(lambda: server.statistics.messages_received == 7)

            def has_running(count: int) -> bool:
                return len(running) == count

            for count in range(concurrency, 8):
                await until(partial(has_running, count))
                assert serving.running == concurrency
                go_on.release()
            for _ in range(concurrency):
                go_on.release()
            await asyncio.gather(*requests)
        # In their order.
        assert running == [str(n).encode() for n in range(7)]


async def test_a_handler_that_raises_is_logged_and_the_others_are_answered(caplog):
    caplog.set_level(logging.WARNING, "mqtt")

    async def answer(message):
        if message.payload == b"raise":
            raise ZeroDivisionError
        if message.payload == b"cancelled":
            raise asyncio.CancelledError
        if message.payload == b"wrong":
            return object()
        return b"fine"

    async with (
        both() as (server, client),
        server.serve("service/#", answer) as serving,
    ):
        for wrong in (b"raise", b"cancelled", b"wrong"):
            with pytest.raises(MqttError, match="timed out"):
                await client.request("service/\n", wrong, timeout=0.05)
        assert (await client.request("service/1", b"")).payload == b"fine"
        # It asks for no response, and gets one.
        await client.publish("service/2", b"", 1)
        await until(lambda: serving.failed == 4)
    assert events(caplog) == [
        ("handler_failed", r"service/\n"),
        ("handler_failed", r"service/\n"),
        ("response_failed", r"service/\n"),
        ("response_failed", "service/2"),
    ]
    assert "a request on service/\\n is not answered" in caplog.messages[0]


async def test_leaving_waits_until_all_that_came_is_answered():
    async with both() as (server, client):
        go_on = asyncio.Event()

        async def answer(message):
            await go_on.wait()
            return message.payload

        serving = server.serve("service", answer)
        await serving.__aenter__()
        requests = [in_background(client.request("service", str(n))) for n in range(3)]
        await until(lambda: server.statistics.messages_received == 3)
        leaving = in_background(serving.__aexit__(None, None, None))
        await until(lambda: server.statistics.subscriptions == 0)
        assert not leaving.done()
        go_on.set()
        await leaving
        for number, request in enumerate(requests):
            assert (await request).payload == str(number).encode()


@pytest.mark.parametrize("how", ["an exception", "a cancellation", "leaving is"])
async def test_after_an_exception_or_a_cancellation_the_handlers_are_cancelled(how):
    async with both() as (server, client):
        started: list[bytes] = []
        ended: list[bytes] = []

        async def answer(message):
            started.append(message.payload)
            try:
                await asyncio.Event().wait()
            finally:
                ended.append(message.payload)

        async def run():
            async with server.serve("service", answer):
                for number in range(2):
                    await client.publish("service", str(number), 1)
                await until(lambda: started)
                if how == "an exception":
                    raise ZeroDivisionError
                if how == "a cancellation":
                    await asyncio.Event().wait()

        task = in_background(run())
        await until(lambda: started)
        if how == "an exception":
            with pytest.raises(ZeroDivisionError):
                await task
        else:
            if how == "leaving is":
                await until(lambda: server.statistics.subscriptions == 0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        assert started == ended == [b"0"]
        # The client goes on.
        async with server.serve("service", lambda message: message.payload):
            assert (await client.request("service", b"?")).payload == b"?"


async def test_the_end_of_the_connection():
    async def script(peer):
        await accept(peer, 5)
        await peer.expect(SUBSCRIBE)
        peer.packet(0x90, b"\x00\x01\x00\x01")
        properties = b"\x08" + text("replies") + b"\x09" + text("7")
        peer.send(publish_bytes("service", b"?", version=5, properties=properties))
        await came.wait()
        peer.packet(0xE0, b"\x8b\x00")
        peer.close()

    came, go_on = asyncio.Event(), asyncio.Event()

    async def answer(message):
        came.set()
        await go_on.wait()
        return b"!"

    async with (
        asyncio.timeout(CEILING),
        serve(script) as server,
        new_client(server, 5) as client,
        client.serve("service", answer, concurrency=2) as serving,
    ):
        with pytest.raises(MqttError, match="while serving requests") as caught:
            await serving.serve_forever()
        assert caught.value.reason_code == 0x8B
        # Its response can't be published.
        go_on.set()
        await until(lambda: serving.failed == 1)


async def test_waiting_for_the_end_can_be_cancelled():
    async with (
        both() as (server, client),
        server.serve("service", lambda message: b"!") as serving,
    ):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await serving.serve_forever()
        assert (await client.request("service")).payload == b"!"


async def test_servers_share_requests():
    async with both() as (server, client):
        counts = [0, 0]

        def handler_of(index):
            def answer(_message):
                counts[index] += 1
                return b"!"

            return answer

        shared = "$share/workers/service"
        async with (
            server.serve(shared, handler_of(0)),
            client.serve(shared, handler_of(1)),
        ):
            for _ in range(20):
                await client.request("service")
        assert sum(counts) == 20
        assert min(counts) > 0


async def test_a_filter_that_is_refused():
    async def script(peer):
        await accept(peer, 5)
        await peer.expect(SUBSCRIBE)
        peer.packet(0x90, b"\x00\x01\x00\x87")
        with contextlib.suppress(AssertionError, ConnectionError):
            while True:
                await peer.read_packet()

    async with serve(script) as server, new_client(server, 5) as client:
        with pytest.raises(MqttCodeError) as caught:
            async with client.serve("service", lambda _: None):
                pass
        assert caught.value.rc == 0x87


@pytest.mark.parametrize(
    ("arguments", "error", "match"),
    [
        (("a/#/b", lambda _: None, {}), ValueError, "a/#/b"),
        (([], lambda _: None, {}), ValueError, "at least one topic filter"),
        ((1, lambda _: None, {}), TypeError, "topic"),
        (("a", b"payload", {}), TypeError, "handler must be a callable, not bytes"),
        (("a", lambda _: None, {"qos": 3}), ValueError, "qos"),
        (("a", lambda _: None, {"concurrency": 0}), ValueError, "concurrency"),
        (("a", lambda _: None, {"concurrency": 1.5}), TypeError, "concurrency"),
        (("a", lambda _: None, {"timeout": "1"}), TypeError, "timeout"),
    ],
)
def test_what_is_wrong_is_told_at_the_call(arguments, error, match):
    client = Client("localhost", protocol=5)
    *positional, options = arguments
    with pytest.raises(error, match=match):
        client.serve(*positional, **options)
