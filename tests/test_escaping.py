"""The other side's words in errors and log lines: one line, and nothing to obey.

Every place that shows them is walked with a text that holds all that could do harm.
"""

import asyncio
import logging
import traceback
from collections.abc import Iterator
from typing import Any

import pytest

from aiomqtt import Broker, Client, MqttError, Properties, Topic, Wildcard
from aiomqtt.broker.hooks import Refusal
from aiomqtt.escaping import LONGEST, escape, quote
from tests.broker.world import Wire, World
from tests.peer import (
    CONNECT,
    DISCONNECT,
    PUBACK,
    PUBLISH,
    PUBREC,
    SUBACK,
    SUBSCRIBE,
    UNSUBACK,
    UNSUBSCRIBE,
    serve,
    varint,
)
from tests.raw_scripts import CEILING, ack_bytes, fails, gone, new_client, text, within

# Line breaks, what a terminal obeys, separators, marks of direction, invisible ones.
HARM = "a\n\r\t\x01\x07\x08\x1b[2J\x7f\x85\x9b2J\u2028\u2029\u202e\u2066\u200b\ufeffz"
HOSTILE = HARM + "x" * 50_000
# What MQTT can't carry, but an exception can.
SURROGATE = "\ud800"

# --- the helper ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        ("", ""),
        ("Not authorized: device 7", "Not authorized: device 7"),
        ("Größe 5 µm, 温度 20 °C", "Größe 5 µm, 温度 20 °C"),
        ("a\nb\r\n", r"a\nb\r\n"),
        ("\x1b[31mred\x7f", r"\x1b[31mred\x7f"),
        ("\x85\x9b", r"\x85\x9b"),
        ("\u2028\u2029", r"\u2028\u2029"),
        ("\u202eabc\u2066", r"\u202eabc\u2066"),
        (SURROGATE, r"\ud800"),
        ("\U000e0001", r"\U000e0001"),
        ("C:\\new", "C:\\new"),
        ("it's", "it's"),
    ],
)
def test_what_is_shown_of_a_text(raw, shown):
    assert escape(raw) == shown
    assert quote(raw) == f"'{shown}'"


def test_every_character_is_shown_in_one_line():
    for start in range(0, 0x11_0000, 1000):
        piece = "".join(map(chr, range(start, min(start + 1000, 0x11_0000))))
        assert escape(piece).isprintable()


def test_what_is_shown_has_a_bound():
    assert escape("x" * LONGEST) == "x" * LONGEST
    assert escape("x" * 70_000) == "x" * LONGEST + "... (70000 characters)"
    assert escape("abcdef", 3) == "abc... (6 characters)"
    assert len(escape("\U000e0001" * 70_000)) < 11 * LONGEST


# --- the walk ------------------------------------------------------------------


def is_harmless(said: str) -> bool:
    return said.isprintable() and len(said) < 20 * LONGEST


class Said:
    """Collects everything that was logged and raised."""

    def __init__(self, caplog: pytest.LogCaptureFixture) -> None:
        self._caplog = caplog
        self._raised: list[str] = []

    def add(self, error: BaseException) -> None:
        """Take an error, with its notes and what caused it."""
        cause: BaseException | None = error
        while cause is not None:
            self._raised += [str(cause), *getattr(cause, "__notes__", [])]
            cause = cause.__cause__ or cause.__context__

    def lines(self) -> list[str]:
        records = [
            record
            for record in self._caplog.get_records("call")
            if record.name.startswith(("mqtt", "aiomqtt"))
        ]
        for record in records:
            assert record.exc_info is None, "".join(
                traceback.format_exception(*record.exc_info)
            )
        return [*(record.getMessage() for record in records), *self._raised]


@pytest.fixture
def said(caplog: pytest.LogCaptureFixture) -> Iterator[Said]:
    """Collect texts during a test, and check them at its end."""
    caplog.set_level(logging.DEBUG, "mqtt")
    caplog.set_level(logging.DEBUG, "aiomqtt.broker")
    found = Said(caplog)
    yield found
    lines = found.lines()
    assert lines
    for line in lines:
        assert is_harmless(line), repr(line[:2000])


