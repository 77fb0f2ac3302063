"""The properties of a message as bytes, in the form of MQTT 5.0 §2.2.2."""

from aiomqtt.properties import Properties
from aiomqtt.protocol.codec import properties as codec
from aiomqtt.protocol.wire import Reader
from aiomqtt.standard.names import V5
from aiomqtt.standard.tables import PacketType, Role


def encode_properties(properties: Properties) -> bytes:
    """Encode the properties of a message."""
    return codec.encode_properties(properties, PacketType.PUBLISH, V5, Role.CLIENT)


def decode_properties(encoded: bytes) -> Properties | None:
    """Decode the properties of a message; None: there are none.

    Raises:
        PacketError: They are damaged.
    """
    reader = Reader(encoded)
    return codec.decode_properties(reader, PacketType.PUBLISH, V5, Role.CLIENT)
