"""The packets of a connection in words, for the log."""

import logging

from aiomqtt.escaping import escape, quote
from aiomqtt.protocol.codec.stream import Decoder
from aiomqtt.protocol.packets import (
    Ack,
    Connack,
    Connect,
    Packet,
    Publish,
    Signal,
    Suback,
    Subscribe,
    Unsubscribe,
)
from aiomqtt.protocol.spec import ProtocolVersion, Role


class Trace:
    """Logs the packets of one connection, as mosquitto words them.

    It reads the bytes once more, so that nothing else has to think of it.
    """

    def __init__(self, logger: logging.Logger) -> None:
        """Start with the CONNECT."""
        self._logger = logger
        # What the client is called, once it is known.
        self.name = "a new client"
        self._received = Decoder(ProtocolVersion.V5, Role.CLIENT)
        self._sent = Decoder(ProtocolVersion.V5, Role.SERVER)

    def received(self, data: bytes) -> None:
        """Log what came from the client."""
        for packet in self._received.feed(data):
            if isinstance(packet, Connect):
                self.name = escape(packet.client_id) or self.name
                self._sent = Decoder(packet.version, Role.SERVER)
            self._logger.debug(
                "Received %s from %s%s",
                packet.kind.name,
                self.name,
                describe(packet),
            )

    def sent(self, data: bytes) -> None:
        """Log what goes to the client."""
        for packet in self._sent.feed(data):
            self._logger.debug(
                "Sending %s to %s%s", packet.kind.name, self.name, describe(packet)
            )


def describe(packet: Packet) -> str:
    """Return what matters of a packet, in brackets; never a password or a payload."""
    if isinstance(packet, Publish):
        return (
            f" (d{packet.dup:d}, q{packet.qos}, r{packet.retain:d}, m{packet.mid},"
            f" {quote(packet.topic.value)}, {len(packet.payload)} bytes)"
        )
    if isinstance(packet, Ack):
        return f" (m{packet.packet_id}, rc{int(packet.reason_code)})"
    if isinstance(packet, Suback):
        codes = ", ".join(str(int(code)) for code in packet.reason_codes)
        return f" (m{packet.packet_id}, {codes})"
    if isinstance(packet, Subscribe):
        asked = ", ".join(
            f"{quote(name)} q{options.qos}" for name, options in packet.subscriptions
        )
        return f" (m{packet.packet_id}, {asked})"
    if isinstance(packet, Unsubscribe):
        return f" (m{packet.packet_id}, {', '.join(map(quote, packet.filters))})"
    if isinstance(packet, Connack):
        return f" (s{packet.session_present:d}, rc{int(packet.reason_code)})"
    if isinstance(packet, Signal):
        return f" (rc{int(packet.reason_code)})"
    return ""
