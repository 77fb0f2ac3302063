"""Logging of the packets of one connection at DEBUG, of a client or a broker."""

from logging import DEBUG, INFO
from typing import Final

from aiomqtt.escaping import escape
from aiomqtt.exceptions import MqttError
from aiomqtt.log import SafeLogger
from aiomqtt.properties import ReasonCode
from aiomqtt.protocol.codec.framing import Decoder
from aiomqtt.protocol.describe import describe
from aiomqtt.protocol.packets import Connect
from aiomqtt.standard.tables import ProtocolVersion, Role

# The names of the events, and the words for them.
RECEIVED: Final = ("packet_received", "Received")
SENDING: Final = ("packet_sent", "Sending")


class Trace:
    """Logs the packets sent and received on one connection.

    It decodes the bytes a second time, so that no other code depends on logging. The
    caller first checks whether the logger is enabled, so it costs nothing otherwise.

    Args:
        logger: The logger.
        role: The role of this side.
        version: The version of the connection; a CONNECT replaces it with its own.

    Attributes:
        name: The name of the client in a broker's log.
    """

    def __init__(
        self,
        logger: SafeLogger,
        role: Role,
        version: ProtocolVersion = ProtocolVersion.V5,
    ) -> None:
        self._logger = logger
        self._role = role
        self._peer = Role.SERVER if role is Role.CLIENT else Role.CLIENT
        self._version = version
        self.name: str = "a new client"
        self._received = Decoder(version, self._peer)

    def received(self, data: bytes, is_inside: bool | None = None) -> None:
        """Log the packets that end within a chunk from the other side.

        Args:
            data: The bytes.
            is_inside: Whether the chunk begins inside a packet, for a caller that skips
                chunks; ``None``: the caller passes every chunk.
        """
        if is_inside is False:
            self._received = Decoder(self._version, self._peer)
        elif is_inside and not self._received.is_partial:
            # The beginning is missing: log from the next packet on.
            return
        for packet in self._received.feed(data):
            if isinstance(packet, Connect):
                self.name = escape(packet.client_id) or self.name
                self._version = packet.version
            self._say(RECEIVED, "from", packet.kind.name, describe(packet))

    def sent(self, pieces: list[bytes]) -> None:
        """Log complete packets that are sent to the other side."""
        for packet in Decoder(self._version, self._role).feed(b"".join(pieces)):
            self._say(SENDING, "to", packet.kind.name, describe(packet))

    def _say(
        self, said: tuple[str, str], preposition: str, kind: str, rest: str
    ) -> None:
        event, verb = said
        fields = {"packet": kind}
        log = self._logger.event
        if self._role is Role.CLIENT:
            log(DEBUG, event, fields, "%s %s%s", verb, kind, rest)
        else:
            fields["client_id"] = name = self.name
            form = "%s %s %s %s%s"
            log(DEBUG, event, fields, form, verb, kind, preposition, name, rest)


def log_connected(
    logger: SafeLogger, target: str, client_id: str, session_present: bool
) -> None:
    """Log that the broker accepted a connection."""
    name = f" as {escape(client_id)}" if client_id else ""
    fields = {"session_present": session_present}
    logger.event(INFO, "connected", fields, "Connected to %s%s", target, name)


def log_ended(logger: SafeLogger, target: str, error: MqttError | None) -> None:
    """Log the end of an accepted connection; without an error, the program left."""
    if error is None:
        logger.event(INFO, "disconnected", {}, "Disconnected from %s", target)
    else:
        # Some errors name the broker, others only its reason.
        text = str(error)
        where = "" if target in text else f" ({target})"
        fields = {"reason_code": to_number(error.reason_code)}
        form = "Connection lost%s: %s"
        logger.event(INFO, "connection_lost", fields, form, where, text)


def to_number(code: ReasonCode | None) -> int | None:
    """Return a reason code as a record has it."""
    return None if code is None else int(code)
