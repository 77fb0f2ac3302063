"""The table of the protocol: packets, properties and reason codes, one row each.

Everything that the standard lists is here and nowhere else; the codec and the public
values read it. The package holds only data and imports no other module of aiomqtt: it
is the lowest layer. Section numbers are those of MQTT 5.0.
"""

from enum import Enum, IntEnum
from typing import Final, NamedTuple


class ProtocolVersion(IntEnum):
    """A version of the protocol, by the level that CONNECT carries (§3.1.2.2)."""

    V31 = 3
    V311 = 4
    V5 = 5


# By the level, which may be a plain number.
PROTOCOL_NAMES: Final[dict[int, str]] = {
    ProtocolVersion.V31: "MQIsdp",
    ProtocolVersion.V311: "MQTT",
    ProtocolVersion.V5: "MQTT",
}


class PacketType(IntEnum):
    """The control packet types (§2.1.2), and the will, which has properties too."""

    CONNECT = 1
    CONNACK = 2
    PUBLISH = 3
    PUBACK = 4
    PUBREC = 5
    PUBREL = 6
    PUBCOMP = 7
    SUBSCRIBE = 8
    SUBACK = 9
    UNSUBSCRIBE = 10
    UNSUBACK = 11
    PINGREQ = 12
    PINGRESP = 13
    DISCONNECT = 14
    AUTH = 15
    # Not a packet: the will properties in CONNECT (§3.1.3.2).
    WILL = 16


class Role(Enum):
    """The two ends of a connection."""

    CLIENT = "client"
    SERVER = "server"


CLIENT: Final = frozenset({Role.CLIENT})
SERVER: Final = frozenset({Role.SERVER})
EITHER: Final = frozenset({Role.CLIENT, Role.SERVER})
Senders = frozenset[Role]


class DataType(Enum):
    """The data types of a property (§1.5)."""

    BYTE = "Byte"
    TWO_BYTE_INTEGER = "Two Byte Integer"
    FOUR_BYTE_INTEGER = "Four Byte Integer"
    VARIABLE_BYTE_INTEGER = "Variable Byte Integer"
    BINARY_DATA = "Binary Data"
    UTF8_STRING = "UTF-8 Encoded String"
    UTF8_STRING_PAIR = "UTF-8 String Pair"


MAXIMA: Final = {
    DataType.BYTE: 0xFF,
    DataType.TWO_BYTE_INTEGER: 0xFFFF,
    DataType.FOUR_BYTE_INTEGER: 0xFFFF_FFFF,
    DataType.VARIABLE_BYTE_INTEGER: 0x0FFF_FFFF,
}


class PacketRow(NamedTuple):
    """A control packet: its fixed header and its senders."""

    packet: PacketType
    # The four low bits of the first byte; None: DUP, QoS and RETAIN (§3.3.1).
    flags: int | None
    senders: Senders
    since: ProtocolVersion
    section: str


_V31 = ProtocolVersion.V31
_V5 = ProtocolVersion.V5

PACKETS: Final = (
    PacketRow(PacketType.CONNECT, 0, CLIENT, _V31, "3.1"),
    PacketRow(PacketType.CONNACK, 0, SERVER, _V31, "3.2"),
    PacketRow(PacketType.PUBLISH, None, EITHER, _V31, "3.3"),
    PacketRow(PacketType.PUBACK, 0, EITHER, _V31, "3.4"),
    PacketRow(PacketType.PUBREC, 0, EITHER, _V31, "3.5"),
    PacketRow(PacketType.PUBREL, 2, EITHER, _V31, "3.6"),
    PacketRow(PacketType.PUBCOMP, 0, EITHER, _V31, "3.7"),
    PacketRow(PacketType.SUBSCRIBE, 2, CLIENT, _V31, "3.8"),
    PacketRow(PacketType.SUBACK, 0, SERVER, _V31, "3.9"),
    PacketRow(PacketType.UNSUBSCRIBE, 2, CLIENT, _V31, "3.10"),
    PacketRow(PacketType.UNSUBACK, 0, SERVER, _V31, "3.11"),
    PacketRow(PacketType.PINGREQ, 0, CLIENT, _V31, "3.12"),
    PacketRow(PacketType.PINGRESP, 0, SERVER, _V31, "3.13"),
    # A server sends DISCONNECT only in 5.0; see `senders`.
    PacketRow(PacketType.DISCONNECT, 0, EITHER, _V31, "3.14"),
    PacketRow(PacketType.AUTH, 0, EITHER, _V5, "3.15"),
)

# By the type, which may be a plain number.
PACKET: Final[dict[int, PacketRow]] = {row.packet: row for row in PACKETS}


