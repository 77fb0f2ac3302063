"""Messages through a broker, with a bounded number of them on the way."""

from __future__ import annotations

import select
import time
from collections.abc import Callable

import frames
from frames import Run

from brokers.connections import (
    READ_BYTES,
    Connection,
    LoadError,
    encode_cycle,
    id_offset,
)
from brokers.plan import Plan
from brokers.processes import cpu_seconds

# After this long without a packet from the broker, messages on the way are lost.
SILENCE_SECONDS = 10.0

# So many packets are encoded; their ids come again after as many messages.
SLOTS = 1000

# The publisher sends a part of the window at once, so that at any time some of it is
# at the broker, whichever side is faster.
PARTS = 4

# Until a whole window takes longer than that, it is doubled, up to the plan's.
FULL_WINDOW_SECONDS = 0.25

# At QoS 0, when less than a part has come, more of it gathers for so long: otherwise
# the load would take system calls for each message of a broker that writes them one by
# one, and the broker would have to wake it up each time. With QoS 1 and 2 the window is
# too small for that: the broker would wait.
GATHER_SECONDS = 0.0003
GATHER_SECONDS_FAN_OUT = 0.002


class Head:
    """The first bytes of the packets that a subscriber may get."""

    PUBLISH_1 = frames.PUBLISH << 4 | 1 << 1
    PUBLISH_2 = frames.PUBLISH << 4 | 2 << 1
    PUBREL = frames.ACK_HEADS[frames.PUBREL]


class Stream:
    """A subscriber at QoS 0: what it gets is what the publisher sends, byte by byte."""

    def __init__(self, connection: Connection, cycles: bytes, length: int) -> None:
        self.connection = connection
        self._cycles = cycles  # twice what was encoded, and more than one read
        self._length = length  # of a packet
        self._bytes = 0

    @property
    def count(self) -> int:
        return self._bytes // self._length

    def read(self) -> None:
        data = self.connection.receive()
        if not self._cycles.startswith(data, self._bytes % (SLOTS * self._length)):
            raise LoadError("failed: something else came than what was published")
        self._bytes += len(data)


class Subscriber:
    """Counts what it received at QoS 1, and what it has completed at QoS 2."""

    def __init__(self, connection: Connection, length: int) -> None:
        self.connection = connection
        self.count = 0
        self._length = length  # of a packet

    def read(self) -> None:
        send = self.connection.send
        for run in self.connection.receive_runs():
            match run.head:
                case Head.PUBLISH_1:
                    self._check(run)
                    self.count += run.count
                    send(run.acks(frames.PUBACK, id_offset(run)))
                case Head.PUBLISH_2:
                    self._check(run)
                    send(run.acks(frames.PUBREC, id_offset(run)))
                case Head.PUBREL:
                    self.count += run.count
                    send(run.acks(frames.PUBCOMP))
                case head:
                    raise LoadError(f"failed: a packet starts with {head:#04x}")

    def _check(self, run: Run) -> None:
        if run.length != self._length:
            raise LoadError("failed: a message has another length")


class Publisher:
    """Counts what it sent and, at QoS 1 and 2, what the broker has completed."""

    def __init__(self, connection: Connection, cycle: bytes, length: int) -> None:
        self.connection = connection
        self.sent = 0
        self.completed = 0
        self._cycle = memoryview(cycle)
        self._length = length

    def publish(self, count: int) -> None:
        while count:
            slot = self.sent % SLOTS
            part = min(count, SLOTS - slot)
            self.connection.send(
                self._cycle[slot * self._length : (slot + part) * self._length]
            )
            self.sent += part
            count -= part

    def read(self) -> None:
        for run in self.connection.receive_runs():
            match run.head >> 4:
                case frames.PUBACK | frames.PUBCOMP:
                    self.completed += run.count
                case frames.PUBREC:
                    self.connection.send(run.acks(frames.PUBREL))
                case kind:
                    raise LoadError(
                        f"failed: the publisher got a packet of type {kind}"
                    )


