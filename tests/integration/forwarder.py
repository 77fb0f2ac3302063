"""A network between client and broker that can go silent, or break."""

import asyncio
from typing import Self, cast

from tests.brokers import Broker


class Forwarder:
    """Forwards TCP connections to a broker, until told otherwise.

    async with Forwarder(broker) as network:
        async with aiomqtt.Client("127.0.0.1", network.port) as client:
            network.drop_down = True   # the client hears nothing any more
            network.cut()              # and the connection breaks
    """

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._ends: set[_End] = set()
        self._gone = asyncio.Event()
        # Drop, from now on, what goes up to the broker, or down from it.
        self.drop_up = False
        self.drop_down = False
        self.connections = 0
        self.bytes_up = 0
        self.bytes_down = 0

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(
            lambda: _End(self, None), "127.0.0.1", 0
        )
        self.port: int = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self.cut()
        self._server.close()
        await self._server.wait_closed()
        while self._ends:
            self._gone.clear()
            await self._gone.wait()

    def cut(self) -> None:
        """Reset every connection, on both sides."""
        for end in list(self._ends):
            end.abort()

    def dial(self, end: "_End") -> asyncio.Task[object]:
        """Connect to the broker for a client that has just come."""
        loop = asyncio.get_running_loop()
        self.connections += 1
        return loop.create_task(
            loop.create_connection(
                lambda: _End(self, end), self._broker.host, self._broker.port
            )
        )


class _End(asyncio.Protocol):
    """One end of a forwarded connection: `other` is None for the client's."""

    def __init__(self, network: Forwarder, other: "_End | None") -> None:
        self._network = network
        self._is_client = other is None
        self._other = other
        self._early: list[bytes] = []
        self._dialing: asyncio.Task[object] | None = None
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are not instances of asyncio's class.
        self._transport = cast(asyncio.Transport, transport)
        self._network._ends.add(self)
        if self._other is None:
            self._dialing = self._network.dial(self)
            self._dialing.add_done_callback(self._dialed)
        else:
            self._other._other = self
            for data in self._other._early:
                self._transport.write(data)
            self._other._early.clear()
            if self._other._transport is None:
                self._transport.abort()

    def _dialed(self, task: asyncio.Task[object]) -> None:
        if not task.cancelled() and task.exception() is not None:
            self.abort()  # there is no broker

    def data_received(self, data: bytes) -> None:
        network = self._network
        if self._is_client:
            if network.drop_up:
                return
            network.bytes_up += len(data)
        else:
            if network.drop_down:
                return
            network.bytes_down += len(data)
        if self._other is None:
            self._early.append(data)
        elif self._other._transport is not None:
            self._other._transport.write(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._network._ends.discard(self)
        self._network._gone.set()
        if self._dialing is not None:
            self._dialing.cancel()
        if self._other is not None and self._other._transport is not None:
            if self._network.drop_up if self._is_client else self._network.drop_down:
                return  # nobody hears of it
            self._other._transport.close()

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()