def senders(packet: PacketType, version: int) -> Senders:
    """Return the roles that may send a packet in a version of the protocol."""
    row = PACKET[packet]
    if version < row.since:
        return frozenset()
    if packet is PacketType.DISCONNECT and version < ProtocolVersion.V5:
        return CLIENT
    return row.senders


class PropertyRow(NamedTuple):
    """A property (§2.2.2.2): its type, the packets that carry it, and their senders."""

    identifier: int
    # The standard's name; `name` and `camel_name` are derived from it.
    title: str
    type: DataType
    packets: dict[PacketType, Senders]
    section: str
    minimum: int = 0
    maximum: int | None = None
    # The packets in which it may occur more than once.
    repeats: frozenset[PacketType] = frozenset()
    # The reason code for a value outside the minimum and maximum.
    range_error: int = 0x82
    # Whether the string is a topic name, without wildcards (§3.3.2.3.5).
    is_topic: bool = False

    @property
    def name(self) -> str:
        """The attribute of `Properties`: ``session_expiry_interval``."""
        return self.title.lower().replace(" ", "_")

    @property
    def camel_name(self) -> str:
        """The name in paho-mqtt's Properties: ``SessionExpiryInterval``."""
        return self.title.replace(" ", "")

    @property
    def largest(self) -> int:
        """The largest number that the property can hold."""
        return MAXIMA[self.type] if self.maximum is None else self.maximum


_B = DataType.BYTE
_I2 = DataType.TWO_BYTE_INTEGER
_I4 = DataType.FOUR_BYTE_INTEGER
_VI = DataType.VARIABLE_BYTE_INTEGER
_BD = DataType.BINARY_DATA
_S = DataType.UTF8_STRING
_SP = DataType.UTF8_STRING_PAIR

_MESSAGE = {PacketType.PUBLISH: EITHER, PacketType.WILL: CLIENT}
_CONNACK = {PacketType.CONNACK: SERVER}
_CONNECT = {PacketType.CONNECT: CLIENT}
_BOTH_WAYS = _CONNECT | _CONNACK
_REASON_STRING = {
    PacketType.CONNACK: SERVER,
    PacketType.PUBACK: EITHER,
    PacketType.PUBREC: EITHER,
    PacketType.PUBREL: EITHER,
    PacketType.PUBCOMP: EITHER,
    PacketType.SUBACK: SERVER,
    PacketType.UNSUBACK: SERVER,
    PacketType.DISCONNECT: EITHER,
    PacketType.AUTH: EITHER,
}
_USER_PROPERTY = (
    _REASON_STRING
    | _MESSAGE
    | _CONNECT
    | {PacketType.SUBSCRIBE: CLIENT, PacketType.UNSUBSCRIBE: CLIENT}
)

PROPERTIES: Final = (
    PropertyRow(0x01, "Payload Format Indicator", _B, _MESSAGE, "3.3.2.3.2", 0, 1),
    PropertyRow(0x02, "Message Expiry Interval", _I4, _MESSAGE, "3.3.2.3.3"),
    PropertyRow(0x03, "Content Type", _S, _MESSAGE, "3.3.2.3.9"),
    PropertyRow(0x08, "Response Topic", _S, _MESSAGE, "3.3.2.3.5", is_topic=True),
    PropertyRow(0x09, "Correlation Data", _BD, _MESSAGE, "3.3.2.3.6"),
    PropertyRow(
        0x0B,
        "Subscription Identifier",
        _VI,
        # A server repeats it, once for each subscription that matched.
        {PacketType.PUBLISH: SERVER, PacketType.SUBSCRIBE: CLIENT},
        "3.8.2.1.2",
        minimum=1,
        repeats=frozenset({PacketType.PUBLISH}),
    ),
    PropertyRow(
        0x11,
        "Session Expiry Interval",
        _I4,
        _BOTH_WAYS | {PacketType.DISCONNECT: CLIENT},
        "3.1.2.11.2",
    ),
    PropertyRow(0x12, "Assigned Client Identifier", _S, _CONNACK, "3.2.2.3.7"),
    PropertyRow(0x13, "Server Keep Alive", _I2, _CONNACK, "3.2.2.3.14"),
    PropertyRow(
        0x15,
        "Authentication Method",
        _S,
        _BOTH_WAYS | {PacketType.AUTH: EITHER},
        "3.1.2.11.9",
    ),
    PropertyRow(
        0x16,
        "Authentication Data",
        _BD,
        _BOTH_WAYS | {PacketType.AUTH: EITHER},
        "3.1.2.11.10",
    ),
    PropertyRow(0x17, "Request Problem Information", _B, _CONNECT, "3.1.2.11.7", 0, 1),
    PropertyRow(
        0x18, "Will Delay Interval", _I4, {PacketType.WILL: CLIENT}, "3.1.3.2.2"
    ),
    PropertyRow(0x19, "Request Response Information", _B, _CONNECT, "3.1.2.11.6", 0, 1),
    PropertyRow(0x1A, "Response Information", _S, _CONNACK, "3.2.2.3.15"),
    PropertyRow(
        0x1C,
        "Server Reference",
        _S,
        _CONNACK | {PacketType.DISCONNECT: SERVER},
        "3.2.2.3.16",
    ),
    PropertyRow(0x1F, "Reason String", _S, _REASON_STRING, "3.2.2.3.9"),
    PropertyRow(0x21, "Receive Maximum", _I2, _BOTH_WAYS, "3.1.2.11.3", minimum=1),
    PropertyRow(0x22, "Topic Alias Maximum", _I2, _BOTH_WAYS, "3.1.2.11.5"),
    PropertyRow(
        0x23,
        "Topic Alias",
        _I2,
        {PacketType.PUBLISH: EITHER},
        "3.3.2.3.4",
        minimum=1,
        range_error=0x94,
    ),
    PropertyRow(0x24, "Maximum QoS", _B, _CONNACK, "3.2.2.3.4", 0, 1),
    PropertyRow(0x25, "Retain Available", _B, _CONNACK, "3.2.2.3.5", 0, 1),
    PropertyRow(
        0x26,
        "User Property",
        _SP,
        _USER_PROPERTY,
        "3.1.2.11.8",
        repeats=frozenset(_USER_PROPERTY),
    ),
    PropertyRow(0x27, "Maximum Packet Size", _I4, _BOTH_WAYS, "3.1.2.11.4", minimum=1),
    PropertyRow(
        0x28, "Wildcard Subscription Available", _B, _CONNACK, "3.2.2.3.11", 0, 1
    ),
    PropertyRow(
        0x29, "Subscription Identifier Available", _B, _CONNACK, "3.2.2.3.12", 0, 1
    ),
    PropertyRow(
        0x2A, "Shared Subscription Available", _B, _CONNACK, "3.2.2.3.13", 0, 1
    ),
)

