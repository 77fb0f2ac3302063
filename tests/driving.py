"""Drivers and calls without a network, and a look at those of a client."""

import logging
from typing import Any, cast

from aiomqtt.client.calls import Calls
from aiomqtt.log import to_logger
from aiomqtt.protocol.engine import Engine
from aiomqtt.protocol.settings import Settings
from aiomqtt.standard.tables import ProtocolVersion
from aiomqtt.streams.stream import MessageStream


class Transport:
    """A transport in memory: what is written stays until the test lets it leave."""

    def __init__(self) -> None:
        self.written: list[bytes] = []
        self.unsent = 0
        self.calls: list[str] = []

    def write(self, data: bytes) -> None:
        self.written.append(data)

    def get_write_buffer_size(self) -> int:
        return self.unsent

    def set_write_buffer_limits(self, high: int) -> None:
        assert high == 0

    def can_write_eof(self) -> bool:
        return True

    def is_closing(self) -> bool:
        return False

    def __getattr__(self, name: str) -> Any:
        return lambda *_: self.calls.append(name)


def new_calls(version: int) -> tuple[Calls, Engine]:
    engine = Engine(Settings(ProtocolVersion(version)))
    logger = to_logger(None, logging.getLogger("mqtt"))
    return Calls(engine, MessageStream(), logger, "here:1883", 10.0), engine


def connect(calls: Calls, engine: Engine, version: int) -> Transport:
    """Have the newest connection accepted."""
    transport = Transport()
    engine.connect()
    calls.driver.connection_made(cast("Any", transport))
    calls.driver.process()
    calls.driver.data_received(accepting(version))
    transport.written.clear()
    return transport


def accepting(version: int) -> bytes:
    """A CONNACK without properties."""
    return b"\x20\x03\x00\x00\x00" if version == 5 else b"\x20\x02\x00\x00"


def calls_of(client: Any) -> Any:
    return client._calls


class Recorder:
    """A transport that notes what is written to it."""

    def __init__(self, transport):
        self._transport = transport
        self.writes = []
        self.largest_buffer = 0

    def write(self, data):
        self.writes.append(bytes(data))
        self._transport.write(data)
        size = self._transport.get_write_buffer_size()
        self.largest_buffer = max(self.largest_buffer, size)

    def writelines(self, parts):
        self.write(b"".join(parts))

    def __getattr__(self, name):
        return getattr(self._transport, name)


def driver_of(client: Any) -> Any:
    return client._calls.driver


def record(client: Any) -> list[bytes]:
    driver = driver_of(client)
    recorder = Recorder(driver.writer.transport)
    driver.writer.transport = recorder
    return recorder.writes
