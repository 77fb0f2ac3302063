"""The contents of the broker's CONNACK and DISCONNECT (MQTT 5.0 §3.2, §3.14)."""

from typing import Any, Final

from aiomqtt.broker.hooks import Refusal
from aiomqtt.broker.limits import Limits
from aiomqtt.properties import Properties, ReasonCode
from aiomqtt.protocol.codec.codes import codes_of
from aiomqtt.protocol.codec.encode import encode
from aiomqtt.protocol.packets import Connack, Connect, Signal
from aiomqtt.protocol.wire import PacketError
from aiomqtt.standard.names import (
    BAD_AUTHENTICATION_METHOD,
    CLIENT_IDENTIFIER_NOT_VALID,
    CONNECTION_RATE_EXCEEDED,
    DEFAULT_RECEIVE_MAXIMUM,
    FIRST_FAILURE,
    NOT_AUTHORIZED,
    PROTOCOL_ERROR,
    QOS_NOT_SUPPORTED,
    QUOTA_EXCEEDED,
    RETAIN_NOT_SUPPORTED,
    SERVER_BUSY,
    SERVER_MOVED,
    UNSPECIFIED_ERROR,
    UNSUPPORTED_PROTOCOL_VERSION,
    USE_ANOTHER_SERVER,
    V5,
    V311,
)
from aiomqtt.standard.tables import (
    CONNECT_REASON_CODES,
    PacketType,
    ProtocolVersion,
    Role,
)

from .session import FOREVER

SERVER: Final = Role.SERVER

# The number of bytes of a CONNECT that are enough to find its version.
OPENING: Final = 16

# The names of MQTT, as they stand in a CONNECT.
_PROTOCOL_NAMES: Final = (b"\x00\x04MQTT", b"\x00\x06MQIsdp")
# Properties that may be left out, in steps; the last step leaves out all properties of
# a refusal. Without the other properties a client would violate limits that it can't
# know.
_DISPENSABLE: Final = (
    ("reason_string",),
    ("response_information",),
    ("topic_alias_maximum",),
    (),
)

# The return codes of 3.1.1 by reason code; "server unavailable" and "not authorized"
# stand for the codes that they come closest to.
_RETURN_CODES: Final = {code: number for number, code in CONNECT_REASON_CODES.items()}
_UNAVAILABLE: Final = {
    SERVER_BUSY,
    QUOTA_EXCEEDED,
    USE_ANOTHER_SERVER,
    SERVER_MOVED,
    CONNECTION_RATE_EXCEEDED,
}


def answer_to_undecodable(opening: bytes, code: int, text: str) -> bytes:
    """Return the answer to a CONNECT that can't be decoded; nothing for most.

    An unsupported protocol level gets return code 1 of 3.1.1, which clients of all
    versions can read: those that support several versions then try another one, as
    mosquitto's bridges do, which begin with a level of their own. In 5.0 a CONNACK
    explains the error; below 5.0 there must be no answer (3.1.1 [MQTT-3.1.4-1]).

    Args:
        opening: The first bytes of the connection.
        code: The reason code.
        text: The explanation.
    """
    level = _level_of(opening)
    if level is None:
        return b""
    if code == UNSUPPORTED_PROTOCOL_VERSION:
        return b"\x20\x02\x00\x01"
    if level != V5:
        return b""
    return encode(refusal_in(ProtocolVersion.V5, Refusal(code, text)), V5, SERVER)


def _level_of(opening: bytes) -> int | None:
    """Return the protocol level of a CONNECT; None: it is not a CONNECT of MQTT."""
    # In 3.1 the low bits mean nothing.
    if opening and opening[0] >> 4 == PacketType.CONNECT:
        for name in _PROTOCOL_NAMES:
            at = opening.find(name, 2, 6 + len(name))
            level = opening[at + len(name) :]
            if at >= 0 and level:
                return level[0]
    return None


def refusal_of(connect: Connect, limits: Limits) -> Refusal | None:
    """Return the reason to refuse a CONNECT because of its contents, or None."""
    if not connect.client_id and (
        connect.version < V311 or (connect.version < V5 and not connect.clean_start)
    ):
        # [MQTT-3.1.3-8] of 3.1.1
        return Refusal(CLIENT_IDENTIFIER_NOT_VALID, "the client identifier is empty")
    will = connect.will
    if will is not None and will.qos > limits.maximum_qos:
        return Refusal(
            QOS_NOT_SUPPORTED, f"a will with QoS {will.qos} is not supported"
        )
    if will is not None and will.retain and not limits.retain_available:
        return Refusal(RETAIN_NOT_SUPPORTED, "wills can't be retained")
    return None


