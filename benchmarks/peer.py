"""The peer that the clients are measured against: it replays encoded packets.

It is no broker: every byte that it sends in a workload is encoded before the client
asks, and what comes in is taken apart in runs of equal packets, so that the client is
always the slower side. The runner starts it for one run; it prints `{"port": N}`,
serves until its standard input ends, and prints what it sent and got.
"""

from __future__ import annotations

import argparse
import json
import socket
import ssl
import sys
import threading
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import frames
from frames import Run
from streams import (
    TRANSPORTS,
    Stream,
    WebSocketStream,
    frame_head,
    listen,
    server_context,
    to_stream,
)

# The bytes of a read: few at first, since there may be a thousand connections.
FIRST_READ_BYTES = 16 * 1024
READ_BYTES = 256 * 1024

# Packets that are sent repeatedly: enough for few calls, few enough for the cache.
CYCLE_BYTES = 1024 * 1024

# Each connection is a thread with little to do.
THREAD_STACK_BYTES = 256 * 1024

# The seconds in which a connection must drain after the client's process has ended.
DRAIN_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Plan:
    """The messages for a subscriber; none in the other workloads."""

    messages: int
    qos: int
    payload: bytes
    # Used in turn. Their names are equally long, and so are the packets.
    topics: tuple[str, ...]
    properties: bytes  # encoded, of each message
    window: int
    transport: str
    directory: Path  # of the certificate, or of the Unix socket
    # Whether each message to a subscriber has a WebSocket frame of its own.
    has_own_frames: bool


@dataclass(slots=True)
class Counts:
    """The counts over all connections."""

    connections: int = 0
    sent: int = 0  # PUBLISH to the client
    acked: int = 0  # of these, flows that the client completed (QoS 1 and 2)
    received: int = 0  # PUBLISH from the client
    completed: int = 0  # of these, flows that the client completed (QoS 2)


