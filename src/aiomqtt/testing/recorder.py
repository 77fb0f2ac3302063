"""A protocol that records its callbacks, for checks of transports."""

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from typing import TypeAlias, cast

Entry: TypeAlias = tuple[str, object]


def require(condition: bool, message: str) -> None:
    """Raise an AssertionError unless a condition is true, also with ``python -O``."""
    if not condition:
        raise AssertionError(message)


@contextlib.contextmanager
def reported_errors() -> Iterator[list[dict[str, object]]]:
    """Collect the contexts that are passed to the loop's exception handler."""
    loop = asyncio.get_running_loop()
    before = loop.get_exception_handler()
    reported: list[dict[str, object]] = []
    loop.set_exception_handler(lambda _, context: reported.append(context))
    try:
        yield reported
    finally:
        loop.set_exception_handler(before)


class Recorder(asyncio.Protocol):
    """Records the callbacks of a transport, each with its argument or its meaning.

    Attributes:
        log: The callbacks so far, without `data_received`: their names, each with the
            argument of `connection_lost`, the size of the write buffer in
            `pause_writing` and `resume_writing`, and otherwise None.
        received: The data so far.
        keep_open: The result of `eof_received`.
        actions: Functions to call within a callback, by its name.
    """

    def __init__(self, timeout: float) -> None:
        self.log: list[Entry] = []
        self.received: bytearray = bytearray()
        self.keep_open: bool = False
        self.actions: dict[str, Callable[[], object]] = {}
        self._timeout = timeout
        self._transport: asyncio.Transport | None = None
        self._changed = asyncio.Event()

    @property
    def transport(self) -> asyncio.Transport:
        """The transport of `connection_made`."""
        if self._transport is None:
            msg = "connection_made was not called"
            raise AssertionError(msg)
        return self._transport

    @property
    def names(self) -> list[str]:
        """The names of the callbacks so far, without `data_received`."""
        return [name for name, _ in self.log]

    @property
    def is_made(self) -> bool:
        """Whether `connection_made` was called."""
        return self._transport is not None

    @property
    def is_lost(self) -> bool:
        """Whether `connection_lost` was called."""
        return "connection_lost" in self.names

    @property
    def error(self) -> object:
        """The argument of `connection_lost`."""
        return next(value for name, value in self.log if name == "connection_lost")

    async def wait_for(self, condition: Callable[[], bool], text: str) -> None:
        """Wait for a condition, which callbacks may change.

        Raises:
            AssertionError: It is not true in time.
        """
        try:
            async with asyncio.timeout(self._timeout):
                while not condition():
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            raise AssertionError(
                f"{text}, but within {self._timeout} s there were the callbacks"
                f" {self.names} and {len(self.received)} bytes"
            ) from None

    async def wait_until_lost(self) -> None:
        """Wait for `connection_lost`."""
        await self.wait_for(lambda: self.is_lost, "connection_lost has to be called")

    async def expect(self, data: bytes | bytearray) -> None:
        """Wait for data, and compare all data so far with it.

        Raises:
            AssertionError: The data differs, or does not come in time.
        """
        size = len(data)
        await self.wait_for(
            lambda: len(self.received) >= size or self.is_lost,
            f"{size} bytes have to arrive",
        )
        require(
            len(self.received) == size,
            f"{size} bytes have to arrive, not {len(self.received)}",
        )
        require(self.received == data, "the data has to arrive unchanged and in order")

    def _record(self, name: str, value: object = None) -> None:
        if name != "data_received":
            self.log.append((name, value))
        self._changed.set()
        if name in self.actions:
            self.actions[name]()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Record the call."""
        self._transport = cast("asyncio.Transport", transport)
        self._record("connection_made")

    def data_received(self, data: bytes) -> None:
        """Record the data."""
        if self.is_lost or "eof_received" in self.names:
            self.log.append(("data_received", len(data)))
        self.received += data
        self._record("data_received")

    def eof_received(self) -> bool:
        """Record the call."""
        self._record("eof_received")
        return self.keep_open

    def pause_writing(self) -> None:
        """Record the call, with the size of the write buffer."""
        self._record("pause_writing", self.transport.get_write_buffer_size())

    def resume_writing(self) -> None:
        """Record the call, with the size of the write buffer."""
        self._record("resume_writing", self.transport.get_write_buffer_size())

    def connection_lost(self, exc: Exception | None) -> None:
        """Record the call."""
        self._record("connection_lost", exc)