def reason() -> bytes:
    """The properties of a packet that gives its reasons, with their length."""
    section = b"\x1f" + text(HOSTILE)
    return varint(len(section)) + section


async def test_a_connack_that_refuses(said):
    section = (
        b"\x1f" + text(HOSTILE) + b"\x1c" + text(HOSTILE) + b"\x26" + text(HOSTILE) * 2
    )

    async def script(peer):
        await peer.expect(CONNECT)
        peer.connack(5, code=0x9D, properties=section)
        peer.close()

    async with serve(script) as server:
        error = await fails(new_client(server, 5))
        said.add(error)
        # What is meant for the program is what the broker sent.
        assert error.reason_string == HOSTILE
        assert error.properties.server_reference == HOSTILE
        assert [*error.properties.user_property] == [(HOSTILE, HOSTILE)]
        assert str(error).count(r"a\n\r\t\x01") == 2


async def test_a_connack_that_accepts(said):
    section = b"\x12" + text(HOSTILE) + b"\x1a" + text(HOSTILE) + b"\x1f" + text(HARM)

    async def script(peer):
        await peer.expect(CONNECT)
        peer.connack(5, properties=section)
        await peer.expect(DISCONNECT)
        peer.close()

    async with serve(script) as server, new_client(server, 5) as client:
        assert client.identifier == HOSTILE
        said.add(MqttError("entered"))


@pytest.mark.parametrize(("qos", "kind"), [(1, PUBACK), (2, PUBREC)])
async def test_a_message_that_is_refused(said, qos, kind):
    async def script(peer):
        await peer.expect(CONNECT)
        peer.connack(5)
        for packet_id in (1, 2, 3):
            await peer.expect(PUBLISH)
            body = packet_id.to_bytes(2, "big") + b"\x87" + reason()
            peer.packet(kind << 4, body)
        await peer.expect(DISCONNECT)
        peer.close()

    async with serve(script) as server, new_client(server, 5) as client:
        with pytest.raises(MqttError) as caught:
            await client.publish("t", b"", qos)
        said.add(caught.value)
        assert caught.value.reason_string == HOSTILE
        with pytest.raises(MqttError) as caught:
            await client.publish_nowait("t", b"", qos)
        said.add(caught.value)
        # Nobody looks at this one: it is logged.
        client.publish_nowait("t", b"", qos)


async def test_requests_that_are_refused(said):
    async def script(peer):
        await peer.expect(CONNECT)
        peer.connack(5)
        for request, answer in ((SUBSCRIBE, SUBACK), (UNSUBSCRIBE, UNSUBACK)):
            _, body = await peer.expect(request)
            peer.packet(answer << 4, body[:2] + reason() + b"\x87")
        await peer.expect(DISCONNECT)
        peer.close()

    async with serve(script) as server, new_client(server, 5) as client:
        await client.subscribe(HOSTILE)
        await client.unsubscribe(HOSTILE)
        assert any(r"Not authorized: a\n\r\t\x01" in line for line in said.lines())


async def test_a_disconnect_of_the_broker(said):
    async def script(peer):
        await peer.expect(CONNECT)
        peer.connack(5)
        await peer.expect(PUBLISH)
        section = b"\x1f" + text(HOSTILE) + b"\x1c" + text(HOSTILE)
        peer.packet(0xE0, b"\x9d" + varint(len(section)) + section)
        peer.close()

    async with serve(script) as server:
        client = new_client(server, 5)
        with pytest.raises(MqttError) as caught:
            async with client:
                tasks = [
                    asyncio.ensure_future(client.publish("t", b"", 1)),
                    asyncio.ensure_future(client.subscribe("t")),
                    asyncio.ensure_future(anext(aiter(client.messages))),
                ]
                done, _ = await within(asyncio.wait(tasks))
                for task in done:
                    error = task.exception()
                    assert error is not None
                    said.add(error)
                await client.publish("t")
        said.add(caught.value)
        assert any(r"reference: a\n\r\t\x01" in line for line in said.lines())


