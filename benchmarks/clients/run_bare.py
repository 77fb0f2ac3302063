"""The floor: asyncio alone, moving bytes of the same size without a protocol.

It knows the length of every packet and looks at none of them. What a client costs
beyond this is MQTT, its API and its guarantees.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from typing import TypeVar, cast

from common import (
    FILTER,
    HOST,
    LATENCY_WARM_UP,
    TOPIC,
    Meter,
    Task,
    main,
    publish_length,
)

SUBSCRIBE_ID = 1
SUBACK_LENGTH = 5
ACK_LENGTH = 4
# Like PUBREC and PUBCOMP.
ANSWERS = (b"\x50\x02\x00\x01", b"\x70\x02\x00\x01")
# The peer has at most this many bytes on the way, or one packet.
CYCLE_BYTES = 1024 * 1024
FLUSH_BYTES = 64 * 1024
DISCONNECT = b"\xe0\x00"


def encode(first_byte: int, body: bytes) -> bytes:
    length = bytearray()
    rest = len(body)
    while rest > 0x7F:
        length.append(rest & 0x7F | 0x80)
        rest >>= 7
    length.append(rest)
    return bytes([first_byte]) + bytes(length) + body


def no_properties(task: Task) -> bytes:
    """Return the bytes of an empty property section, if the version has one."""
    return b"\x00" if task.protocol == 5 else b""


def encode_connect(task: Task) -> bytes:
    head = b"\x00\x04MQTT" + bytes([task.protocol]) + b"\x02\x00\x3c"
    return encode(0x10, head + no_properties(task) + b"\x00\x04bare")


def encode_subscribe(task: Task) -> bytes:
    name = FILTER.encode()
    head = SUBSCRIBE_ID.to_bytes(2) + no_properties(task)
    return encode(0x82, head + len(name).to_bytes(2) + name + bytes([task.qos]))


def encode_publish(task: Task) -> bytes:
    topic = TOPIC.encode()
    packet_id = b"\x00\x01" if task.qos else b""
    head = len(topic).to_bytes(2) + topic + packet_id + no_properties(task)
    return encode(0x30 | task.qos << 1, head + task.payload)


class Pipe(asyncio.Protocol):
    """Hands over one object for every `length` bytes that arrive."""

    def __init__(self) -> None:
        self.length = 1  # of each object
        self.transport: asyncio.Transport = cast("asyncio.Transport", None)
        self.rest = 0
        self._objects: deque[object] = deque()
        self._waiter: asyncio.Future[None] | None = None
        self._writable = asyncio.Event()
        self._writable.set()
        self._closed = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self._closed.set()

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    def data_received(self, data: bytes) -> None:
        count, self.rest = divmod(self.rest + len(data), self.length)
        self.hand_over(data, count)

    def hand_over(self, data: bytes, count: int) -> None:
        self._objects.extend([data] * count)
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def __aiter__(self) -> Pipe:
        return self

    async def __anext__(self) -> object:
        while not self._objects:
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
        return self._objects.popleft()

    async def drain(self) -> None:
        await self._writable.wait()

    async def close(self) -> None:
        self.transport.write(DISCONNECT)
        self.transport.close()
        await self._closed.wait()


PipeType = TypeVar("PipeType", bound="Pipe")


class Acknowledging(Pipe):
    """Writes four bytes for each object: those of a read together."""

    begun = False

    def data_received(self, data: bytes) -> None:
        count, self.rest = divmod(self.rest + len(data), self.length)
        self.hand_over(data, count)
        if self.begun:
            self.transport.write(b"\x40\x02\x00\x01" * count)


class Releasing(Pipe):
    """Writes four bytes for each object of a window, and as many for each answer.

    Objects and answers come in turns: so it need not tell them apart.
    """

    def __init__(self) -> None:
        super().__init__()
        self.window = 0  # objects that come in one turn at most
        self.left = 0  # objects that come in turns; one more comes after them
        self.position = 0  # in bytes of this turn
        self._answers = False

    def data_received(self, data: bytes) -> None:
        size = len(data)
        while size > 0:
            objects = min(self.window, self.left)
            length = objects * (ACK_LENGTH if self._answers else self.length)
            if not objects:
                length = size  # the last one, or CONNACK
            taken = min(size, length - self.position)
            before = max(0, self.position) // self.length
            size -= taken
            self.position += taken
            if not objects:
                self.hand_over(data, 1)
                return
            if not self._answers:
                count = max(0, self.position) // self.length - before
                self.hand_over(data, count)
            if self.position == length:
                self.position = 0
                self.left -= objects if self._answers else 0
                self.transport.write(ANSWERS[self._answers] * objects)
                self._answers = not self._answers


class Window(Pipe):
    """Lets each packet wait for its four bytes, and joins those that leave together."""

    def __init__(self) -> None:
        super().__init__()
        self._gathered = bytearray()
        self._waiters: deque[asyncio.Future[None]] = deque()

    def data_received(self, data: bytes) -> None:
        if not self._waiters:
            super().data_received(data)
            return
        count, self.rest = divmod(self.rest + len(data), self.length)
        for _ in range(count):
            self._waiters.popleft().set_result(None)

    async def publish(self, packet: bytes) -> None:
        loop = asyncio.get_running_loop()
        if not self._gathered:
            loop.call_soon(self._flush)
        self._gathered += packet
        waiter = loop.create_future()
        self._waiters.append(waiter)
        await waiter

    def _flush(self) -> None:
        self.transport.write(bytes(self._gathered))
        self._gathered.clear()


async def connected(task: Task, kind: type[PipeType]) -> PipeType:
    loop = asyncio.get_running_loop()
    _, pipe = await loop.create_connection(kind, HOST, task.port)
    pipe.length = ACK_LENGTH + len(no_properties(task))  # of CONNACK
    pipe.transport.write(encode_connect(task))
    await anext(pipe)
    pipe.length = ACK_LENGTH
    return pipe


async def receive(task: Task, meter: Meter) -> None:
    pipe = await connected(task, (Pipe, Acknowledging, Releasing)[task.qos])
    pipe.length = publish_length(task)
    # The SUBACK comes first: with this an object ends where its packet does. With QoS 1
    # the last one comes with QoS 0, without the two bytes of an identifier.
    suback = SUBACK_LENGTH + len(no_properties(task))
    pipe.rest = -suback + (2 if task.qos else 0)
    if isinstance(pipe, Acknowledging):
        pipe.begun = True
    elif isinstance(pipe, Releasing):
        pipe.position = -suback
        pipe.window = min(task.window, CYCLE_BYTES // pipe.length)
        pipe.left = task.messages - 1
    meter.start()
    mark = meter.first_mark
    pipe.transport.write(encode_subscribe(task))
    count = 0
    async for _ in pipe:
        count += 1
        if count == mark:
            mark = meter.look(count)
            if not mark:
                break
    meter.stop()
    meter.count, meter.payload_bytes = count, count * task.size
    await pipe.close()


async def publish(task: Task, meter: Meter) -> None:
    """Make one call per message, and one write for all that have gathered."""
    packet = encode_publish(task)
    pipe = await connected(task, Pipe)
    gathered = bytearray()

    async def publish_one() -> None:
        if len(packet) >= FLUSH_BYTES:
            pipe.transport.write(packet)
            await pipe.drain()
            return
        gathered.extend(packet)
        if len(gathered) >= FLUSH_BYTES:
            pipe.transport.write(bytes(gathered))
            gathered.clear()
            await pipe.drain()

    meter.start()
    for _ in range(task.messages):
        await publish_one()
    pipe.transport.write(bytes(gathered))
    await pipe.close()
    meter.count = task.messages
    meter.stop()


async def publish_window(task: Task, meter: Meter) -> None:
    """A task and a future for each message, as with any client's gathered publishes."""
    packet = encode_publish(task)
    pipe = await connected(task, Window)
    meter.start()
    while meter.count < task.messages:
        size = min(task.in_flight, task.messages - meter.count)
        await asyncio.gather(*(pipe.publish(packet) for _ in range(size)))
        meter.count += size
    meter.stop()
    await pipe.close()


async def latency(task: Task, meter: Meter) -> None:
    packet = encode_publish(task)
    latencies: list[int] = []
    pipe = await connected(task, Pipe)
    for index in range(LATENCY_WARM_UP + task.messages):
        if index == LATENCY_WARM_UP:
            meter.start()
        started = time.perf_counter_ns()
        pipe.transport.write(packet)
        await anext(pipe)
        latencies.append(time.perf_counter_ns() - started)
    meter.stop()
    del latencies[:LATENCY_WARM_UP]
    meter.count = len(latencies)
    meter.record_latencies(latencies)
    await pipe.close()


if __name__ == "__main__":
    main(
        "",
        {
            "receive": receive,
            "publish": publish,
            "publish-window": publish_window,
            "latency": latency,
        },
    )
