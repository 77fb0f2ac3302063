"""The data representation (MQTT 5.0 §1.5): integers, strings, binary data.

For a violation of the standard, encoding raises ValueError, and decoding raises
`PacketError`, with the reason code to send to the peer.
"""

from typing import Final

from aiomqtt.standard.names import (
    MALFORMED_PACKET,
    MAXIMUM_REMAINING_LENGTH,
    MAXIMUM_STRING_LENGTH,
    QUOTA_EXCEEDED,
)

# The default maximum number of items of one kind in a packet: of topic filters, reason
# codes, properties that repeat.
MAXIMUM_ITEMS: Final = 65_536


class PacketError(Exception):
    """The peer violated the standard.

    Args:
        reason_code: The code to send to the peer, such as 0x81 or 0x82.
        text: A description for people.
    """

    def __init__(self, reason_code: int, text: str) -> None:
        super().__init__(text)
        self.reason_code = reason_code
        self.text = text


def encode_two_bytes(value: int) -> bytes:
    """Encode a Two Byte Integer (§1.5.2)."""
    return value.to_bytes(2, "big")


def encode_variable(value: int) -> bytes:
    """Encode a Variable Byte Integer in its shortest form (§1.5.5)."""
    if value < 0x80:
        return bytes((value,))
    if value < 0x4000:
        return bytes((value & 0x7F | 0x80, value >> 7))
    if value < 0x20_0000:
        return bytes((value & 0x7F | 0x80, value >> 7 & 0x7F | 0x80, value >> 14))
    if value > MAXIMUM_REMAINING_LENGTH:
        msg = f"{value} is more than a variable byte integer holds, 268435455"
        raise ValueError(msg)
    return bytes(
        (
            value & 0x7F | 0x80,
            value >> 7 & 0x7F | 0x80,
            value >> 14 & 0x7F | 0x80,
            value >> 21,
        )
    )


def encode_binary(value: bytes, name: str) -> bytes:
    """Encode Binary Data (§1.5.6); an error mentions the name of the field."""
    if len(value) > MAXIMUM_STRING_LENGTH:
        msg = f"{name} must be at most 65535 bytes, not {len(value)}"
        raise ValueError(msg)
    return len(value).to_bytes(2, "big") + value


def encode_string(value: str, name: str) -> bytes:
    """Encode a UTF-8 Encoded String (§1.5.4)."""
    try:
        encoded = value.encode()
    except UnicodeEncodeError:
        msg = f"{name} must be well-formed UTF-8: it holds a surrogate"
        raise ValueError(msg) from None
    if "\x00" in value:
        msg = f"{name} must not contain U+0000"
        raise ValueError(msg)
    return encode_binary(encoded, name)


def decode_text(encoded: bytes) -> str:
    """Decode the bytes of a UTF-8 Encoded String (§1.5.4).

    Python's decoder is strict: no surrogates, no overlong forms, and a leading
    U+FEFF stays. Control characters and non-characters, which a receiver may
    refuse, are accepted: the program decides about them.
    """
    try:
        text = encoded.decode()
    except UnicodeDecodeError:
        raise PacketError(
            MALFORMED_PACKET, "a string is not well-formed UTF-8"
        ) from None
    if "\x00" in text:
        raise PacketError(MALFORMED_PACKET, "a string contains U+0000")
    return text


class Reader:
    """Reads the fields of one packet, from the beginning to the end."""

    __slots__ = ("data", "end", "maximum_items", "position")

    def __init__(
        self,
        data: bytes,
        start: int = 0,
        end: int | None = None,
        maximum_items: int = MAXIMUM_ITEMS,
    ) -> None:
        """Read from start to end, by default all of the bytes."""
        self.data: bytes = data
        self.position: int = start
        self.end: int = len(data) if end is None else end
        self.maximum_items: int = maximum_items

    def read(self, size: int) -> bytes:
        """Read a number of bytes."""
        start = self.position
        if size > self.end - start:
            raise PacketError(MALFORMED_PACKET, "a packet is cut short")
        self.position = start + size
        return self.data[start : start + size]

    def byte(self) -> int:
        """Read a Byte."""
        return self.read(1)[0]

    def two_bytes(self) -> int:
        """Read a Two Byte Integer."""
        return int.from_bytes(self.read(2), "big")

    def four_bytes(self) -> int:
        """Read a Four Byte Integer."""
        return int.from_bytes(self.read(4), "big")

    def variable(self) -> int:
        """Read a Variable Byte Integer: at most four bytes, the shortest form."""
        value = 0
        for shift in (0, 7, 14, 21):
            byte = self.byte()
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                if byte == 0 and shift:
                    raise PacketError(
                        MALFORMED_PACKET, "a variable byte integer is not minimal"
                    )
                return value
        raise PacketError(
            MALFORMED_PACKET, "a variable byte integer exceeds four bytes"
        )

    def binary(self) -> bytes:
        """Read Binary Data."""
        return self.read(self.two_bytes())

    def string(self) -> str:
        """Read a UTF-8 Encoded String."""
        return decode_text(self.binary())

    def packet_id(self) -> int:
        """Read a Packet Identifier, which is never zero (§2.2.1)."""
        value = self.two_bytes()
        if not value:
            raise PacketError(MALFORMED_PACKET, "a packet identifier is zero")
        return value

    def rest(self) -> bytes:
        """Read all remaining bytes."""
        return self.read(self.end - self.position)

    def check_items(self, count: int, what: str) -> None:
        """Raise PacketError for a packet with too many items of one kind."""
        if count > self.maximum_items:
            raise PacketError(
                QUOTA_EXCEEDED, f"a packet has more than {self.maximum_items} {what}"
            )

    def finish(self) -> None:
        """Raise PacketError if bytes are left over."""
        if self.position != self.end:
            left = self.end - self.position
            raise PacketError(
                MALFORMED_PACKET, f"{left} bytes follow the end of a packet"
            )