async def test_messages(said):
    properties = b"".join(
        (b"\x03", text(HOSTILE), b"\x08", text(HARM), b"\x26", text(HARM), text(HARM))
    )
    body = text(HOSTILE) + b"\x00\x01" + varint(len(properties)) + properties + b"x"

    async def script(peer):
        await peer.expect(CONNECT)
        peer.connack(5)
        for _ in range(3):
            peer.packet(0x32, body)
        peer.send(ack_bytes(PUBACK, 9))
        await gone(peer)

    async with (
        serve(script) as server,
        new_client(server, 5, max_queued_incoming_messages=1) as client,
    ):
        async for message in client.messages:
            assert message.topic.value == HOSTILE
            said.add(MqttError(repr(message)[:100]))
            break


async def test_bytes_that_break_the_rules(said):
    async def script(peer):
        await peer.expect(CONNECT)
        peer.connack(5)
        peer.packet(0x30, text(HARM + "#") + b"\x00")
        peer.close()

    async with serve(script) as server:
        with pytest.raises(MqttError) as caught:
            async with new_client(server, 5) as client:
                await anext(aiter(client.messages))
        said.add(caught.value)


@pytest.mark.parametrize("raw", [HOSTILE + "#", HARM + "#", SURROGATE])
@pytest.mark.parametrize("kind", [Topic, Wildcard])
def test_topics_that_are_none(said, kind, raw):
    with pytest.raises(ValueError, match="Invalid") as caught:
        kind(raw + "+")
    said.add(caught.value)


# --- the broker ----------------------------------------------------------------


async def denies(*_: Any) -> bool:
    return False


async def refuses(_: Any) -> Refusal:
    return Refusal(0x86, HARM)


def options_for(broker: Broker, transport: str) -> dict[str, Any]:
    options: dict[str, Any] = {"identifier": HOSTILE, "username": HARM, "protocol": 5}
    if transport == "memory":
        return options | {"hostname": broker.name, "transport": "memory"}
    return options | {"hostname": "127.0.0.1", "port": broker.port}


@pytest.mark.parametrize("transport", ["tcp", "memory"])
async def test_clients_of_our_broker(said, transport):
    host = None if transport == "memory" else "127.0.0.1"
    async with Broker(host, authorize=denies) as broker:
        client = Client(**options_for(broker, transport))
        async with asyncio.timeout(CEILING), client:
            await client.subscribe(HOSTILE)
            with pytest.raises(MqttError):
                await client.publish(
                    HARM, b"x", 1, properties=Properties(content_type=HARM)
                )
            await client.unsubscribe(HOSTILE)
            await client.disconnect(
                reason_code=0x04, properties=Properties(reason_string=HARM)
            )


@pytest.mark.parametrize("transport", ["tcp", "memory"])
async def test_a_client_that_our_broker_refuses(said, transport):
    host = None if transport == "memory" else "127.0.0.1"
    async with Broker(host, authenticate=refuses) as broker:
        error = await fails(Client(**options_for(broker, transport)))
        said.add(error)
        assert error.reason_string == HARM


def test_a_session_that_expires(said):
    world = World()
    client = world.client(
        client_id=HARM, properties=Properties(session_expiry_interval=1)
    )
    client.lose()
    world.pass_time(5)
    assert world.notes
    for note in world.notes:
        said.add(MqttError(note))


def test_a_protocol_that_is_not_known(said):
    world = World()
    client = Wire(world)
    name = text(HARM[:9])
    body = name + b"\x05\x02\x00\x00\x00\x00\x00"
    client.send(b"\x10" + varint(len(body)) + body)
    assert client.ended is not None
    said.add(MqttError(client.ended))
