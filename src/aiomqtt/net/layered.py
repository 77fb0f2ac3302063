"""What transports over another transport have in common."""

import asyncio
from collections.abc import Mapping
from typing import Any


class LayeredTransport(asyncio.Transport, asyncio.Protocol):
    """A transport over another one, to which it is the protocol.

    The buffer, its limits, and what is known of the connection are those of the
    transport below.

    Args:
        below: The transport that carries the bytes.
        protocol: The protocol of this transport.
        extra: What is known of this transport itself.
    """

    def __init__(
        self,
        below: asyncio.Transport,
        protocol: asyncio.BaseProtocol,
        extra: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(extra)
        # All is valid for the connection.
        self._loop = asyncio.get_running_loop()
        self._below = below
        self._protocol: Any = protocol

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """Return a value of this transport, or of the one below."""
        own = super().get_extra_info(name)
        return self._below.get_extra_info(name, default) if own is None else own

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """Set the protocol that is called from now on."""
        self._protocol = protocol

    def get_protocol(self) -> asyncio.BaseProtocol:
        """Return the protocol."""
        protocol: asyncio.BaseProtocol = self._protocol
        return protocol

    def get_write_buffer_size(self) -> int:
        """Return how many bytes have not left the transport below yet."""
        return self._below.get_write_buffer_size()

    def get_write_buffer_limits(self) -> tuple[int, int]:
        """Return the low and the high water mark, in bytes."""
        return self._below.get_write_buffer_limits()

    def set_write_buffer_limits(
        self, high: int | None = None, low: int | None = None
    ) -> None:
        """Set the water marks, in bytes: see `asyncio.WriteTransport`."""
        self._below.set_write_buffer_limits(high, low)
