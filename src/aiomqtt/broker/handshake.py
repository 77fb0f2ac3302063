"""What CONNACK and DISCONNECT of the broker say (MQTT 5.0 §3.2, §3.14)."""

from typing import Any, Final

from aiomqtt.properties import Properties, ReasonCode
from aiomqtt.protocol.codec.codes import codes_of
from aiomqtt.protocol.codec.encode import encode
from aiomqtt.protocol.packets import Connack, Connect, Signal
from aiomqtt.protocol.spec import (
    CONNECT_REASON_CODES,
    DEFAULT_RECEIVE_MAXIMUM,
    PacketType,
    ProtocolVersion,
    Role,
)

from .hooks import Refusal
from .limits import Limits

SERVER: Final = Role.SERVER
V31: Final = ProtocolVersion.V31
V311: Final = ProtocolVersion.V311
V5: Final = ProtocolVersion.V5

UNSPECIFIED_ERROR: Final = 0x80
IDENTIFIER_NOT_VALID: Final = 0x85
NOT_AUTHORIZED: Final = 0x87
# So many bytes of a CONNECT are enough to tell its version.
OPENING: Final = 16

# The return codes of 3.1.1 by reason code; "server unavailable" and "not authorized"
# stand for what they come nearest to.
_RETURN_CODES: Final = {code: number for number, code in CONNECT_REASON_CODES.items()}
_UNAVAILABLE: Final = {0x89, 0x97, 0x9C, 0x9D, 0x9F}


def version_of(opening: bytes) -> ProtocolVersion | None:
    """Return in which version to answer a CONNECT that can't be decoded.

    Args:
        opening: Its first bytes.

    Returns:
        None when it is no CONNECT at all: it gets no answer.
    """
    if opening[:1] != b"\x10":
        return None
    for name, versions in ((b"\x00\x04MQTT", (V311, V5)), (b"\x00\x06MQIsdp", (V31,))):
        at = opening.find(name, 2, 6 + len(name))
        if at >= 0:
            level = opening[at + len(name) : at + len(name) + 1]
            # [MQTT-3.1.2-2]: later versions may well understand 5.0.
            return V5 if len(versions) > 1 and level >= b"\x05" else versions[0]
    return V311


def refusal_of(connect: Connect, limits: Limits) -> Refusal | None:
    """Return why a CONNECT is refused for what it says, or None."""
    if not connect.client_id and (
        connect.version < V311 or (connect.version < V5 and not connect.clean_start)
    ):
        # [MQTT-3.1.3-8] of 3.1.1
        return Refusal(IDENTIFIER_NOT_VALID, "the client identifier is empty")
    will = connect.will
    if will is not None and will.qos > limits.maximum_qos:
        return Refusal(0x9B, f"a will with QoS {will.qos} is not supported")
    if will is not None and will.retain and not limits.retain_available:
        return Refusal(0x9A, "wills can't be retained")
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
        limits: What the client is told of.
        assigned: The client identifier, if the broker chose it.
        expiry: How many seconds the session will last.
        authentication_data: What ends the authentication, or None.
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
    """Return the CONNACK that refuses, as a version of MQTT says it."""
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


def to_disconnect_code(reason_code: int) -> int:
    """Return a code that a DISCONNECT of a server may have (§3.14.2.1)."""
    if reason_code in codes_of(PacketType.DISCONNECT, V5, SERVER):
        return reason_code
    # Those of a CONNACK that tell that somebody is not who he says.
    return NOT_AUTHORIZED if 0x84 <= reason_code <= 0x8C else UNSPECIFIED_ERROR


def encode_within(packet: Connack | Signal, version: int, maximum: int) -> bytes:
    """Encode a packet, without its properties if it would be too large otherwise.

    [MQTT-3.2.2-19] and [MQTT-3.14.2-3] ask for that.

    Args:
        packet: The packet.
        version: The version of MQTT.
        maximum: The client's Maximum Packet Size; 0: no limit.
    """
    data = encode(packet, version, SERVER)
    if maximum and len(data) > maximum:
        packet.properties = None
        data = encode(packet, version, SERVER)
    return data
