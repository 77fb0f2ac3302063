"""Properties to bytes and back, by the rows of the table (MQTT 5.0 §2.2.2)."""

from typing import Any, Final

from aiomqtt.properties import Properties
from aiomqtt.protocol.spec import (
    PROPERTY,
    PROPERTY_NAMES,
    DataType,
    PacketType,
    PropertyRow,
    ProtocolVersion,
    Role,
)
from aiomqtt.protocol.wire import (
    MALFORMED,
    PROTOCOL_ERROR,
    PacketError,
    Reader,
    encode_binary,
    encode_string,
    encode_variable,
)

V5: Final = ProtocolVersion.V5


def check_properties(
    properties: Properties | None,
    packet: PacketType,
    version: int = V5,
    sender: Role = Role.CLIENT,
) -> None:
    """Refuse properties that the packet, the version or the sender does not allow.

    Raises:
        ValueError: The message names the property and the rule.
    """
    if properties is None:
        return
    if version < V5:
        if properties.__dict__:
            names = ", ".join(properties.__dict__)
            msg = f"properties exist since MQTT 5.0 only: {names}"
            raise ValueError(msg)
        return
    for name, value in properties.__dict__.items():
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
    if "authentication_data" in properties.__dict__ and (
        "authentication_method" not in properties.__dict__
    ):
        msg = "authentication_data needs authentication_method (MQTT 5.0 §3.1.2.11.10)"
        raise ValueError(msg)


def _encode_value(row: PropertyRow, value: Any) -> bytes:
    if row.type is DataType.UTF8_STRING:
        return encode_string(value, row.name)
    if row.type is DataType.UTF8_STRING_PAIR:
        return encode_string(value[0], row.name) + encode_string(value[1], row.name)
    if row.type is DataType.BINARY_DATA:
        return encode_binary(value, row.name)
    if row.type is DataType.VARIABLE_BYTE_INTEGER:
        return encode_variable(value)
    size = {DataType.BYTE: 1, DataType.TWO_BYTE_INTEGER: 2}.get(row.type, 4)
    return int(value).to_bytes(size, "big")


def encode_properties(
    properties: Properties | None, packet: PacketType, version: int, sender: Role
) -> bytes:
    """Encode the property length and the properties (§2.2.2); nothing below 5.0."""
    check_properties(properties, packet, version, sender)
    if version < V5:
        return b""
    if properties is None:
        return b"\x00"
    parts: list[bytes] = []
    for name, value in properties.__dict__.items():
        row = PROPERTY_NAMES[name]
        parts.extend(
            bytes((row.identifier,)) + _encode_value(row, item)
            for item in (value if row.repeats else (value,))
        )
    encoded = b"".join(parts)
    return encode_variable(len(encoded)) + encoded


def _decode_value(row: PropertyRow, reader: Reader) -> Any:
    if row.type is DataType.UTF8_STRING:
        text = reader.string()
        if row.is_topic and ("+" in text or "#" in text):
            raise PacketError(MALFORMED, f"{row.title} contains wildcards")
        return text
    if row.type is DataType.UTF8_STRING_PAIR:
        return reader.string(), reader.string()
    if row.type is DataType.BINARY_DATA:
        return reader.binary()
    if row.type is DataType.BYTE:
        number = reader.byte()
    elif row.type is DataType.TWO_BYTE_INTEGER:
        number = reader.two_bytes()
    elif row.type is DataType.FOUR_BYTE_INTEGER:
        number = reader.four_bytes()
    else:
        number = reader.variable()
    if not row.minimum <= number <= row.largest:
        raise PacketError(row.range_error, f"{row.title} must not be {number}")
    return number


def decode_properties(
    reader: Reader, packet: PacketType, version: int, sender: Role
) -> Properties | None:
    """Decode the property length and the properties (§2.2.2); None below 5.0."""
    if version < V5:
        return None
    section = Reader(reader.take(reader.variable()))
    values: dict[str, Any] = {}
    while section.position < section.end:
        identifier = section.variable()
        row = PROPERTY.get(identifier)
        if row is None or packet not in row.packets:
            raise PacketError(
                MALFORMED, f"property {identifier:#04x} is not allowed in {packet.name}"
            )
        if sender not in row.packets[packet]:
            raise PacketError(
                PROTOCOL_ERROR, f"{row.title} in the {packet.name} of a {sender.value}"
            )
        value = _decode_value(row, section)
        if packet in row.repeats:
            values.setdefault(row.name, []).append(value)
        elif row.name in values:
            raise PacketError(PROTOCOL_ERROR, f"{row.title} stands twice")
        else:
            values[row.name] = [value] if row.repeats else value
    if "authentication_data" in values and "authentication_method" not in values:
        raise PacketError(PROTOCOL_ERROR, "Authentication Data without a method")
    return Properties._decoded(values)  # noqa: SLF001
