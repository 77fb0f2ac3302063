"""The load's connections: raw sockets, frames that are encoded beforehand."""

from __future__ import annotations

import select
import socket
import struct
from collections.abc import Iterator

import frames
from frames import Run

HOST = "127.0.0.1"
READ_BYTES = 256 * 1024
# The seconds in which an idle broker must answer.
ANSWER_SECONDS = 30.0


class LoadError(Exception):
    """The broker did not do its part; the text is the verdict."""


def connect(port: int, identifier: str, *, lasting: bool = False) -> socket.socket:
    """Return a socket after sending CONNECT; the CONNACK is still to come."""
    sock = socket.create_connection((HOST, port), ANSWER_SECONDS)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.sendall(frames.encode_connect(identifier, lasting=lasting))
    return sock


def expect_connack(sock: socket.socket) -> None:
    answer = sock.recv(4, socket.MSG_WAITALL)
    if answer != b"\x20\x02\x00\x00":
        raise LoadError(f"failed: CONNACK is {answer.hex() or 'missing'}")


def encode_subscribe(topic_filters: list[str], qos: int) -> bytes:
    """Encode one SUBSCRIBE for all filters (MQTT 3.1.1), with packet id 1."""
    body = b"\x00\x01" + b"".join(
        frames.encode_string(each) + bytes([qos]) for each in topic_filters
    )
    head = bytes([frames.SUBSCRIBE << 4 | 2])
    return head + frames.encode_length(len(body)) + body


class Connection:
    """A client that never waits: what the system doesn't take now is kept."""

    def __init__(self, port: int, identifier: str, *, lasting: bool = False) -> None:
        self.sock = connect(port, identifier, lasting=lasting)
        expect_connack(self.sock)
        self._rest = b""
        self._unsent = bytearray()
        self._poller: select.poll | None = None

    def subscribe(self, topic_filters: list[str], qos: int) -> None:
        """Return when the broker has granted all of them as asked."""
        self.sock.sendall(encode_subscribe(topic_filters, qos))
        expected = b"\x00\x01" + bytes([qos]) * len(topic_filters)
        head = bytes([frames.SUBACK << 4]) + frames.encode_length(len(expected))
        answer = self.sock.recv(len(head) + len(expected), socket.MSG_WAITALL)
        if answer != head + expected:
            raise LoadError("failed: not all filters were granted")

    def join(self, poller: select.poll) -> None:
        self.sock.setblocking(False)
        poller.register(self.sock, select.POLLIN)
        self._poller = poller

    def receive(self) -> bytes:
        """Return the bytes that have come in, possibly none."""
        try:
            data = self.sock.recv(READ_BYTES)
        except BlockingIOError:
            return b""
        if not data:
            raise LoadError("failed: the broker closed a connection")
        return data

    def receive_runs(self) -> Iterator[Run]:
        """Return the packets that have come in, in runs of equal ones."""
        data = self.receive()
        if self._rest:
            data = self._rest + data
        end = 0
        for run in frames.split_runs(data):
            end = run.end
            yield run
        self._rest = data[end:]

    def send(self, data: bytes | memoryview) -> None:
        if self._unsent:
            self._unsent += data
            return
        try:
            sent = self.sock.send(data)
        except BlockingIOError:
            sent = 0
        if sent < len(data):
            self._unsent += data[sent:]
            self._poll(select.POLLIN | select.POLLOUT)

    def flush(self) -> None:
        """Send more, since the socket accepts data again."""
        sent = self.sock.send(self._unsent)
        del self._unsent[:sent]
        if not self._unsent:
            self._poll(select.POLLIN)

    def _poll(self, events: int) -> None:
        assert self._poller is not None
        self._poller.modify(self.sock, events)


def encode_cycle(
    topics: list[str], payload: bytes, qos: int, slots: int
) -> tuple[bytes, int]:
    """`slots` PUBLISH packets with an id of its own each, and the length of one."""
    packets = [
        frames.encode_publish(
            topics[slot % len(topics)], payload, qos, slot + 1, version=4
        )
        for slot in range(slots)
    ]
    return b"".join(packets), len(packets[0])


def id_offset(run: Run) -> int:
    """Return the position of the packet id in the body of a PUBLISH."""
    topic_length: int = struct.unpack_from("!H", run.data, run.start + run.body)[0]
    return 2 + topic_length
