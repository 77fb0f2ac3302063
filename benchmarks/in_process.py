"""Run one of the WORKLOADS in one process, without a socket.

The transport is the peer at the same time, so that nothing but the client and asyncio
runs. `compare.py` calls it as `in_process.py LIBRARY NAME`. LIBRARY is `callgrind.c`
compiled: under callgrind it has the instructions counted that come after the warm-up.
"""

from __future__ import annotations

import asyncio
import ctypes
import gc
import itertools
import os
import sys
import tempfile
from collections.abc import Callable, Coroutine, Iterable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import frames

if TYPE_CHECKING:
    import aiomqtt

TOPIC: Final = "bench/temperature"
WINDOW: Final = 100
# asyncio reads at most so much at a time.
READ_BYTES: Final = 256 * 1024
# The time from one look at the clock to the next, in seconds.
CLOCK_STEP: Final = 0.0001
# The messages before counting begins: caches fill, the interpreter specializes.
WARM_UP: Final = 4 * WINDOW


class Peer(asyncio.Transport):
    """A transport whose other end answers in the next turn of the loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__()
        self._loop = loop
        self._protocol: asyncio.Protocol
        self._closing = False
        # The bytes of an empty property section; none below 5.0.
        self._no_properties = b""
        # The length of a PUBLISH that the client sends with QoS 1 or 2.
        self.length = 0
        self._identifier = 4 + len(TOPIC)
        # Called when the client has acknowledged something.
        self.acknowledged: Callable[[], None] = lambda: None
        # The PUBRELs that follow a chunk with QoS 2.
        self.releases = b""

    async def connect(
        self, factory: Callable[[], asyncio.Protocol], *_: object, **__: object
    ) -> tuple[asyncio.Transport, asyncio.Protocol]:
        """Stand in for `loop.create_connection`."""
        self._closing = False
        self._protocol = factory()
        self._protocol.connection_made(self)
        return self, self._protocol

    async def dial(self, sock: Any, address: Any) -> None:
        """Stand in for `loop.sock_connect`: the socket is used for nothing."""
        sock.close()

    def send(self, data: bytes) -> None:
        """Have the client receive it."""
        self._loop.call_soon(self._protocol.data_received, data)

    def answer(self, head: int, body: frames.Buffer) -> None:
        self.send(bytes([head, len(body)]) + body)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        first = data[0]
        if first >> 4 == frames.PUBLISH and not first & 6:
            return
        if len(data) == self.length:
            # A PUBLISH by itself, the quick way: to take it apart costs more than to
            # make it.
            answer = b"\x40\x02" if first & 6 == 2 else b"\x50\x02"
            self.send(answer + data[self._identifier : self._identifier + 2])
            return
        for run in split_runs(bytes(data)):
            match run.head >> 4:
                case frames.CONNECT:
                    body = run.data[run.start + run.body : run.end]
                    has_properties = frames.connect_version(body) == frames.V5
                    self._no_properties = b"\x00" if has_properties else b""
                    self.answer(0x20, b"\x00\x00" + self._no_properties)
                case frames.SUBSCRIBE:
                    identifier = run.column(0) + run.column(1)
                    self.answer(0x90, identifier + self._no_properties + b"\x02")
                case frames.PUBLISH if run.head >> 1 & 3 == 1:
                    self.send(run.acks(frames.PUBACK, 2 + len(TOPIC)))
                case frames.PUBLISH if run.head >> 1 & 3 == 2:
                    self.send(run.acks(frames.PUBREC, 2 + len(TOPIC)))
                case frames.PUBREL:
                    self.send(run.acks(frames.PUBCOMP))
                case frames.PUBREC:
                    self.send(self.releases)
                case frames.PUBACK | frames.PUBCOMP:
                    self.acknowledged()

    def writelines(self, list_of_data: Any) -> None:
        self.write(b"".join(list_of_data))

    def close(self) -> None:
        if not self._closing:
            self._closing = True
            self._loop.call_soon(self._protocol.connection_lost, None)

    abort = close

    def is_closing(self) -> bool:
        return self._closing

    def can_write_eof(self) -> bool:
        return False

    def pause_reading(self) -> None:
        pass

    def resume_reading(self) -> None:
        pass

    def get_write_buffer_size(self) -> int:
        return 0

    def set_write_buffer_limits(
        self, high: int | None = None, low: int | None = None
    ) -> None:
        pass


def split_runs(data: bytes) -> Iterable[frames.Run]:
    """Split packets as `frames.split_runs` does, at C speed if all are alike.

    What the peer takes is counted too, and would hide what the client takes.
    """
    head, remaining = data[0], data[1]
    length = 2 + remaining
    count, rest = divmod(len(data), length)
    if (
        remaining < 0x80
        and not rest
        and data[::length].count(head) == count
        and data[1::length].count(remaining) == count
    ):
        return (frames.Run(data, head, 0, 2, length, count),)
    return frames.split_runs(data)


class Meter:
    """Starts and stops the counting."""

    def __init__(self, library: str, count: int) -> None:
        self.count = count
        self._library = ctypes.CDLL(library)

    def start(self) -> None:
        gc.collect()
        gc.freeze()
        self._library.start()

    def stop(self) -> None:
        self._library.stop()


def new_client(version: int = 4, **arguments: Any) -> tuple[aiomqtt.Client, Peer]:
    # Imported here: without it, the names of the workloads can still be listed.
    import aiomqtt

    loop = asyncio.get_running_loop()
    peer = Peer(loop)
    loop.create_connection = peer.connect  # type: ignore[method-assign,assignment]
    loop.sock_connect = peer.dial  # type: ignore[method-assign]
    # By the real clock, valgrind's speed would decide where a turn ends.
    clock = partial(next, itertools.count(0.0, CLOCK_STEP))
    loop.time = clock  # type: ignore[method-assign]
    loop.turn_clock = clock  # type: ignore[attr-defined]
    client = aiomqtt.Client(
        "127.0.0.1",
        1883,
        identifier="guard",
        protocol=aiomqtt.ProtocolVersion(version),
        max_inflight_messages=WINDOW,
        **arguments,
    )
    client.pending_calls_threshold = WINDOW + 1
    return client, peer


async def receive(
    meter: Meter,
    qos: int,
    size: int,
    version: int = 4,
    properties: bytes = b"",
    **arguments: Any,
) -> None:
    client, peer = new_client(version, **arguments)

    def encode(packet_id: int) -> bytes:
        return frames.encode_publish(
            TOPIC, bytes(size), qos, packet_id, version=version, properties=properties
        )

    many = WINDOW if qos else max(1, READ_BYTES // len(encode(1)) // 4)
    stream = b"".join(encode(1 + number) for number in range(many))
    # A large message comes in parts.
    chunks = [
        stream[start : start + READ_BYTES // 4]
        for start in range(0, len(stream), READ_BYTES // 4)
    ]
    if qos:
        chunks = [stream]
    peer.releases = b"".join(
        bytes([0x62, 2]) + number.to_bytes(2) for number in range(1, many + 1)
    )

    def feed() -> None:
        for chunk in chunks:
            peer.send(chunk)

    if qos:
        peer.acknowledged = feed
    async with client:
        await client.subscribe("#", qos)
        feed()
        count = 0
        last = WARM_UP + meter.count
        async for message in client.messages:
            count += 1
            if count == WARM_UP:
                meter.start()
            elif count == last:
                break
            if not qos and count % many == 0:
                feed()
            assert len(message.payload) == size
        meter.stop()
        peer.acknowledged = lambda: None


async def publish(meter: Meter, qos: int, size: int, version: int = 4) -> None:
    """Publish one message after the other."""
    client, peer = new_client(version)
    payload = bytes(size)
    peer.length = len(frames.encode_publish(TOPIC, payload, qos, 1, version=version))
    async with client:
        for number in range(WARM_UP + meter.count):
            if number == WARM_UP:
                meter.start()
            await client.publish(TOPIC, payload, qos)
        meter.stop()


async def gather(meter: Meter, qos: int, size: int) -> None:
    client, _ = new_client()
    payload = bytes(size)
    async with client:
        for number in range(0, WARM_UP + meter.count, WINDOW):
            if number == WARM_UP:
                meter.start()
            await asyncio.gather(
                *(client.publish(TOPIC, payload, qos) for _ in range(WINDOW))
            )
        meter.stop()


async def publish_many(meter: Meter, qos: int, size: int, **arguments: Any) -> None:
    client, _ = new_client(**arguments)
    payload = bytes(size)
    message = (TOPIC, payload, qos)
    async with client:
        await client.publish_many([message] * WARM_UP, window=WINDOW)
        messages = [message] * meter.count
        meter.start()
        await client.publish_many(messages, window=WINDOW)
        meter.stop()


async def publish_stored(meter: Meter, qos: int, size: int) -> None:
    """Publish from a session in a file; the thread of the file is counted too."""
    import aiomqtt

    with tempfile.TemporaryDirectory() as directory:
        session = aiomqtt.SQLiteSession(Path(directory) / "session.db")
        await publish_many(meter, qos, size, clean_session=False, session=session)


async def publish_nowait(meter: Meter, qos: int, size: int) -> None:
    client, _ = new_client()
    payload = bytes(size)
    async with client:
        for number in range(0, WARM_UP + meter.count, WINDOW):
            if number == WARM_UP:
                meter.start()
            for _ in range(WINDOW):
                receipt = client.publish_nowait(TOPIC, payload, qos)
            await receipt
        meter.stop()


async def connect(meter: Meter, qos: int, size: int) -> None:
    for number in range(10 + meter.count):
        if number == 10:
            meter.start()
        client, _ = new_client()
        async with client:
            pass
    meter.stop()


async def import_package(meter: Meter, qos: int, size: int) -> None:
    """Import the whole package, after asyncio."""
    meter.start()
    import aiomqtt  # noqa: F401

    meter.stop()


Kind: TypeAlias = Callable[[Meter, int, int], Coroutine[Any, Any, None]]

receive_5: Final[Kind] = partial(receive, version=5)
receive_properties: Final[Kind] = partial(
    receive, version=5, properties=frames.encode_properties()
)
receive_processed: Final[Kind] = partial(receive, version=5, ack="processed")
publish_5: Final[Kind] = partial(publish, version=5)

# Name: what it does, the QoS, the payload's size, the messages that are counted, and
# the call that a revision must have; without one, nothing is imported beforehand.
WORKLOADS: Final[dict[str, tuple[Kind, int, int, int, str]]] = {
    "receive-qos0": (receive, 0, 64, 8000, "publish"),
    "receive-qos1": (receive, 1, 64, 8000, "publish"),
    "receive-qos2": (receive, 2, 64, 8000, "publish"),
    "receive-qos0-64k": (receive, 0, 65_536, 400, "publish"),
    "receive-qos0-v5": (receive_5, 0, 64, 8000, "publish"),
    "receive-qos1-v5": (receive_5, 1, 64, 8000, "publish"),
    "receive-qos2-v5": (receive_5, 2, 64, 8000, "publish"),
    "receive-processed-qos1-v5": (receive_processed, 1, 64, 8000, "ack"),
    "receive-processed-qos2-v5": (receive_processed, 2, 64, 8000, "ack"),
    "receive-properties-v5": (receive_properties, 0, 64, 8000, "publish"),
    "publish-qos0": (publish, 0, 64, 4000, "publish"),
    "publish-qos0-v5": (publish_5, 0, 64, 4000, "publish"),
    "publish-qos1-v5": (publish_5, 1, 64, 1000, "publish"),
    "publish-qos1": (publish, 1, 64, 1000, "publish"),
    "publish-qos0-64k": (publish, 0, 65_536, 400, "publish"),
    "gather-qos1": (gather, 1, 64, 4000, "publish"),
    "gather-qos2": (gather, 2, 64, 4000, "publish"),
    "publish-many-qos1": (publish_many, 1, 64, 8000, "publish_many"),
    "publish-many-qos2": (publish_many, 2, 64, 8000, "publish_many"),
    "publish-stored-qos1": (publish_stored, 1, 64, 8000, "SQLiteSession"),
    "publish-nowait-qos1": (publish_nowait, 1, 64, 4000, "publish_nowait"),
    "connect": (connect, 0, 0, 50, "publish"),
    "import": (import_package, 0, 0, 1, ""),
}


def has(call: str) -> bool:
    import aiomqtt

    owners = (aiomqtt.Client, aiomqtt.Message, aiomqtt)
    return any(hasattr(owner, call) for owner in owners)


def main() -> None:
    library, name = sys.argv[1:]
    kind, qos, size, count, call = WORKLOADS[name]
    if call and not has(call):
        return
    asyncio.run(kind(Meter(library, count), qos, size))
    print(count, flush=True)
    # Nothing of the interpreter's end is of interest.
    os._exit(0)


if __name__ == "__main__":
    main()
