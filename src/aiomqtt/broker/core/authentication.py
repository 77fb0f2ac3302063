"""Authentication in several steps, by AUTH packets (MQTT 5.0 §4.12)."""

from dataclasses import replace
from typing import TYPE_CHECKING

from aiomqtt.properties import Properties
from aiomqtt.protocol.packets import Connect, Signal
from aiomqtt.protocol.wire import PacketError
from aiomqtt.standard.names import PROTOCOL_ERROR, RE_AUTHENTICATE
from aiomqtt.standard.tables import PacketType

from .connect_handlers import ask_about_will
from .events import AuthenticationContinued, AuthenticationStarted

if TYPE_CHECKING:
    from .connection import ClientConnection


def handle_auth(connection: "ClientConnection", packet: Signal) -> None:
    """Handle an AUTH: it continues an authentication, or begins another one.

    Raises:
        PacketError: The method differs, or there is nothing to continue.
    """
    method = check_method(connection.connect, packet)
    data = (packet.properties or Properties()).authentication_data
    if packet.reason_code == RE_AUTHENTICATE:
        if connection.is_authenticating or not connection.is_connected:
            raise PacketError(PROTOCOL_ERROR, "an authentication has begun already")
        connection.is_authenticating = True
        connection.events.append(AuthenticationStarted(method, data))
    elif connection.is_authenticating:
        connection.events.append(AuthenticationContinued(data))
    else:
        raise PacketError(PROTOCOL_ERROR, "AUTH continues no authentication")


def complete_authentication(
    connection: "ClientConnection", data: bytes | None, username: str | None
) -> None:
    """Complete a successful authentication, with an AUTH or with the CONNACK."""
    connection.is_authenticating = False
    if username is not None:
        # The password of the CONNECT, if there was one, is nobody's.
        connection.info = replace(connection.info, username=username, password=None)
    if connection.is_connected:
        write_auth(connection, 0, data)
        return
    connection.final_data = data
    try:
        ask_about_will(connection)
    except PacketError as error:
        connection.fail(error.reason_code, error.text)


def write_auth(
    connection: "ClientConnection", reason_code: int, data: bytes | None
) -> None:
    """Write an AUTH; end the connection if the client does not accept its size."""
    try:
        connection.write(auth_packet(connection.connect, reason_code, data))
    except PacketError as error:
        connection.fail(error.reason_code, error.text)


def check_method(connect: Connect, packet: Signal) -> str:
    """Return the Authentication Method of an AUTH: that of the CONNECT.

    Raises:
        PacketError: It differs, or the CONNECT had none ([MQTT-4.12.0-5],
            [MQTT-4.12.0-7]).
    """
    announced = connect.properties or Properties()
    properties = packet.properties or Properties()
    method = announced.authentication_method
    if method is None or properties.authentication_method != method:
        raise PacketError(
            PROTOCOL_ERROR, "the authentication method is not that of the CONNECT"
        )
    return method


def auth_packet(connect: Connect, reason_code: int, data: bytes | None) -> Signal:
    """Return an AUTH of the exchange that a CONNECT began (§3.15)."""
    announced = connect.properties or Properties()
    return Signal(
        PacketType.AUTH,
        reason_code,
        Properties(
            authentication_method=announced.authentication_method,
            authentication_data=data,
        ),
    )