class Delivery:
    """Sends the plan's messages to one subscriber.

    The last message is QoS 0 and leaves when all the others are acknowledged. So the
    client has done all of its work, acknowledgements included, when it sees that one.

    Every acknowledgement lets the next message go at once. Waiting for several would
    let the two ends wait for each other: a client with Nagle's algorithm keeps small
    writes back until this end sends something, or for the 40 ms of a delayed TCP ack.
    """

    def __init__(
        self, plan: Plan, counts: Counts, *, version: int, window: int
    ) -> None:
        self._counts = counts
        self._qos = plan.qos
        self._messages = plan.messages
        topics = plan.topics
        properties = plan.properties

        def encode(topic: str, qos: int, packet_id: int) -> bytes:
            packet = frames.encode_publish(
                topic,
                plan.payload,
                qos,
                packet_id,
                version=version,
                properties=properties,
            )
            if plan.has_own_frames:
                return frame_head(len(packet)) + packet
            return packet

        self._length = len(encode(topics[0], plan.qos, 1))
        # Unacknowledged messages; at QoS 0, the messages of one call.
        self._window = max(1, min(window, CYCLE_BYTES // self._length))
        self._slots = max(self._window, len(topics))
        self._cycle = memoryview(
            b"".join(
                encode(topics[slot % len(topics)], plan.qos, slot + 1)
                for slot in range(self._slots)
            )
        )
        self._last = encode(topics[0], 0, 0)
        self._started = False
        self._sent = 0
        self._acked = 0
        self._has_own_frames = plan.has_own_frames

    def start(self, sock: Stream) -> None:
        self._started = True
        self.go_on(sock)

    def acknowledged(self, count: int) -> None:
        self._acked += count
        self._counts.acked += count

    def go_on(self, sock: Stream) -> None:
        """Send as many messages as the window allows."""
        if not self._started:
            return
        send = sock.sendall
        if self._has_own_frames:
            assert isinstance(sock, WebSocketStream)
            send = sock.send_frames
        before_last = self._messages - 1
        while self._sent < before_last:
            slot = self._sent % self._slots
            count = min(self._window, self._slots - slot, before_last - self._sent)
            if self._qos:
                count = min(count, self._acked + self._window - self._sent)
                if not count:
                    return
            send(self._cycle[slot * self._length : (slot + count) * self._length])
            self._sent += count
            self._counts.sent += count
        if self._sent == before_last and (not self._qos or self._acked == before_last):
            send(self._last)
            self._sent += 1
            self._counts.sent += 1


class Connection:
    """One client's connection, from CONNECT to DISCONNECT or the end of the stream."""

    def __init__(
        self, accepted: Callable[[], Stream], plan: Plan, counts: Counts
    ) -> None:
        self._accepted = accepted
        self._sock: Stream
        self._plan = plan
        self._counts = counts
        self._version = 4
        self._delivery: Delivery | None = None
        self._handlers: dict[int, Callable[[Run], None]] = {
            frames.CONNECT: self._on_connect,
            frames.SUBSCRIBE: self._on_subscribe,
            frames.PUBLISH: self._on_publish,
            frames.PUBACK: self._on_completed,
            frames.PUBREC: self._on_pubrec,
            frames.PUBREL: self._on_pubrel,
            frames.PUBCOMP: self._on_completed,
            frames.PINGREQ: self._on_pingreq,
        }

    def serve(self) -> None:
        self._sock = self._accepted()
        try:
            self._serve()
        except ConnectionError:
            pass  # the client was ended, or closed with bytes unread: the counts tell
        finally:
            self._sock.close()

    def _serve(self) -> None:
        data = bytearray(FIRST_READ_BYTES)
        kept = 0  # bytes of a packet that was cut short, at the start of `data`
        while True:
            with memoryview(data) as view:
                received = self._sock.recv_into(view[kept:])
            if not received:
                return
            stop = kept + received
            end = 0
            for run in frames.split_runs(data, stop):
                end = run.end
                kind = run.head >> 4
                if kind == frames.DISCONNECT:
                    return
                self._handlers[kind](run)
            kept = stop - end
            data[:kept] = data[end:stop]
            if stop == len(data) and (stop < READ_BYTES or not end):
                data.extend(bytes(stop))
            if self._delivery is not None:
                self._delivery.go_on(self._sock)

    def _on_connect(self, run: Run) -> None:
        body = run.data[run.start + run.body : run.end]
        self._version = frames.connect_version(body)
        if self._plan.messages:
            # Encoded here, before the client's clock runs.
            self._delivery = Delivery(
                self._plan,
                self._counts,
                version=self._version,
                window=min(self._plan.window, frames.receive_maximum(body)),
            )
        properties = b"\x00" if self._version == frames.V5 else b""
        self._answer(frames.CONNACK, b"\x00\x00" + properties)
        self._counts.connections += 1

    def _on_subscribe(self, run: Run) -> None:
        # One filter per SUBSCRIBE: its QoS (and other options in 5.0) is the last byte.
        packet_id = run.column(0)[:1] + run.column(1)[:1]
        properties = b"\x00" if self._version == frames.V5 else b""
        self._answer(
            frames.SUBACK, packet_id + properties + bytes([run.data[run.end - 1] & 3])
        )
        if self._delivery is not None:
            self._delivery.start(self._sock)

    def _on_publish(self, run: Run) -> None:
        self._counts.received += run.count
        qos = run.head >> 1 & 3
        if qos:
            topic_length = run.column(0)[0] << 8 | run.column(1)[0]
            kind = frames.PUBACK if qos == 1 else frames.PUBREC
            self._sock.sendall(run.acks(kind, id_offset=2 + topic_length))

    def _on_completed(self, run: Run) -> None:
        if self._delivery is not None:
            self._delivery.acknowledged(run.count)

    def _on_pubrec(self, run: Run) -> None:
        self._sock.sendall(run.acks(frames.PUBREL))

    def _on_pubrel(self, run: Run) -> None:
        self._counts.completed += run.count
        self._sock.sendall(run.acks(frames.PUBCOMP))

    def _on_pingreq(self, run: Run) -> None:
        self._answer(frames.PINGRESP, b"")

    def _answer(self, kind: int, body: frames.Buffer) -> None:
        self._sock.sendall(bytes([kind << 4]) + frames.encode_length(len(body)) + body)


def accept_all(
    listener: socket.socket,
    context: ssl.SSLContext | None,
    plan: Plan,
    counts: Counts,
) -> None:
    while True:
        sock, _ = listener.accept()
        accepted = partial(to_stream, sock, plan.transport, context)
        connection = Connection(accepted, plan, counts)
        threading.Thread(
            target=connection.serve, name="connection", daemon=True
        ).start()


def topic_names(count: int) -> tuple[str, ...]:
    """Return the topics of the messages; all are equally long."""
    if count == 1:
        return ("bench/temperature",)
    return tuple(f"bench/sensor-{number:05}/temperature" for number in range(count))


def add_plan_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--messages", type=int, default=0, help="to send to a subscriber"
    )
    parser.add_argument("--qos", type=int, default=0, choices=(0, 1, 2))
    parser.add_argument("--size", type=int, default=64, help="payload bytes")
    parser.add_argument("--topics", type=int, default=1, help="to send on, in turn")
    parser.add_argument(
        "--properties", type=int, default=0, help="1: with properties (MQTT 5.0)"
    )
    parser.add_argument(
        "--window", type=int, default=100, help="unacknowledged at a time"
    )
    parser.add_argument("--transport", choices=TRANSPORTS, default="tcp")
    parser.add_argument("--directory", type=Path, default=Path(), help="for its files")
    parser.add_argument(
        "--own-frames", type=int, default=0, help="1: a WebSocket frame for each"
    )


def plan_of(arguments: argparse.Namespace) -> Plan:
    return Plan(
        messages=arguments.messages,
        qos=arguments.qos,
        payload=b"x" * arguments.size,
        topics=topic_names(arguments.topics),
        properties=frames.encode_properties() if arguments.properties else b"",
        window=arguments.window,
        transport=arguments.transport,
        directory=arguments.directory,
        has_own_frames=bool(arguments.own_frames),
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description="The benchmark's peer; started by run.py."
    )
    add_plan_arguments(parser)
    plan = plan_of(parser.parse_args())
    counts = Counts()
    threading.stack_size(THREAD_STACK_BYTES)
    context = server_context(plan.transport, plan.directory)
    listener, port = listen(plan.transport, plan.directory)
    threading.Thread(
        target=accept_all, args=(listener, context, plan, counts), daemon=True
    ).start()
    print(json.dumps({"port": port}), flush=True)
    sys.stdin.read()  # until the runner closes it
    for thread in threading.enumerate():
        if thread.name == "connection":
            thread.join(DRAIN_SECONDS)
    print(json.dumps(asdict(counts)), flush=True)


if __name__ == "__main__":
    main()
