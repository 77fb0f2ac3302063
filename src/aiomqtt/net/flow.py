"""Flow control for transports with a write buffer of their own: the water marks."""

import asyncio
from typing import Any, Final

# Above this many bytes the protocol pauses writing, unless it set another limit.
HIGH_WATER: Final = 64 * 1024


class FlowControlledTransport(asyncio.Transport):
    """A transport that tells its protocol to pause and to resume writing.

    A subclass has the buffer: it implements `get_write_buffer_size`, calls
    `_pause_if_full` after it has grown, and `_resume_if_drained` after it has shrunk.

    Args:
        loop: The event loop.
        protocol: The protocol.
        extra: The values for `get_extra_info`.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        protocol: asyncio.BaseProtocol,
        extra: dict[str, object],
    ) -> None:
        super().__init__(extra)
        self._loop = loop
        self._protocol: Any = protocol
        self._high = HIGH_WATER
        self._low = HIGH_WATER // 4
        self._is_writing_paused = False

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """Set the protocol that is called from now on."""
        self._protocol = protocol

    def get_protocol(self) -> asyncio.BaseProtocol:
        """Return the protocol."""
        protocol: asyncio.BaseProtocol = self._protocol
        return protocol

    def get_write_buffer_limits(self) -> tuple[int, int]:
        """Return the low and the high water mark, in bytes."""
        return self._low, self._high

    def set_write_buffer_limits(
        self, high: int | None = None, low: int | None = None
    ) -> None:
        """Set the water marks, in bytes.

        Args:
            high: The protocol pauses writing above it; ``None``: four times `low`, or
                64 KiB.
            low: The protocol resumes at it and below; ``None``: a quarter of `high`.

        Raises:
            ValueError: Not ``high >= low >= 0``.
        """
        if high is None:
            high = HIGH_WATER if low is None else 4 * low
        if low is None:
            low = high // 4
        if not high >= low >= 0:
            msg = f"high ({high!r}) must be >= low ({low!r}) must be >= 0"
            raise ValueError(msg)
        self._high = high
        self._low = low
        self._pause_if_full()

    def _is_due_to_resume(self) -> bool:
        return self._is_writing_paused and self.get_write_buffer_size() <= self._low

    def _pause_if_full(self) -> None:
        """Pause the protocol if the buffer is above the high-water mark."""
        if self._is_writing_paused or self.get_write_buffer_size() <= self._high:
            return
        self._is_writing_paused = True
        try:
            self._protocol.pause_writing()
        except Exception as error:  # noqa: BLE001
            self._report("protocol.pause_writing() failed", error)

    def _resume_if_drained(self) -> None:
        """Resume the protocol if the buffer is at the low-water mark or below."""
        if not self._is_due_to_resume():
            return
        self._is_writing_paused = False
        try:
            self._protocol.resume_writing()
        except Exception as error:  # noqa: BLE001
            self._report("protocol.resume_writing() failed", error)

    def _report(self, message: str, error: Exception) -> None:
        """Report an exception of the protocol to the loop's exception handler."""
        self._loop.call_exception_handler(
            {
                "message": message,
                "exception": error,
                "transport": self,
                "protocol": self._protocol,
            }
        )