PROPERTY: Final = {row.identifier: row for row in PROPERTIES}
PROPERTY_NAMES: Final = {row.name: row for row in PROPERTIES}
CAMEL_NAMES: Final = {row.camel_name: row for row in PROPERTIES}


class ReasonRow(NamedTuple):
    """A reason code (§2.4) under one name, the packets that carry it, their senders."""

    code: int
    name: str
    packets: dict[PacketType, Senders]


_CA = {PacketType.CONNACK: SERVER}
_PA = {PacketType.PUBACK: EITHER}
_PC = {PacketType.PUBREC: EITHER}
_PL = {PacketType.PUBREL: EITHER}
_PP = {PacketType.PUBCOMP: EITHER}
_SA = {PacketType.SUBACK: SERVER}
_UA = {PacketType.UNSUBACK: SERVER}
_D = {PacketType.DISCONNECT: EITHER}
_DC = {PacketType.DISCONNECT: CLIENT}
_DS = {PacketType.DISCONNECT: SERVER}

REASON_CODES: Final = (
    ReasonRow(
        0x00,
        "Success",
        _CA | _PA | _PC | _PL | _PP | _UA | {PacketType.AUTH: SERVER},
    ),
    ReasonRow(0x00, "Normal disconnection", _D),
    ReasonRow(0x00, "Granted QoS 0", _SA),
    ReasonRow(0x01, "Granted QoS 1", _SA),
    ReasonRow(0x02, "Granted QoS 2", _SA),
    ReasonRow(0x04, "Disconnect with Will Message", _DC),
    ReasonRow(0x10, "No matching subscribers", _PA | _PC),
    ReasonRow(0x11, "No subscription existed", _UA),
    ReasonRow(0x18, "Continue authentication", {PacketType.AUTH: EITHER}),
    ReasonRow(0x19, "Re-authenticate", {PacketType.AUTH: CLIENT}),
    ReasonRow(0x80, "Unspecified error", _CA | _PA | _PC | _SA | _UA | _D),
    ReasonRow(0x81, "Malformed Packet", _CA | _D),
    ReasonRow(0x82, "Protocol Error", _CA | _D),
    ReasonRow(0x83, "Implementation specific error", _CA | _PA | _PC | _SA | _UA | _D),
    ReasonRow(0x84, "Unsupported Protocol Version", _CA),
    ReasonRow(0x85, "Client Identifier not valid", _CA),
    ReasonRow(0x86, "Bad User Name or Password", _CA),
    ReasonRow(0x87, "Not authorized", _CA | _PA | _PC | _SA | _UA | _DS),
    ReasonRow(0x88, "Server unavailable", _CA),
    ReasonRow(0x89, "Server busy", _CA | _DS),
    ReasonRow(0x8A, "Banned", _CA),
    ReasonRow(0x8B, "Server shutting down", _DS),
    ReasonRow(0x8C, "Bad authentication method", _CA | _DS),
    ReasonRow(0x8D, "Keep Alive timeout", _DS),
    ReasonRow(0x8E, "Session taken over", _DS),
    ReasonRow(0x8F, "Topic Filter invalid", _SA | _UA | _DS),
    ReasonRow(0x90, "Topic Name invalid", _CA | _PA | _PC | _D),
    ReasonRow(0x91, "Packet Identifier in use", _PA | _PC | _SA | _UA),
    ReasonRow(0x92, "Packet Identifier not found", _PL | _PP),
    ReasonRow(0x93, "Receive Maximum exceeded", _D),
    ReasonRow(0x94, "Topic Alias invalid", _D),
    ReasonRow(0x95, "Packet too large", _CA | _D),
    ReasonRow(0x96, "Message rate too high", _D),
    ReasonRow(0x97, "Quota exceeded", _CA | _PA | _PC | _SA | _D),
    ReasonRow(0x98, "Administrative action", _D),
    ReasonRow(0x99, "Payload format invalid", _CA | _PA | _PC | _D),
    ReasonRow(0x9A, "Retain not supported", _CA | _DS),
    ReasonRow(0x9B, "QoS not supported", _CA | _DS),
    ReasonRow(0x9C, "Use another server", _CA | _DS),
    ReasonRow(0x9D, "Server moved", _CA | _DS),
    ReasonRow(0x9E, "Shared Subscriptions not supported", _SA | _DS),
    ReasonRow(0x9F, "Connection rate exceeded", _CA | _DS),
    ReasonRow(0xA0, "Maximum connect time", _DS),
    ReasonRow(0xA1, "Subscription Identifiers not supported", _SA | _DS),
    ReasonRow(0xA2, "Wildcard Subscriptions not supported", _SA | _DS),
)

