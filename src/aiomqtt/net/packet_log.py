"""Logs packets at the level DEBUG, and costs little at any other."""

import logging
from typing import TYPE_CHECKING, Final

from aiomqtt.log import SafeLogger
from aiomqtt.standard.tables import ProtocolVersion, Role

if TYPE_CHECKING:
    from .trace import Trace

DEBUG: Final = logging.DEBUG
# Seconds between two checks of the logger's level: to check it for each chunk would
# cost more than to acknowledge the chunk.
LEVEL_CHECK_INTERVAL: Final = 1.0


class PacketLog:
    """Logs the packets of one connection, if the logger is enabled for DEBUG.

    Args:
        logger: The logger.
        version: The version of the packets.
    """

    def __init__(self, logger: SafeLogger, version: ProtocolVersion) -> None:
        # Valid for the connection.
        self._logger: Final = logger
        self._version: Final = version
        self._is_enabled = logger.isEnabledFor(DEBUG)
        self._check_at = 0.0
        self._trace: Trace | None = None

    def received(self, data: bytes, is_inside_packet: bool, now: float) -> None:
        """Log received bytes.

        Args:
            data: The bytes.
            is_inside_packet: Whether they continue a packet.
            now: The time.
        """
        if now >= self._check_at:
            self._check_at = now + LEVEL_CHECK_INTERVAL
            self._is_enabled = self._logger.isEnabledFor(DEBUG)
        if self._is_enabled:
            self._tracing().received(data, is_inside_packet)

    def sent(self, data: list[bytes]) -> None:
        """Log written bytes: whole packets."""
        if self._is_enabled:
            self._tracing().sent(data)

    def _tracing(self) -> "Trace":
        if self._trace is None:
            # Most programs never need it.
            from .trace import Trace

            self._trace = Trace(self._logger, Role.CLIENT, self._version)
        return self._trace
