"""The transports of the peer: where it listens, and the stream of one connection."""

from __future__ import annotations

import base64
import hashlib
import socket
import ssl
import subprocess
from pathlib import Path
from typing import Protocol

TRANSPORTS = ("tcp", "unix", "tls", "ws", "wss")

GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455 §1.3
READ_BYTES = 256 * 1024
CLOSE = 8


class Stream(Protocol):
    """A connection of which a socket is one kind."""

    def recv_into(self, buffer: memoryview, /) -> int: ...
    def sendall(self, data: bytes | memoryview, /) -> None: ...
    def close(self) -> None: ...


class WebSocketStream:
    """The server's end of a WebSocket; each send is one frame.

    Args:
        sock: The socket, of which nothing was read yet.
    """

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        # The bytes that were read and not decoded, and those decoded and not taken.
        self._read = bytearray()
        self._plain = bytearray()
        # Whether the client has sent a Close frame.
        self._is_closed = False
        self._shake_hands()

    def _shake_hands(self) -> None:
        while (end := self._read.find(b"\r\n\r\n")) < 0:
            self._fill()
        lines = bytes(self._read[:end]).split(b"\r\n")[1:]
        del self._read[: end + 4]
        headers = {
            name.strip().lower(): value.strip()
            for name, _, value in (line.partition(b":") for line in lines)
        }
        digest = hashlib.sha1(headers[b"sec-websocket-key"] + GUID).digest()
        self._sock.sendall(
            b"HTTP/1.1 101 Switching Protocols\r\n"
            b"Upgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Protocol: mqtt\r\n"
            b"Sec-WebSocket-Accept: " + base64.b64encode(digest) + b"\r\n\r\n"
        )

    def _fill(self) -> None:
        data = self._sock.recv(READ_BYTES)
        if not data:
            raise ConnectionError("the client closed")
        self._read += data

    def recv_into(self, buffer: memoryview, /) -> int:
        """Read payload; return how many bytes, or 0 at the end."""
        self._take_frames()
        while not self._plain:
            if self._is_closed:
                return 0
            self._fill()
            self._take_frames()
        size = min(len(buffer), len(self._plain))
        buffer[:size] = self._plain[:size]
        del self._plain[:size]
        return size

    def _take_frames(self) -> None:
        """Decode all complete frames."""
        data, position = self._read, 0
        while len(data) - position >= 6:
            length = data[position + 1] & 0x7F
            start = position + 2
            if length >= 126:
                size = 2 if length == 126 else 8
                length = int.from_bytes(data[start : start + size])
                start += size
            end = start + 4 + length
            if end > len(data):
                break
            if data[position] & 15 == CLOSE:
                self._is_closed = True
            else:
                self._plain += unmask(data[start + 4 : end], data[start : start + 4])
            position = end
        del data[:position]

    def sendall(self, data: bytes | memoryview, /) -> None:
        """Send one frame."""
        self._sock.sendall(frame_head(len(data)) + bytes(data))

    def send_frames(self, data: bytes | memoryview) -> None:
        """Send what consists of frames already."""
        self._sock.sendall(data)

    def close(self) -> None:
        self._sock.close()


def frame_head(size: int) -> bytes:
    """Return the header of a server's binary frame."""
    if size < 126:
        return bytes((0x82, size))
    if size < 65_536:
        return b"\x82\x7e" + size.to_bytes(2)
    return b"\x82\x7f" + size.to_bytes(8)


def unmask(data: bytearray, mask: bytearray) -> bytes:
    """Return the payload of a client's frame."""
    size = len(data)
    key = (mask * (size // 4 + 1))[:size]
    return (int.from_bytes(data) ^ int.from_bytes(key)).to_bytes(size)


def listen(transport: str, directory: Path) -> tuple[socket.socket, int]:
    """Listen on loopback, or on `directory`/socket; return the port, or 0."""
    if transport == "unix":
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(directory / "socket"))
        listener.listen(1024)
        return listener, 0
    listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
    return listener, listener.getsockname()[1]


def server_context(transport: str, directory: Path) -> ssl.SSLContext | None:
    """Make a certificate, in `directory`, and the context, where there is TLS."""
    if transport not in ("tls", "wss"):
        return None
    command = ["openssl", "req", "-x509", "-nodes", "-days", "2", "-subj", "/CN=peer"]
    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
    names = ["-addext", "subjectAltName=IP:127.0.0.1"]
    files = ["-keyout", f"{directory}/key", "-out", f"{directory}/certificate"]
    subprocess.run([*command, *key, *names, *files], check=True, capture_output=True)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(directory / "certificate", directory / "key")
    return context


def to_stream(
    sock: socket.socket, transport: str, context: ssl.SSLContext | None
) -> Stream:
    """Shake hands as the transport does, on an accepted socket."""
    if transport != "unix":
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if context is not None:
        sock = context.wrap_socket(sock, server_side=True)
    return WebSocketStream(sock) if transport in ("ws", "wss") else sock
