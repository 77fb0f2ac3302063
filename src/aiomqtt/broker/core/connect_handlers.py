"""From CONNECT to CONNACK, and DISCONNECT (MQTT 5.0 §3.1, §3.2, §3.14).

The steps: the CONNECT is checked, the client authenticates, the hooks decide whether it
may connect and have its will, and the connection gets its session.
"""

from typing import TYPE_CHECKING

from aiomqtt.broker.hooks import ClientInfo, Refusal
from aiomqtt.properties import Properties, ReasonCode
from aiomqtt.protocol.aliases import InboundAliases
from aiomqtt.protocol.packets import Connack, Connect, Signal
from aiomqtt.protocol.wire import PacketError
from aiomqtt.standard.names import (
    DEFAULT_RECEIVE_MAXIMUM,
    PACKET_TOO_LARGE,
    V5,
    V31,
)

from .connack import (
    connack_properties,
    encode_within,
    expiry_at_disconnect,
    refusal_of,
    session_expiry,
)
from .events import (
    Accepted,
    AuthenticationStarted,
    ConnectionPhase,
    ConnectPermission,
    WillPermission,
)
from .memory_account import size_of_connect
from .publish_handlers import refusal_of_will

if TYPE_CHECKING:
    from .connection import ClientConnection


def handle_connect(connection: "ClientConnection", packet: Connect) -> None:
    """Handle a CONNECT: refuse it, or begin with the authentication."""
    state = connection.state
    now = state.turn.now
    connection.timeout.on_activity(state.reading_time(now))
    connection.connect = packet
    connection.connect_size = size_of_connect(packet)
    connection.version = packet.version
    limits = state.limits
    properties = packet.properties or Properties()
    connection.enter(ConnectionPhase.AUTHENTICATING)
    connection.send_buffer.open(
        packet.version,
        properties.maximum_packet_size or 0,
        min(limits.topic_alias_maximum, properties.topic_alias_maximum or 0),
    )
    connection.aliases = InboundAliases(limits.topic_alias_maximum)
    refusal = _refusal_of(connection, packet)
    if refusal is not None:
        connection.refuse(refusal, now)
        return
    client_id = packet.client_id
    if not client_id:
        client_id = state.new_identifier()
        connection.is_identifier_assigned = True
    connection.info = ClientInfo(
        client_id,
        packet.version,
        packet.username,
        packet.password,
        packet.properties,
        connection.info.address,
        connection.info.certificate,
    )
    method = properties.authentication_method
    if method is not None:
        connection.is_authenticating = True
        connection.events.append(
            AuthenticationStarted(method, properties.authentication_data)
        )
    elif state.asks_to_connect:
        connection.ask(ConnectPermission(packet))
    else:
        ask_about_will(connection)


def _refusal_of(connection: "ClientConnection", packet: Connect) -> Refusal | None:
    state = connection.state
    refusal = state.redirection or refusal_of(packet, state.limits)
    if refusal is None and packet.will is not None:
        refusal = refusal_of_will(state, packet.will)
    return refusal


def ask_about_will(connection: "ClientConnection") -> None:
    """Go on with a client that may connect: ask whether it may have its will."""
    connect = connection.connect
    if connect.will is not None and connection.state.asks_for_topics:
        connection.ask(WillPermission(connect, connect.will))
    else:
        accept(connection)


def accept(connection: "ClientConnection") -> None:
    """Give the connection its session, and write the CONNACK.

    Raises:
        PacketError: No CONNACK is small enough for the client, or there are too many
            sessions.
    """
    state, connect = connection.state, connection.connect
    properties = connect.properties or Properties()
    expiry = session_expiry(connect, properties.session_expiry_interval, state.limits)
    connack = _connack(connection, expiry)
    is_present = state.attach(
        connection, connection.info.client_id, connect.clean_start
    )
    session = connection.session
    assert session is not None
    session.expiry = expiry
    session.will = connect.will
    session.attach(
        connection.send_buffer,
        connection.version,
        properties.receive_maximum or DEFAULT_RECEIVE_MAXIMUM,
    )
    if not is_present:
        session.inbound.clear()
    keep_alive = connect.keep_alive
    if connection.version >= V5 and state.limits.server_keep_alive is not None:
        keep_alive = state.limits.server_keep_alive
    connection.timeout.seconds = 1.5 * keep_alive
    connection.enter(ConnectionPhase.CONNECTED)
    connack.session_present = is_present and connection.version > V31
    connection.write(connack)
    connection.events.append(Accepted(connection.info, connect.clean_start, keep_alive))
    session.resume()
    if keep_alive:
        connection.restart_timer(state.turn.now)


def _connack(connection: "ClientConnection", expiry: int) -> Connack:
    """Return the CONNACK that accepts, without its Session Present flag."""
    info = connection.info
    connack = Connack(
        False,
        ReasonCode(0),
        connack_properties(
            connection.connect,
            connection.state.limits,
            info.client_id if connection.is_identifier_assigned else None,
            expiry,
            connection.final_data,
        ),
    )
    maximum = connection.send_buffer.maximum_packet_size
    if not encode_within(connack, connection.version, maximum):
        raise PacketError(PACKET_TOO_LARGE, f"no CONNACK fits into {maximum} bytes")
    return connack


def handle_disconnect(connection: "ClientConnection", packet: Signal) -> None:
    """Handle a DISCONNECT; only one with an error leaves the will (§3.14.4).

    Raises:
        PacketError: It would extend a session that ends with its connection.
    """
    session = connection.session
    expiry = expiry_at_disconnect(connection.connect, packet, connection.state.limits)
    if session is not None and expiry >= 0:
        session.expiry = expiry
    connection.close("", is_will_due=bool(packet.reason_code))
