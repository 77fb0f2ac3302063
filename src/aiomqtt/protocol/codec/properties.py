"""Encoding and decoding of properties by the rows of the table (MQTT 5.0 §2.2.2)."""

from collections.abc import Callable
from typing import Any, Final, NamedTuple

from aiomqtt.properties import Properties
from aiomqtt.protocol.wire import (
    PacketError,
    Reader,
    encode_binary,
    encode_string,
    encode_variable,
)
from aiomqtt.standard.names import MALFORMED_PACKET, PROTOCOL_ERROR, V5
from aiomqtt.standard.tables import (
    MAXIMA,
    PROPERTIES,
    PROPERTY,
    PROPERTY_NAMES,
    DataType,
    PacketType,
    PropertyRow,
    Role,
)


def _encode_pair(value: tuple[str, str], name: str) -> bytes:
    return encode_string(value[0], name) + encode_string(value[1], name)


def _decode_pair(reader: Reader) -> tuple[str, str]:
    return reader.string(), reader.string()


_ENCODERS: Final[dict[DataType, Callable[[Any, str], bytes]]] = {
    DataType.BYTE: lambda value, _: bytes((value,)),
    DataType.TWO_BYTE_INTEGER: lambda value, _: int(value).to_bytes(2, "big"),
    DataType.FOUR_BYTE_INTEGER: lambda value, _: int(value).to_bytes(4, "big"),
    DataType.VARIABLE_BYTE_INTEGER: lambda value, _: encode_variable(value),
    DataType.BINARY_DATA: encode_binary,
    DataType.UTF8_STRING: encode_string,
    DataType.UTF8_STRING_PAIR: _encode_pair,
}
_DECODERS: Final[dict[DataType, Callable[[Reader], Any]]] = {
    DataType.BYTE: Reader.byte,
    DataType.TWO_BYTE_INTEGER: Reader.two_bytes,
    DataType.FOUR_BYTE_INTEGER: Reader.four_bytes,
    DataType.VARIABLE_BYTE_INTEGER: Reader.variable,
    DataType.BINARY_DATA: Reader.binary,
    DataType.UTF8_STRING: Reader.string,
    DataType.UTF8_STRING_PAIR: _decode_pair,
}


class _Field(NamedTuple):
    """A row of the table, with everything that can be computed in advance."""

    row: PropertyRow
    name: str
    prefix: bytes
    encode: Callable[[Any, str], bytes]
    decode: Callable[[Reader], Any]
    is_number: bool
    largest: int


_FIELDS: Final = {
    row.name: _Field(
        row,
        row.name,
        bytes((row.identifier,)),
        _ENCODERS[row.type],
        _DECODERS[row.type],
        row.type in MAXIMA,
        row.largest if row.type in MAXIMA else 0,
    )
    for row in PROPERTIES
}
# The properties that each packet from each sender may carry, by identifier.
_ALLOWED: Final = {
    (packet, sender): {
        field.row.identifier: field
        for field in _FIELDS.values()
        if sender in field.row.packets.get(packet, ())
    }
    for packet in PacketType
    for sender in Role
}


def check_properties(
    properties: Properties | None,
    packet: PacketType,
    version: int = V5,
    sender: Role = Role.CLIENT,
) -> None:
    """Raise ValueError for a property that the packet, version or sender rules out.

    Raises:
        ValueError: The message names the property and the rule.
    """
    if properties is None:
        return
    values: dict[str, Any] = properties.present
    if version < V5:
        if values:
            names = ", ".join(values)
            msg = f"properties exist since MQTT 5.0 only: {names}"
            raise ValueError(msg)
        return
    for name, value in values.items():
        row = PROPERTY_NAMES[name]
        if sender not in row.packets.get(packet, ()):
            msg = (
                f"{name} is not allowed in the {packet.name} of a {sender.value}"
                f" (MQTT 5.0 §{row.section})"
            )
            raise ValueError(msg)
        if row.repeats and packet not in row.repeats and len(value) > 1:
            msg = f"{name} is allowed only once in {packet.name}"
            raise ValueError(msg)
    if "authentication_data" in values and "authentication_method" not in values:
        msg = "authentication_data needs authentication_method (MQTT 5.0 §3.1.2.11.10)"
        raise ValueError(msg)


def encode_properties(
    properties: Properties | None, packet: PacketType, version: int, sender: Role
) -> bytes:
    """Encode the property length and the properties (§2.2.2); nothing below 5.0."""
    check_properties(properties, packet, version, sender)
    if version < V5:
        return b""
    if properties is None:
        return b"\x00"
    values: dict[str, Any] = properties.present
    parts: list[bytes] = []
    for name, value in values.items():
        field = _FIELDS[name]
        for item in value if field.row.repeats else (value,):
            parts += (field.prefix, field.encode(item, name))
    encoded = b"".join(parts)
    return encode_variable(len(encoded)) + encoded


def decode_properties(
    reader: Reader, packet: PacketType, version: int, sender: Role
) -> Properties | None:
    """Decode the property length and the properties (§2.2.2); None below 5.0."""
    if version < V5:
        return None
    section = Reader(reader.read(reader.variable()))
    allowed = _ALLOWED[packet, sender]
    values: dict[str, Any] = {}
    while section.position < section.end:
        identifier = section.variable()
        field = allowed.get(identifier)
        if field is None:
            raise _not_allowed(identifier, packet, sender)
        row, name = field.row, field.name
        value = field.decode(section)
        if field.is_number and not row.minimum <= value <= field.largest:
            raise PacketError(row.range_error, f"{row.title} must not be {value}")
        if row.is_topic and ("+" in value or "#" in value):
            raise PacketError(MALFORMED_PACKET, f"{row.title} contains wildcards")
        if packet in row.repeats:
            several = values.setdefault(name, [])
            several.append(value)
            reader.check_items(len(several), "properties of one kind")
        elif name in values:
            raise PacketError(PROTOCOL_ERROR, f"{row.title} stands twice")
        else:
            values[name] = [value] if row.repeats else value
    if "authentication_data" in values and "authentication_method" not in values:
        raise PacketError(PROTOCOL_ERROR, "Authentication Data without a method")
    return Properties._decoded(values, packet)  # noqa: SLF001


def _not_allowed(identifier: int, packet: PacketType, sender: Role) -> PacketError:
    """Return the error for a property that this packet of this sender can't carry."""
    row = PROPERTY.get(identifier)
    if row is None or packet not in row.packets:
        return PacketError(
            MALFORMED_PACKET,
            f"property {identifier:#04x} is not allowed in {packet.name}",
        )
    return PacketError(
        PROTOCOL_ERROR, f"{row.title} in the {packet.name} of a {sender.value}"
    )
