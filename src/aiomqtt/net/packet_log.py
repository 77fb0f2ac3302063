"""Logs packets while the logger's level is DEBUG, and costs little while it is not."""

import logging
from typing import TYPE_CHECKING, Final

from aiomqtt.log import SafeLogger
from aiomqtt.standard.tables import ProtocolVersion, Role

if TYPE_CHECKING:
    from .trace import Trace

DEBUG: Final = logging.DEBUG
# How long, in seconds, until a changed level of the logger counts: to ask for each
# chunk would cost more than to acknowledge it.
LEVEL_CHECK_INTERVAL: Final = 1.0


class PacketLog:
    """Logs the packets of one connection, if its logger wants to have them.

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
        """Log what was received.

        Args:
            data: The bytes.
            is_inside_packet: Whether they go on with a packet.
            now: The time.
        """
        if now >= self._check_at:
            self._check_at = now + LEVEL_CHECK_INTERVAL
            self._is_enabled = self._logger.isEnabledFor(DEBUG)
        if self._is_enabled:
            self._tracing().received(data, is_inside_packet)

    def sent(self, data: list[bytes]) -> None:
        """Log what was written: whole packets."""
        if self._is_enabled:
            self._tracing().sent(data)

    def _tracing(self) -> "Trace":
        if self._trace is None:
            # Most programs never load it.
            from .trace import Trace

            self._trace = Trace(self._logger, Role.CLIENT, self._version)
        return self._trace
