"""Authentication in several steps, by AUTH packets: the client's side (MQTT 5.0 §4.12).

The broker's steps become `Challenge` happenings; the caller answers each with
`Authentication.answer`, or accepts the last one with `Engine.accept_broker`.
"""

from enum import Enum

from aiomqtt.exceptions import MqttError
from aiomqtt.properties import Properties
from aiomqtt.standard.names import (
    CONTINUE_AUTHENTICATION,
    IMPLEMENTATION_SPECIFIC_ERROR,
    PROTOCOL_ERROR,
    RE_AUTHENTICATE,
    V5,
)
from aiomqtt.standard.tables import PacketType, Role

from .codec.encode import encode
from .negotiated import Negotiated
from .output import Challenge, PendingOutput
from .packets import Connack, Packet, Signal
from .wire import PacketError


class Turn(Enum):
    """The side that has to send the next packet of an authentication."""

    # There is no authentication in progress.
    NOBODY = "nobody"
    CLIENT = "client"
    BROKER = "broker"


class Authentication:
    """The authentication of one connection, which its CONNECT began.

    Args:
        negotiated: The state of the connection, with its CONNECT.
        pending: Receives the AUTH packets.
        has_authenticator: Whether the caller answers challenges; if not, the
            Authentication Data of the CONNECT have to be enough.

    Attributes:
        connack: The CONNACK that waits until the caller has accepted the broker.
    """

    def __init__(
        self, negotiated: Negotiated, pending: PendingOutput, has_authenticator: bool
    ) -> None:
        # Valid for the connection.
        self._negotiated = negotiated
        self._pending = pending
        self._has_authenticator = has_authenticator
        self._turn = Turn.BROKER
        # Valid from the CONNACK until the caller has accepted the broker.
        self.connack: Connack | None = None
        # The packets that came after it, and an estimate of their size in bytes.
        self._held: list[Packet] = []
        self._held_size = 0

    # --- packets from the broker ------------------------------------------------------

    def on_auth(self, packet: Signal, is_connected: bool) -> Challenge:
        """Handle an AUTH (§3.15).

        Raises:
            PacketError: The broker may not send it now, or there is no authenticator.
        """
        self._negotiated.check_authentication(packet.properties)
        self._negotiated.check_problem_information(packet.properties)
        is_last = packet.reason_code != CONTINUE_AUTHENTICATION
        if is_last and not is_connected:
            raise PacketError(PROTOCOL_ERROR, "AUTH does not continue")
        is_over = self._turn is Turn.NOBODY or not self._has_authenticator
        if is_connected and is_over:
            raise PacketError(PROTOCOL_ERROR, "AUTH continues no authentication")
        if not self._has_authenticator:
            raise PacketError(
                IMPLEMENTATION_SPECIFIC_ERROR,
                "an authentication of more than one step needs an authenticator",
            )
        self._end_turn_of_broker(packet)
        return Challenge(_data_of(packet), is_last)

    def on_connack(self, connack: Connack) -> Challenge:
        """Hold a CONNACK that accepts, until the caller has accepted the broker.

        Raises:
            PacketError: The broker has not waited for the client's answer.
        """
        self._end_turn_of_broker(connack)
        self.connack = connack
        return Challenge(_data_of(connack), True)

    def _end_turn_of_broker(self, packet: Signal | Connack) -> None:
        if self._turn is not Turn.BROKER:
            raise PacketError(
                PROTOCOL_ERROR, f"{packet.kind.name} before the answer to the last AUTH"
            )
        self._turn = Turn.CLIENT

    def hold(self, packet: Packet) -> None:
        """Keep a packet that came before the caller has accepted the broker."""
        self._held.append(packet)
        self._held_size += self._pending.size
        self._pending.size = 0

    # --- calls ------------------------------------------------------------------------

    def answer(self, data: bytes | None) -> None:
        """Answer the last `Challenge` with an AUTH; None: without data.

        Raises:
            MqttLimitError: The AUTH is larger than the broker accepts.
            ValueError: The data are too long. Nothing has changed.
        """
        assert self._turn is Turn.CLIENT
        self._send(CONTINUE_AUTHENTICATION, data)

    def begin_again(self, data: bytes | None) -> None:
        """Begin another authentication of the connected client (§4.12.1).

        Args:
            data: The Authentication Data; None: none.

        Raises:
            MqttError: There is an authentication in progress.
            MqttLimitError: The AUTH is larger than the broker accepts.
            ValueError: The data are too long. Nothing has changed.
        """
        if self._turn is not Turn.NOBODY:
            msg = "The client is being authenticated already"
            raise MqttError(msg)
        self._send(RE_AUTHENTICATE, data)

    def _send(self, reason_code: int, data: bytes | None) -> None:
        properties = Properties(
            authentication_method=self._negotiated.announced.authentication_method,
            authentication_data=data,
        )
        signal = Signal(PacketType.AUTH, reason_code, properties)
        packet = encode(signal, V5, Role.CLIENT)
        self._negotiated.limits.check(0, len(packet))
        self._turn = Turn.BROKER
        self._pending.data.append(packet)

    def complete(self) -> tuple[Connack | None, list[Packet]]:
        """Note that the caller has accepted the broker.

        Returns:
            The CONNACK, unless that was accepted before; and the packets after it.
        """
        assert self._turn is Turn.CLIENT
        self._turn = Turn.NOBODY
        connack, self.connack = self.connack, None
        held, self._held = self._held, []
        self._pending.size += self._held_size
        self._held_size = 0
        return connack, held


def _data_of(packet: Signal | Connack) -> bytes | None:
    properties = packet.properties
    return None if properties is None else properties.authentication_data