class Traffic:
    """One publisher and its subscribers, in one thread."""

    def __init__(self, plan: Plan) -> None:
        cycle, length = encode_cycle(plan.topics(), b"x" * plan.size, plan.qos, SLOTS)
        self._qos = plan.qos
        self.window = 1
        # Connections that get nothing; they must not be closed.
        self._holders = [
            Connection(plan.port, f"holder-{n}") for n in range(plan.holders)
        ]
        for number, holder in enumerate(self._holders, 1):
            holder.subscribe(plan.topic_filters(number), plan.qos)
        self.subscribers: list[Stream | Subscriber] = []
        cycles = cycle * (2 + READ_BYTES // len(cycle))
        for number in range(plan.subscribers):
            connection = Connection(
                plan.port, f"subscriber-{number}", lasting=plan.lasting
            )
            connection.subscribe(plan.topic_filters(0), plan.qos)
            self.subscribers.append(
                Subscriber(connection, length)
                if plan.qos
                else Stream(connection, cycles, length)
            )
        self.publisher = Publisher(Connection(plan.port, "publisher"), cycle, length)

        self._poller = select.poll()
        fans_out = plan.subscribers > 1
        self._gather = GATHER_SECONDS_FAN_OUT if fans_out else GATHER_SECONDS
        self._read = 0  # what was delivered one read before
        self._readers: dict[int, tuple[Connection, Callable[[], None]]] = {}
        for end in (*self.subscribers, self.publisher):
            end.connection.join(self._poller)
            self._readers[end.connection.sock.fileno()] = (end.connection, end.read)

    @property
    def delivered(self) -> int:
        return sum(subscriber.count for subscriber in self.subscribers)

    def _done(self) -> int:
        """Count the messages whose delivery is complete."""
        if len(self.subscribers) == 1:
            received = self.subscribers[0].count
        else:
            received = min(subscriber.count for subscriber in self.subscribers)
        return min(received, self.publisher.completed) if self._qos else received

    def run(self, count: int | None = None, seconds: float = 0.0) -> float:
        """Publish `count` messages, or for a time; return when all have arrived.

        Returns the seconds from the first publish to the last message received.
        """
        publisher = self.publisher
        first = publisher.sent
        started = time.perf_counter()
        part = max(1, self.window // PARTS)
        while True:
            done = self._done()
            allowed = done + self.window - publisher.sent
            now = time.perf_counter()
            if count is None:
                wanted = part if now - started < seconds else 0
            else:
                wanted = min(part, first + count - publisher.sent)
            if not wanted and done >= publisher.sent:
                extra = self.delivered - publisher.sent * len(self.subscribers)
                if extra:
                    raise LoadError(f"delivered {extra} too many")
                return now - started
            if wanted and allowed >= wanted:
                # Send as many parts as fit.
                if count is None:
                    wanted = allowed // part * part
                else:
                    wanted = min(allowed, first + count - publisher.sent)
                publisher.publish(wanted)
            self._wait()

    def _wait(self) -> None:
        events = self._poller.poll(SILENCE_SECONDS * 1000)
        if not events:
            expected = self.publisher.sent * len(self.subscribers)
            missing = expected - self.delivered
            raise LoadError(f"lost {missing}" if missing else "stalled")
        if not self._qos:
            before, self._read = self._read, self.delivered
            if self._read - before < self.window // PARTS * len(self.subscribers):
                time.sleep(self._gather)
                events = self._poller.poll(0)
        for number, event in events:
            connection, read = self._readers[number]
            if event & select.POLLOUT:
                connection.flush()
            if event & ~select.POLLOUT:
                read()

    def warm_up(self, window: int, seconds: float) -> None:
        """Widen the window as far as the broker keeps up, and warm it up."""
        started = time.perf_counter()
        slow = 0
        while self.window < window and slow < 2:
            if self.run(count=self.window) > FULL_WINDOW_SECONDS:
                slow += 1
            else:
                self.window = min(2 * self.window, window)
        self.run(seconds=seconds - (time.perf_counter() - started))


def measure_traffic(plan: Plan) -> dict[str, float]:
    traffic = Traffic(plan)
    traffic.warm_up(plan.window, plan.warm_up)
    sent, delivered = traffic.publisher.sent, traffic.delivered
    load_cpu = time.process_time()
    broker_cpu = cpu_seconds(plan.pid)
    seconds = traffic.run(plan.messages, plan.seconds)
    broker_cpu = cpu_seconds(plan.pid) - broker_cpu
    load_cpu = time.process_time() - load_cpu
    messages = traffic.publisher.sent - sent
    deliveries = traffic.delivered - delivered
    return {
        "messages": messages,
        "deliveries": deliveries,
        "window": traffic.window,
        "wall_s": seconds,
        "cpu_s": broker_cpu,
        "load_cpu_s": load_cpu,
        "messages_per_s": messages / seconds,
        "deliveries_per_s": deliveries / seconds,
        "cpu_us_per_message": broker_cpu / messages * 1e6,
        "cpu_us_per_delivery": broker_cpu / deliveries * 1e6,
    }
