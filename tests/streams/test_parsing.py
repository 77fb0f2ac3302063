"""Values of payloads: what parses them, and what the messages of a stream are."""

import asyncio
import copy
import json
from dataclasses import dataclass
from typing import Any

import msgspec
import pydantic
import pytest

from aiomqtt import Message, ParsedMessage, Properties
from aiomqtt.streams import parsing
from aiomqtt.streams.parsing import ParsedStream, to_parser
from aiomqtt.streams.stream import MessageStream


@dataclass
class Reading:
    value: float
    unit: str = "C"


class Model(pydantic.BaseModel):
    value: float


@pydantic.dataclasses.dataclass
class Validated:
    value: float


class Struct(msgspec.Struct):
    value: float


class Own:
    def __init__(self, payload: bytes) -> None:
        self.payload = payload

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Own) and other.payload == self.payload

    __hash__ = None  # type: ignore[assignment]


JSON = b'{"value": 1.5}'


@pytest.mark.parametrize(
    ("parse", "payload", "value"),
    [
        (json.loads, JSON, {"value": 1.5}),
        (str, "\u00e4".encode(), "\u00e4"),
        (int, b"15", 15),
        (float, b"1.5", 1.5),
        (bytes.hex, b"\x0f", "0f"),
        (Own, b"1", Own(b"1")),
        (Reading, JSON, Reading(1.5)),
        (Model, JSON, Model(value=1.5)),
        (Validated, JSON, Validated(1.5)),
        (Struct, JSON, Struct(1.5)),
        (pydantic.TypeAdapter(list[int]), b"[1, 2]", [1, 2]),
        (msgspec.json.Decoder(list[Reading]).decode, b"[%b]" % JSON, [Reading(1.5)]),
    ],
)
def test_what_makes_a_value(parse, payload, value):
    assert to_parser(parse)(payload) == value


@pytest.mark.parametrize("missing", ["msgspec", "pydantic"])
def test_a_dataclass_needs_one_of_two_packages(monkeypatch, missing):
    monkeypatch.setattr(parsing, "find_spec", lambda name: name != missing or None)
    assert to_parser(Reading)(JSON) == Reading(1.5)


def test_a_dataclass_without_either(monkeypatch):
    monkeypatch.setattr(parsing, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match="install msgspec or pydantic"):
        to_parser(Reading)


async def coroutine(payload):
    return payload


@pytest.mark.parametrize("parse", [1, "int", b"", coroutine, ()])
def test_what_is_no_parser(parse):
    with pytest.raises(
        TypeError, match="parse must be a function that takes a payload"
    ):
        to_parser(parse)


@pytest.mark.parametrize("parse", [bool, dict, list, object, list[int], dict[str, Any]])
def test_types_that_would_make_something_else(parse):
    with pytest.raises(TypeError, match="pass json.loads, or pydantic.TypeAdapter"):
        to_parser(parse)


def made(parse, *payloads):
    stream = MessageStream()
    stream.expect()
    stream.open(lambda: None)
    properties = Properties(content_type="x")
    messages = [
        Message("a/\u202e", payload, 1, True, 7, properties) for payload in payloads
    ]
    stream.deliver(messages, 0)
    return ParsedStream(stream, to_parser(parse)), messages


async def test_the_messages_of_a_stream_have_a_value():
    calls = []

    def parse(payload):
        calls.append(payload)
        return int(payload)

    stream, [original, _] = made(parse, b"1", b"2")
    assert len(stream) == 2
    message = await anext(stream)
    assert type(message) is ParsedMessage
    assert calls == []
    assert message.value == message.value == 1
    assert calls == [b"1"]
    for name in ("topic", "payload", "qos", "retain", "mid", "properties"):
        assert getattr(message, name) == getattr(original, name)
    # Another stream may make another value of the same message.
    assert not hasattr(original, "value")
    assert (await anext(stream)).value == 2


async def test_a_payload_that_has_no_value_does_not_end_the_stream():
    stream, _ = made(int, b"1", b"x", b"3")
    values: list[int] = []
    async with asyncio.timeout(10):
        async for message in stream:
            if message.payload == b"x":
                with pytest.raises(ValueError, match="invalid literal") as caught:
                    _ = message.value
                note = "It is in the payload of a message to 'a/\\u202e'."
                assert caught.value.__notes__ == [note]
            else:
                values.append(message.value)
            if message.payload == b"3":
                break
    assert values == [1, 3]


async def test_an_attribute_error_of_the_parser_is_its_own():
    def parse(payload):
        return payload.missing

    stream, _ = made(parse, b"1")
    message = await anext(stream)
    for _ in range(2):
        with pytest.raises(AttributeError, match="missing"):
            _ = message.value


async def test_a_copy_is_a_plain_message():
    stream, _ = made(int, b"1")
    message = await anext(stream)
    assert message.value == 1
    copied = copy.copy(message)
    assert type(copied) is Message
    assert (copied.payload, copied.mid) == (b"1", 7)
