"""The properties of a message as bytes, in the form of MQTT 5.0 §2.2.2."""

from aiomqtt.properties import Properties
from aiomqtt.protocol.codec import properties as codec
from aiomqtt.protocol.wire import Reader
from aiomqtt.standard.names import V5
from aiomqtt.standard.tables import PacketType, Role


def encode_properties(
    properties: Properties, kind: PacketType = PacketType.PUBLISH
) -> bytes:
    """Encode the properties of a message.

    Args:
        properties: The properties.
        kind: PUBLISH, or WILL for those of a will.
    """
    return codec.encode_properties(properties, kind, V5, Role.CLIENT)


def decode_properties(
    encoded: bytes, kind: PacketType = PacketType.PUBLISH
) -> Properties | None:
    """Decode the properties of a message; None: there are none.

    Raises:
        PacketError: They are damaged.
    """
    return codec.decode_properties(Reader(encoded), kind, V5, Role.CLIENT)
