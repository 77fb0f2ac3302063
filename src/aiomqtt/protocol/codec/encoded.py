"""Properties of a received PUBLISH: checked at once, decoded when a program looks."""

from typing import Final

from aiomqtt.build import mypyc_attr
from aiomqtt.message import EncodedProperties
from aiomqtt.properties import Properties
from aiomqtt.protocol.wire import Reader, encode_variable
from aiomqtt.standard.names import V5
from aiomqtt.standard.tables import (
    PROPERTIES,
    DataType,
    PacketType,
    PropertyRow,
    Role,
)

from .properties import decode_properties
from .size import NUMBER_SIZE, PAIR_SIZE, PROPERTIES_SIZE, WIDE

PUBLISH_TYPE: Final = PacketType.PUBLISH

# How to check a property. OTHER: not here, as it is rare or not allowed.
OTHER: Final = 0
TEXT: Final = 1
TOPIC: Final = 2
BINARY: Final = 3
PAIR: Final = 4
FLAG: Final = 5
FOUR_BYTES: Final = 6
NUMBER: Final = 7

# The wildcards, as bytes: to look for an int is faster.
PLUS: Final = 0x2B
HASH: Final = 0x23


def _kind(row: PropertyRow) -> int:
    """Return how to check the property of a row in the PUBLISH of a broker."""
    if Role.SERVER not in row.packets.get(PUBLISH_TYPE, ()):
        return OTHER
    if row.type is DataType.UTF8_STRING:
        return TOPIC if row.is_topic else TEXT
    if row.type is DataType.BINARY_DATA:
        return BINARY
    if row.type is DataType.UTF8_STRING_PAIR:
        return PAIR
    if row.type is DataType.BYTE and (row.minimum, row.largest) == (0, 1):
        return FLAG
    if row.type is DataType.FOUR_BYTE_INTEGER and (
        (row.minimum, row.largest) == (0, 0xFFFF_FFFF)
    ):
        return FOUR_BYTES
    if row.type is DataType.VARIABLE_BYTE_INTEGER and row.minimum == 1:
        return NUMBER
    return OTHER


_KIND_OF: Final = {row.identifier: _kind(row) for row in PROPERTIES}
# By identifier. With a topic alias, the engine looks at the properties at once.
_KINDS: Final = bytes([_KIND_OF.get(identifier, OTHER) for identifier in range(256)])


@mypyc_attr(acyclic=True)
class CheckedProperties(EncodedProperties):
    """The bytes of properties that are known to be well-formed.

    Attributes:
        size: How many bytes they take in the packet, with their length in front.
        memory: How many bytes they use besides when they are decoded, about.
    """

    __slots__ = ("_section", "memory", "size")

    def __init__(self, section: bytes, size: int, memory: int) -> None:
        self._section = section
        self.size: int = size
        self.memory: int = memory

    def decode(self) -> Properties | None:
        """Decode them."""
        data = encode_variable(len(self._section)) + self._section
        reader = Reader(data, 0, None, len(data))
        return decode_properties(reader, PUBLISH_TYPE, V5, Role.SERVER)


def check_encoded(
    data: bytes, position: int, stop: int, maximum_items: int
) -> CheckedProperties | None:
    """Check the properties of a broker's PUBLISH without decoding them.

    What `decode_properties` would refuse is not accepted here.

    Args:
        data: Where the packet is.
        position: Where the property length is.
        stop: Where the packet ends.
        maximum_items: How many properties of one kind it may have.

    Returns:
        None if they are wrong, or so unusual that they have to be decoded to tell.
    """
    found = _section_at(data, position, stop)
    if found is None:
        return None
    section: bytes = found  # an Optional would be checked again at each use
    length = len(section)
    is_ascii = section.isascii()
    # A string has no zero byte: all that there are must be found elsewhere.
    zeros: int = section.count(0)
    seen = pairs = numbers = at = binary_start = binary_end = 0
    while at < length:
        identifier = section[at]
        kind = _KINDS[identifier]
        at += 1
        strings = 2 if kind == PAIR else 1
        if kind == PAIR:
            pairs += 1
        elif kind == OTHER:
            return None
        elif kind == NUMBER:
            numbers += 1
        else:
            bit = 1 << identifier
            if seen & bit:
                return None
            seen |= bit
        if kind >= FLAG:
            end = _end_of_number(section, at, length, kind)
            if not end:
                return None
            zeros -= _zeros(section, at, end)
            at = end
            continue
        while strings:
            strings -= 1
            if at + 2 > length:
                return None
            high, low = section[at], section[at + 1]
            if not high:
                zeros -= 1
            if not low:
                zeros -= 1
            at += 2
            end = at + (high << 8 | low)
            if end > length:
                return None
            if kind == BINARY:
                binary_start, binary_end = at, end
            elif (not is_ascii or kind == TOPIC) and not _is_text(
                section[at:end], kind
            ):
                return None
            at = end
    if zeros and binary_end:
        zeros -= section.count(0, binary_start, binary_end)
    if zeros or pairs > maximum_items or numbers > maximum_items:
        return None
    return _measured(section, is_ascii, pairs, numbers)


def _section_at(data: bytes, position: int, stop: int) -> bytes | None:
    """Return the properties after their length; None if it is unusual or too large."""
    if position >= stop:
        return None
    length = data[position]
    start = position + 1
    if length >= 0x80:
        if start >= stop or not 0 < data[start] < 0x80:
            return None
        length = (length & 0x7F) | data[start] << 7
        start += 1
    if start + length > stop:
        return None
    return data[start : start + length]


def _measured(
    section: bytes, is_ascii: bool, pairs: int, numbers: int
) -> CheckedProperties:
    """Return properties that are right, with their size and their memory."""
    length = len(section)
    size = length + (1 if length < 0x80 else 2)
    memory = PROPERTIES_SIZE + PAIR_SIZE * pairs + NUMBER_SIZE * numbers
    if not is_ascii:
        memory += WIDE * size
    return CheckedProperties(section, size, memory)


def _zeros(section: bytes, start: int, stop: int) -> int:
    """Count the zero bytes of a number."""
    zeros = 0
    for index in range(start, stop):
        if not section[index]:
            zeros += 1
    return zeros


def _end_of_number(section: bytes, at: int, length: int, kind: int) -> int:
    """Return where a number ends; 0 if it is cut short or not in its range."""
    if kind == FOUR_BYTES:
        return at + 4 if at + 4 <= length else 0
    if at >= length:
        return 0
    if kind == FLAG:
        return at + 1 if section[at] <= 1 else 0
    for index in range(at, min(at + 4, length)):
        byte = section[index]
        if not byte:
            return 0
        if byte < 0x80:
            return index + 1
    return 0


def _is_text(encoded: bytes, kind: int) -> bool:
    """Whether a string is UTF-8, and a topic without wildcards."""
    if kind == TOPIC and (PLUS in encoded or HASH in encoded):
        return False
    if not encoded.isascii():
        try:
            encoded.decode()
        except UnicodeDecodeError:
            return False
    return True
