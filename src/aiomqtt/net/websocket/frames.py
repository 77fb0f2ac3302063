"""Reads the frames of a WebSocket connection (RFC 6455 §5).

The payload of a binary frame is passed on as it comes, before the frame is complete:
MQTT is a stream of bytes, whose packets need not begin with a frame (MQTT 5.0
[MQTT-6.0.0-2]). So a large frame takes no memory here, and no byte is copied twice.
"""

from collections.abc import Callable
from typing import Final

TEXT: Final = 1
BINARY: Final = 2
CLOSE: Final = 8
PING: Final = 9
PONG: Final = 10
# A whole message in one binary frame; the bits of the first and the second byte.
WHOLE_BINARY: Final = 0x82
FINAL: Final = 0x80
RESERVED: Final = 0x70
MASKED: Final = 0x80

# The largest MQTT packet (MQTT 5.0 §2.1.4), in bytes.
MAXIMUM_FRAME: Final = 268_435_460
MAXIMUM_CONTROL: Final = 125

# Status codes of a Close frame (RFC 6455 §7.4.1).
PROTOCOL_ERROR: Final = 1002
UNSUPPORTED_DATA: Final = 1003
MESSAGE_TOO_BIG: Final = 1009


class FrameReader:
    """Takes the payload out of the frames of one peer.

    After a Close frame or an error the rest is ignored.

    Args:
        unmask: Unmasks a payload with a mask, for the frames of a client; None: the
            frames are a server's, which are not masked.

    Attributes:
        ping: The payload of the last Ping frame; the owner answers it, and sets it to
            None. The earlier ones need no answer (RFC 6455 §5.5.3).
        close: The payload of the Close frame, or None.
        error: The status code and the text of a protocol error, or None.
    """

    __slots__ = (
        "_held",
        "_is_fragmented",
        "_mask",
        "_remaining",
        "_unmask",
        "close",
        "error",
        "ping",
    )

    def __init__(self, unmask: Callable[[bytes, bytes], bytes] | None = None) -> None:
        # All is valid for the connection.
        self._unmask = unmask
        self.ping: bytes | None = None
        self.close: bytes | None = None
        self.error: tuple[int, str] | None = None
        # Whether the last binary frame was not the last one of its message.
        self._is_fragmented = False
        # The beginning of a frame whose header, or control frame, is incomplete.
        self._held = b""
        # How much of the current frame's payload is still to come, and its mask from
        # there on.
        self._remaining = 0
        self._mask = b""

    def has_ended(self) -> bool:
        """Whether `close` or `error` is set."""
        return self.close is not None or self.error is not None

    def feed(self, data: bytes) -> bytes:
        """Return the payload of the binary frames in a chunk, joined.

        Args:
            data: The received bytes.
        """
        if self.has_ended():
            return b""
        if self._held:
            data = self._held + data
            self._held = b""
        end = len(data)
        pieces: list[bytes] = []
        position = 0
        if self._remaining:
            if self._remaining >= end and self._unmask is None:
                self._remaining -= end
                return data
            position = self._take(data, 0, self._remaining, pieces)
        is_masked = self._unmask is not None
        while end - position >= 2:
            first = data[position]
            second = data[position + 1]
            start = position + 2
            length = second & 0x7F
            if length >= 126:
                size = 2 if length == 126 else 8
                if end - start < size:
                    break
                length = int.from_bytes(data[start : start + size], "big")
                start += size
            if (
                first != WHOLE_BINARY
                or self._is_fragmented
                or length > MAXIMUM_FRAME
                or (second >= MASKED) is not is_masked
            ):
                self._check(first, second >= MASKED, length)
                if self.has_ended():
                    break
            if is_masked:
                if end - start < 4:
                    break
                self._mask = data[start : start + 4]
                start += 4
            if not first & 8:
                self._is_fragmented = first < FINAL
                position = self._take(data, start, length, pieces)
                continue
            if end - start < length:
                break
            self._take_control(first & 15, data[start : start + length])
            position = start + length
            if self.has_ended():
                break
        if position < end and not self.has_ended():
            self._held = data[position:]
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def _take(self, data: bytes, start: int, length: int, pieces: list[bytes]) -> int:
        """Append the part of a payload that has come; return where it ends."""
        stop = min(start + length, len(data))
        piece = data[start:stop]
        self._remaining = start + length - stop
        if self._unmask is not None:
            piece = self._unmask(piece, self._mask)
            shift = len(piece) & 3
            self._mask = self._mask[shift:] + self._mask[:shift]
        pieces.append(piece)
        return stop

    def _take_control(self, opcode: int, payload: bytes) -> None:
        if self._unmask is not None:
            payload = self._unmask(payload, self._mask)
        if opcode == PING:
            self.ping = payload
        elif opcode == CLOSE:
            self.close = payload

    def _check(self, first: int, is_masked: bool, length: int) -> None:
        """Set `error` if a frame is not allowed."""
        opcode = first & 15
        code = PROTOCOL_ERROR
        text = ""
        if first & RESERVED:
            text = "a frame has reserved bits set"
        elif opcode > PONG or BINARY < opcode < CLOSE:
            text = f"a frame has the unknown opcode {opcode}"
        elif is_masked and self._unmask is None:
            text = "a frame of the server is masked"
        elif not is_masked and self._unmask is not None:
            text = "a frame of the client is not masked"
        elif opcode >= CLOSE:
            if first < FINAL:
                text = "a control frame is fragmented"
            elif length > MAXIMUM_CONTROL:
                text = f"a control frame has {length} bytes"
        elif opcode == TEXT:
            # MQTT 5.0 [MQTT-6.0.0-1]
            code = UNSUPPORTED_DATA
            text = "it sent a text frame, and MQTT needs binary ones"
        elif self._is_fragmented is (opcode == BINARY):
            missing = "end" if opcode == BINARY else "beginning"
            text = f"a fragmented message has no {missing}"
        elif length > MAXIMUM_FRAME:
            code = MESSAGE_TOO_BIG
            text = f"a frame of {length} bytes is too large"
        if text:
            self.error = (code, text)
