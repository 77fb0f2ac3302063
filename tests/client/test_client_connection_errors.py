"""Errors of a connection: each says what happened, and what to do about it."""

import asyncio
import re
import threading
from pathlib import Path

import pytest

from aiomqtt import Client, MqttError, TLSParameters
from tests.peer import CONNECT, SUBSCRIBE, serve
from tests.ports import free_port
from tests.raw_scripts import gone, new_client, polite, within

PAGE = Path(__file__).parents[2] / "docs" / "connection-errors.md"


def documented(text):
    """Hold that the page has a message, whatever stands for the broker's address."""
    text = re.sub(r"\[code:\d+\] ", "", text)
    text = re.sub(r"(localhost|127\.0\.0\.\d):\d+|memory:[\w-]+", "HOST:PORT", text)
    page = " ".join(PAGE.read_text().split())
    assert text in page, text
    return text


async def failure(client):
    with pytest.raises(MqttError) as caught:
        await within(client.__aenter__())
    return caught.value


async def hang_up(peer):
    """Close when something came, whatever it is."""
    await peer._reader.read(65_536)
    peer.close()


async def test_closed_before_the_connack():
    async def script(peer):
        await peer.expect(CONNECT)
        peer.close()

    async with serve(script) as server:
        error = await failure(new_client(server))
    assert documented(str(error)).endswith(
        "before its CONNACK: does this port expect TLS, or WebSocket?"
    )


ANSWERS = [
    (b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n", "speaks HTTP"),
    (b"\x15\x03\x01\x00\x02\x02\x46", "speaks TLS: pass tls_params"),
    (b"SSH-2.0-OpenSSH_9.2\r\n", "speaks SSH"),
    (b"AMQP\x00\x00\x09\x01", "speaks AMQP"),
]


@pytest.mark.parametrize(("answer", "match"), ANSWERS)
async def test_the_other_end_speaks_something_else(version, answer, match):
    async def script(peer):
        await peer.expect(CONNECT)
        peer.send(answer)
        await gone(peer)

    async with serve(script) as server:
        error = await failure(new_client(server, version))
    assert match in documented(str(error))
    assert error.__notes__ == [f"The connection was to {server.host}:{server.port}."]


@pytest.mark.parametrize(
    ("answer", "match"),
    [
        (b"\x20\x02\x00\x01\x00\x00", "speaks no TLS: does this port expect it?"),
        (b"", "ended the TLS handshake: does this port expect TLS, or a client"),
    ],
)
async def test_tls_to_a_port_without(version, answer, match):
    async def script(peer):
        peer.send(answer)
        await (gone(peer) if answer else hang_up(peer))

    async with serve(script) as server:
        client = new_client(server, version, tls_params=TLSParameters())
        error = await failure(client)
    assert match in documented(str(error).partition(" (")[0])
    assert isinstance(error.__cause__, OSError)


async def test_nobody_listens():
    error = await failure(Client("127.0.0.1", free_port()))
    assert isinstance(error.__cause__, ConnectionRefusedError)
    documented(str(error).partition(": ")[0])


# --- time ------------------------------------------------------------------------


async def test_which_operation_timed_out():
    async def script(peer):
        await polite_until_subscribe(peer)
        await gone(peer)

    async def polite_until_subscribe(peer):
        await peer.expect(CONNECT)
        peer.send(b"\x20\x02\x00\x00")
        await peer.expect(SUBSCRIBE)

    async with serve(script) as server:
        client = new_client(server, timeout=10)
        await client.__aenter__()
        with pytest.raises(MqttError, match="^Operation timed out$") as caught:
            await client.subscribe("a", timeout=0.05)
        assert str(caught.value.__cause__) == "no SUBACK came within 0.05 seconds"
        documented(str(caught.value))
        documented("no SUBACK came within")
        with pytest.raises(MqttError, match="^Operation timed out$") as caught:
            await client.publish("a", qos=1, timeout=0.05)
        assert "did not acknowledge a message with QoS 1" in str(caught.value.__cause__)
        with pytest.raises(MqttError) as caught:
            await client.publish_many([("a", b"", 1)], timeout=0.05)
        assert "no message of publish_many was done" in str(caught.value.__cause__)
        await client.__aexit__(asyncio.CancelledError, None, None)


async def test_no_connack_in_time():
    # Enough for the connection on a busy machine, if not for the CONNECT to be there.
    async with serve(gone) as server:
        error = await failure(new_client(server, timeout=0.5))
    assert str(error) == "Operation timed out"
    documented(str(error.__cause__).partition(" within")[0])


# --- calls -----------------------------------------------------------------------


async def test_two_filters_are_a_list():
    client = Client("localhost")
    with pytest.raises(TypeError, match=r'subscribe\(\["a", "b"\]\)$') as caught:
        await client.subscribe("a", "b")  # type: ignore[arg-type]
    documented(str(caught.value))


CALLS = [
    lambda client: client.publish("a", b"", 0),
    lambda client: client.publish("a", b"", 1),
    lambda client: client.publish_many([("a", b"", 1)]),
    lambda client: client.subscribe("a"),
    lambda client: client.unsubscribe("a"),
]


@pytest.mark.parametrize("call", CALLS)
async def test_a_call_from_another_loop(call):
    async with serve(polite()) as server, new_client(server) as client:
        errors = []

        def elsewhere():
            try:
                asyncio.run(call(client))
            except RuntimeError as error:
                errors.append(error)

        thread = threading.Thread(target=elsewhere)
        thread.start()
        await asyncio.to_thread(thread.join)
        [error] = errors
        assert "asyncio.run_coroutine_threadsafe" in documented(str(error))
        # Nothing has changed; and this is how it is done.
        loop = asyncio.get_running_loop()
        done = asyncio.run_coroutine_threadsafe
        await asyncio.to_thread(
            lambda: done(client.publish("a", b"", 1), loop).result()
        )


async def test_a_call_from_a_thread_without_a_loop():
    async with serve(polite()) as server, new_client(server) as client:
        with pytest.raises(RuntimeError, match="run_coroutine_threadsafe"):
            await asyncio.to_thread(client.publish_nowait, "a", b"", 1)


def test_a_url_as_the_host_name():
    for wrong, match in (
        ("mqtt://broker.example:1884", "from_url"),
        ("broker.example:1884", "hostname='broker.example'"),
    ):
        with pytest.raises(ValueError, match=match) as caught:
            Client(wrong)
        documented(str(caught.value).replace("'broker.example:1884'", "NAME"))