def connack_properties(
    connect: Connect,
    limits: Limits,
    assigned: str | None,
    expiry: int,
    authentication_data: bytes | None,
) -> Properties | None:
    """Return the properties of a CONNACK that accepts (§3.2.2.3); None below 5.0.

    Args:
        connect: The CONNECT.
        limits: The limits to announce.
        assigned: The client identifier, if the broker chose it.
        expiry: The session expiry interval, in seconds.
        authentication_data: The last Authentication Data, or None.
    """
    if connect.version < V5:
        return None
    asked = connect.properties or Properties()
    values: dict[str, Any] = {}
    if expiry != (asked.session_expiry_interval or 0):
        values["session_expiry_interval"] = expiry
    if limits.receive_maximum != DEFAULT_RECEIVE_MAXIMUM:
        values["receive_maximum"] = limits.receive_maximum
    if limits.maximum_qos < 2:
        values["maximum_qos"] = limits.maximum_qos
    if limits.maximum_packet_size is not None:
        values["maximum_packet_size"] = limits.maximum_packet_size
    if assigned is not None:
        values["assigned_client_identifier"] = assigned
    if limits.topic_alias_maximum:
        values["topic_alias_maximum"] = limits.topic_alias_maximum
    for name, is_available in (
        ("retain_available", limits.retain_available),
        ("wildcard_subscription_available", limits.wildcard_subscriptions),
        ("subscription_identifier_available", limits.subscription_identifiers),
        ("shared_subscription_available", limits.shared_subscriptions),
    ):
        if not is_available:
            values[name] = 0
    if limits.server_keep_alive is not None:
        values["server_keep_alive"] = limits.server_keep_alive
    if asked.request_response_information:
        # The topics below it are for the answers to this client (§4.10.1).
        values["response_information"] = f"response/{assigned or connect.client_id}"
    if asked.authentication_method is not None:
        values["authentication_method"] = asked.authentication_method
        if authentication_data is not None:
            values["authentication_data"] = authentication_data
    return Properties(**values)


def refusal_in(version: ProtocolVersion, refusal: Refusal) -> Connack:
    """Return the CONNACK that refuses, for a version of MQTT."""
    code = refusal.reason_code
    if version < V5:
        number = 3 if code in _UNAVAILABLE else _RETURN_CODES.get(code, 5)
        return Connack(False, ReasonCode.of_connack(number))
    if code not in codes_of(PacketType.CONNACK, V5, SERVER):
        code = UNSPECIFIED_ERROR
    properties = Properties(
        reason_string=refusal.reason_string, server_reference=refusal.server_reference
    )
    return Connack(False, ReasonCode(code), properties)


def code_within(kind: PacketType, reason_code: int) -> int:
    """Return a reason code, or the closest one that the packet may carry (5.0 §2.4)."""
    if reason_code in codes_of(kind, V5, SERVER):
        return reason_code
    # The codes of a CONNACK for a client whose identity is in doubt.
    return (
        NOT_AUTHORIZED
        if UNSUPPORTED_PROTOCOL_VERSION <= reason_code <= BAD_AUTHENTICATION_METHOD
        else UNSPECIFIED_ERROR
    )


def session_expiry(connect: Connect, interval: int | None, limits: Limits) -> int:
    """Return how long a session outlives its connection, in seconds.

    Args:
        connect: The CONNECT.
        interval: The interval that the client requests in 5.0; None: none.
        limits: The limits, with the maximum.
    """
    if connect.version < V5:
        interval = 0 if connect.clean_start else FOREVER
    maximum = limits.maximum_session_expiry
    return (interval or 0) if maximum is None else min(interval or 0, maximum)


def expiry_at_disconnect(connect: Connect, packet: Signal, limits: Limits) -> int:
    """Return how long a session lasts after a DISCONNECT, in seconds; -1: unchanged.

    Raises:
        PacketError: It would extend a session that ends with its connection
            (§3.14.2.2.2).
    """
    properties = packet.properties
    if properties is None or properties.session_expiry_interval is None:
        return -1
    interval = properties.session_expiry_interval
    announced = connect.properties or Properties()
    if interval and not announced.session_expiry_interval:
        raise PacketError(
            PROTOCOL_ERROR, "a session of 0 seconds can't be made to last"
        )
    return session_expiry(connect, interval, limits)


def encode_within(packet: Connack | Signal, version: int, maximum: int) -> bytes:
    """Encode a CONNACK or DISCONNECT without the properties that make it too large.

    [MQTT-3.2.2-19] and [MQTT-3.14.2-3] require that.

    Args:
        packet: The packet; properties are removed from it.
        version: The version of MQTT.
        maximum: The client's Maximum Packet Size; 0: no limit.

    Returns:
        The bytes; empty if it is still too large: then it must not be sent
        ([MQTT-3.1.2-24]).
    """
    data = encode(packet, version, SERVER)
    is_success = packet.reason_code < FIRST_FAILURE
    for names in _DISPENSABLE if maximum else ():
        if len(data) <= maximum:
            return data
        if not names and not is_success:
            # The most important part of an error is the reason code.
            packet.properties = None
        elif packet.properties is not None:
            packet.properties = packet.properties.without(*names)
        data = encode(packet, version, SERVER)
    return data if not maximum or len(data) <= maximum else b""
