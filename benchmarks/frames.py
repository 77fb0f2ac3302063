"""Encode and split the few packets that the benchmark's peer needs."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeAlias

Buffer: TypeAlias = bytes | bytearray

CONNECT, CONNACK, PUBLISH, PUBACK, PUBREC, PUBREL, PUBCOMP = range(1, 8)
SUBSCRIBE, SUBACK, PINGREQ, PINGRESP, DISCONNECT = 8, 9, 12, 13, 14

# The first byte of each acknowledgement; PUBREL has the flags 0010.
ACK_HEADS = {PUBACK: 0x40, PUBREC: 0x50, PUBREL: 0x62, PUBCOMP: 0x70}

V5 = 5

# The bytes of each property of CONNECT after its identifier, if their number is
# fixed (MQTT 5.0 §3.1.2.11); the others are strings or binary data with their length.
_FIXED_PROPERTIES = {0x11: 4, 0x17: 1, 0x19: 1, 0x21: 2, 0x22: 2, 0x27: 4}
_STRINGS_PER_PROPERTY = {0x15: 1, 0x16: 1, 0x26: 2}
_RECEIVE_MAXIMUM = 0x21


def encode_length(value: int) -> bytes:
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


def decode_length(
    data: Buffer, position: int, stop: int | None = None
) -> tuple[int, int] | None:
    """Return the Variable Byte Integer at `position` and its end; None: cut short.

    The data counts up to `stop`; None is all of it.
    """
    value = shift = 0
    stop = len(data) if stop is None else stop
    for end in range(position, min(position + 4, stop)):
        value |= (data[end] & 0x7F) << shift
        if data[end] < 0x80:
            return value, end + 1
        shift += 7
    return None


def encode_string(text: str) -> bytes:
    encoded = text.encode()
    return struct.pack("!H", len(encoded)) + encoded


def encode_connect(identifier: str, *, lasting: bool = False) -> bytes:
    """Encode a CONNECT of 3.1.1 without keep alive, whose session lasts or does not."""
    flags = b"\x00" if lasting else b"\x02"
    body = b"\x00\x04MQTT\x04" + flags + b"\x00\x00" + encode_string(identifier)
    return bytes([CONNECT << 4]) + encode_length(len(body)) + body


def encode_subscribe(packet_id: int, topic_filter: str, qos: int) -> bytes:
    body = struct.pack("!H", packet_id) + encode_string(topic_filter) + bytes([qos])
    return bytes([SUBSCRIBE << 4 | 2]) + encode_length(len(body)) + body


def encode_publish(
    topic: str,
    payload: bytes,
    qos: int,
    packet_id: int,
    *,
    version: int,
    properties: bytes = b"",
) -> bytes:
    body = encode_string(topic)
    if qos:
        body += struct.pack("!H", packet_id)
    if version == V5:
        body += encode_length(len(properties)) + properties
    body += payload
    return bytes([PUBLISH << 4 | qos << 1]) + encode_length(len(body)) + body


def encode_properties() -> bytes:
    """Encode the five properties of a message that is a request."""
    return b"".join(
        [
            b"\x03" + encode_string("application/json"),
            b"\x08" + encode_string("bench/answers/17"),
            b"\x09" + encode_string("0123456789abcdef"),
            b"\x26" + encode_string("unit") + encode_string("degree Celsius"),
            b"\x26" + encode_string("sensor") + encode_string("north-west"),
        ]
    )


@dataclass(slots=True)
class Run:
    """`count` packets in a row with the same first byte and the same length."""

    data: Buffer
    head: int
    start: int
    body: int  # where the first packet's body starts, counted from `start`
    length: int  # of each packet, with its header
    count: int

    @property
    def end(self) -> int:
        return self.start + self.length * self.count

    def column(self, offset: int) -> Buffer:
        """Return the byte at `offset` of the body of each packet."""
        return self.data[self.start + self.body + offset : self.end : self.length]

    def acks(self, kind: int, id_offset: int = 0) -> bytes:
        """Encode one short acknowledgement per packet; `id_offset` counts in its body.

        Slices with a stride copy the ids of the whole run at C speed.
        """
        answer = bytearray(4 * self.count)
        answer[0::4] = bytes([ACK_HEADS[kind]]) * self.count
        answer[1::4] = b"\x02" * self.count
        answer[2::4] = self.column(id_offset)
        answer[3::4] = self.column(id_offset + 1)
        return bytes(answer)


def split_runs(data: Buffer, stop: int | None = None) -> Iterator[Run]:
    """Split received bytes into runs; leave out a last packet that is cut short.

    The data counts up to `stop`; None is all of it.
    """
    start = 0
    stop = len(data) if stop is None else stop
    while start < stop:
        decoded = decode_length(data, start + 1, stop)
        if decoded is None:
            return
        remaining, body = decoded
        length = body - start + remaining
        if start + length > stop:
            return
        header = data[start:body]
        count = 1
        complete = (stop - start) // length
        while count < complete and data.startswith(header, start + count * length):
            count += 1
        yield Run(data, data[start], start, body - start, length, count)
        start += length * count


def connect_version(body: Buffer) -> int:
    name_length = struct.unpack_from("!H", body)[0]
    version: int = body[2 + name_length] & 0x7F
    return version


def receive_maximum(body: Buffer) -> int:
    """Return the Receive Maximum of the client (65,535 if it is absent)."""
    if connect_version(body) != V5:
        return 0xFFFF
    # Skip the name "MQTT" with its length, the level, the flags and the keep alive.
    decoded = decode_length(body, 10)
    if decoded is None:
        raise ValueError("CONNECT ends inside its property length")
    length, position = decoded
    end = position + length
    while position < end:
        identifier = body[position]
        position += 1
        if identifier == _RECEIVE_MAXIMUM:
            value: int = struct.unpack_from("!H", body, position)[0]
            return value
        if identifier in _FIXED_PROPERTIES:
            position += _FIXED_PROPERTIES[identifier]
        else:
            for _ in range(_STRINGS_PER_PROPERTY[identifier]):
                position += 2 + struct.unpack_from("!H", body, position)[0]
    return 0xFFFF