# The return codes of CONNACK in 3.1 and 3.1.1 (3.1.1 §3.2.2.3).
CONNECT_RETURN_CODES: Final = {
    0: "Connection accepted",
    1: "Incorrect protocol version",
    2: "Invalid client identifier",
    3: "Server unavailable",
    4: "Bad username or password",
    5: "Not authorised",
}
# The reason codes of 5.0 that replace them.
CONNECT_REASON_CODES: Final = {1: 0x84, 2: 0x85, 3: 0x88, 4: 0x86, 5: 0x87}
# The return codes of SUBACK in 3.1.1 (§3.9.3). 3.1 has no code for a failure,
# but today's brokers send 0x80 in 3.1 as well.
SUBSCRIBE_RETURN_CODES: Final = {
    0x00: "Granted QoS 0",
    0x01: "Granted QoS 1",
    0x02: "Granted QoS 2",
    0x80: "Failure",
}


def reason_codes(packet: PacketType, version: int, sender: Role) -> dict[int, str]:
    """Return the codes that a packet may carry from a sender, with their names."""
    if version >= ProtocolVersion.V5:
        return {
            row.code: row.name
            for row in REASON_CODES
            if sender in row.packets.get(packet, ())
        }
    if packet is PacketType.CONNACK:
        return CONNECT_RETURN_CODES
    if packet is PacketType.SUBACK:
        return SUBSCRIBE_RETURN_CODES
    return {}


# The names that paho-mqtt spells differently: aiomqtt 2 printed its spellings, and
# programs compare them.
NAMES_IN_PAHO: Final = {
    "Disconnect with Will Message": "Disconnect with will message",
    "No subscription existed": "No subscription found",
    "Malformed Packet": "Malformed packet",
    "Protocol Error": "Protocol error",
    "Unsupported Protocol Version": "Unsupported protocol version",
    "Client Identifier not valid": "Client identifier not valid",
    "Bad User Name or Password": "Bad user name or password",
    "Keep Alive timeout": "Keep alive timeout",
    "Topic Filter invalid": "Topic filter invalid",
    "Topic Name invalid": "Topic name invalid",
    "Packet Identifier in use": "Packet identifier in use",
    "Packet Identifier not found": "Packet identifier not found",
    "Receive Maximum exceeded": "Receive maximum exceeded",
    "Topic Alias invalid": "Topic alias invalid",
    "Shared Subscriptions not supported": "Shared subscription not supported",
    "Subscription Identifiers not supported": "Subscription identifiers not supported",
    "Wildcard Subscriptions not supported": "Wildcard subscription not supported",
}

# Only zero has several names; without a packet its name is that of the first row,
# "Success".
REASON_NAMES: Final = {row.code: row.name for row in reversed(REASON_CODES)}
