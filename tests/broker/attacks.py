"""Attacks on the memory of a broker, each in a process of its own.

`python -m tests.broker.attacks MAXIMUM NAME...` attacks brokers with this
maximum_memory and prints for each attack its name, by how many bytes its process grew,
and how many the broker counted. The processes are forked: they share what is imported.
"""

import asyncio
import os
import resource
import socket
import sys
import tempfile
from collections.abc import Callable
from typing import Any

from aiomqtt.broker import Broker, Limits
from aiomqtt.broker.core.connection import ClientConnection
from aiomqtt.broker.core.state import BrokerState
from aiomqtt.properties import Properties, SubscribeOptions
from aiomqtt.protocol.codec.encode import encode
from aiomqtt.protocol.packets import Connect, Packet, Publish, Subscribe, WillMessage
from aiomqtt.standard.tables import ProtocolVersion, Role
from aiomqtt.topic import Topic

V311 = ProtocolVersion.V311
V5 = ProtocolVersion.V5
CLIENT = Role.CLIENT
KILOBYTE = b"x" * 1000
LASTING = Properties(session_expiry_interval=1000)


class Target:
    """The core of a broker, without sockets."""

    def __init__(self, maximum: int) -> None:
        self.state = BrokerState(
            Limits(maximum_memory=maximum), lambda: "x", self._note, 0.0
        )
        self.connections: set[ClientConnection] = set()

    def _note(self, line: str) -> None:
        """Keep no log."""

    def flush(self) -> None:
        """Write nothing: `clean` drops the data."""

    def open(self) -> ClientConnection:
        connection = ClientConnection(self.state, "attacker", None, self, 0.0)
        self.connections.add(connection)
        return connection

    def client(self, name: str, **fields: Any) -> ClientConnection:
        connection = self.open()
        version = fields.pop("version", V5)
        self.say(connection, Connect(version, name, **fields), version=version)
        return connection

    def say(
        self,
        connection: ClientConnection,
        *packets: Packet | bytes,
        version: ProtocolVersion = V5,
    ) -> None:
        for packet in packets:
            data = (
                packet if isinstance(packet, bytes) else encode(packet, version, CLIENT)
            )
            connection.receive(data, 0.0)
            while connection.has_more:
                connection.go_on(0.0)
                self.clean(connection)
            self.clean(connection)

    def clean(self, connection: ClientConnection) -> None:
        """Take what the broker writes: it is what it keeps that counts."""
        for send_buffer in self.state.ready:
            send_buffer.pop()
            send_buffer.set_unsent(0)
        self.state.ready.clear()
        connection.events.clear()
        if connection.is_closed:
            self.connections.discard(connection)

    def leave(self, connection: ClientConnection) -> None:
        connection.connection_lost("it left", 0.0)
        self.clean(connection)


def publish(topic: str, payload: bytes = b"x", **fields: Any) -> Publish:
    fields = {"qos": 0, "retain": False, "mid": 0, "properties": None, **fields}
    return Publish(Topic(topic), payload, dup=False, **fields)


def retained_properties(target: Target) -> None:
    speaker = target.client("speaker")
    properties = Properties(user_property=[("name", "x" * 100)] * 100)
    for number in range(2000):
        target.say(speaker, publish(f"t/{number}", retain=True, properties=properties))


def retained_topics(target: Target) -> None:
    speaker = target.client("speaker")
    for number in range(750):
        target.say(speaker, publish(f"{number}/" + "x" * 50_000, retain=True))


def deep_topics(target: Target) -> None:
    speaker = target.client("speaker")
    for number in range(1500):
        target.say(speaker, publish(f"{number}" + "/x" * 127, retain=True))


def queued_messages(target: Target) -> None:
    for number in range(20):
        client = target.client(f"away {number}", properties=LASTING)
        target.say(client, Subscribe(1, [("#", SubscribeOptions(1))]))
        target.leave(client)
    speaker = target.client("speaker")
    for number in range(4000):
        target.say(speaker, publish(f"{number}", KILOBYTE, qos=1, mid=1))


def many_sessions(target: Target) -> None:
    for number in range(4500):
        client = target.client(f"{number}" + "x" * 5000, properties=LASTING)
        target.leave(client)


def many_connections(target: Target) -> None:
    name = "x" * 60_000
    properties = Properties(user_property=[("name", "value")] * 1000)
    for number in range(150):
        target.client(f"{number}", username=name, properties=properties)


def wills(target: Target) -> None:
    will = WillMessage("t", b"x" * 60_000, 0, False, Properties(will_delay_interval=99))
    for number in range(1000):
        client = target.client(f"{number}", will=will, properties=LASTING)
        target.leave(client)


def long_filters(target: Target) -> None:
    client = target.client("client")
    for number in range(1000):
        topic_filter = f"{number}/" + "x" * 30_000
        target.say(client, Subscribe(1, [(topic_filter, SubscribeOptions(1))]))


def deep_filters(target: Target) -> None:
    client = target.client("client")
    for number in range(1500):
        topic_filter = f"{number}" + "/x" * 127
        target.say(client, Subscribe(1, [(topic_filter, SubscribeOptions(1))]))


def matched_topics(target: Target) -> None:
    client = target.client("client")
    target.say(client, Subscribe(1, [("#", SubscribeOptions(0))]))
    for number in range(750):
        target.say(client, publish(f"{number}/" + "x" * 50_000))


def partial_packets(target: Target) -> None:
    beginning = b"\x30\xff\xff\xff\x06\0\1t\0"
    for number in range(150):
        client = target.client(f"{number}")
        target.say(client, beginning, *[bytes(100_000) for _ in range(10)])


def identifiers(target: Target) -> None:
    for name in range(15):
        client = target.client(f"{name}", clean_start=False, version=V311)
        for number in range(1, 20_000):
            packet = publish("t", qos=2, mid=number)
            target.say(client, packet, version=V311)
            if client.is_closed:
                break


def topic_aliases(target: Target) -> None:
    for name in range(8):
        client = target.client(f"{name}")
        for number in range(1, 101):
            properties = Properties(topic_alias=number)
            topic = f"{number}/" + "x" * 50_000
            target.say(client, publish(topic, properties=properties))


def pending_retained(target: Target) -> None:
    speaker = target.client("speaker")
    for number in range(10_000):
        target.say(speaker, publish(f"{number}", retain=True, qos=1, mid=1))
    for number in range(25):
        client = target.client(f"{number}", properties=LASTING)
        target.say(client, Subscribe(1, [("#", SubscribeOptions(1))]))
        target.leave(client)


def questions(target: Target) -> None:
    """A hook that never answers."""
    for number in range(150):
        target.state.asks_for_topics = False
        client = target.client(f"{number}")
        target.state.asks_for_topics = True
        message = encode(publish("t", bytes(500_000), qos=1, mid=1), V5, CLIENT)
        for at in range(0, len(message), 100_000):
            target.say(client, message[at : at + 100_000])


async def unread_answers(maximum: int) -> BrokerState:
    """A client that publishes with QoS 2 and takes no PUBREC."""
    limits = Limits(maximum_memory=maximum, receive_maximum=0xFFFF)
    with tempfile.TemporaryDirectory() as directory:
        path = f"{directory}/broker.sock"
        async with Broker(limits=limits) as broker:
            await broker.listen_unix(path)
            await flood_unread(path)
            state = broker._state
            assert state is not None
            return state


async def flood_unread(path: str) -> None:
    # Through a Unix socket: of TCP's, the system itself would hold megabytes.
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(path)
        connection.setblocking(False)
        loop = asyncio.get_running_loop()
        await loop.sock_sendall(connection, encode(Connect(V5, "me"), V5, CLIENT))
        await loop.sock_recv(connection, 1000)
        flood = encode(publish("t", qos=2, mid=1), V5, CLIENT) * 10_000
        try:
            for _ in range(5000):
                async with asyncio.timeout(3):
                    await loop.sock_sendall(connection, flood)
        except TimeoutError:
            pass
        else:
            raise AssertionError("the broker read all of it")


ATTACKS: dict[str, Callable[[Target], None]] = {
    attack.__name__: attack
    for attack in (
        retained_properties,
        retained_topics,
        deep_topics,
        queued_messages,
        many_sessions,
        many_connections,
        wills,
        long_filters,
        deep_filters,
        matched_topics,
        partial_packets,
        identifiers,
        topic_aliases,
        pending_retained,
        questions,
    )
}


def grown(before: int) -> int:
    """By how many bytes the process has grown at most since it had so many."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - before


def fill_caches() -> None:
    """Fill those of the process, which are not the broker's and have their bounds."""
    target = Target(1 << 30)
    client = target.client("client")
    for number in range(20_000):
        target.say(client, publish(f"{number}"))


def attack(name: str, maximum: int) -> None:
    before = grown(0)
    if name == "unread_answers":
        state = asyncio.run(unread_answers(maximum))
    else:
        target = Target(maximum)
        ATTACKS[name](target)
        state = target.state
    print(name, grown(before), state.memory.used, flush=True)


def main(maximum: int, *names: str) -> None:
    fill_caches()
    for name in names:
        process = os.fork()
        if not process:
            attack(name, maximum)
            sys.exit()
        _, status = os.waitpid(process, 0)
        if status:
            sys.exit(1)


if __name__ == "__main__":
    main(int(sys.argv[1]), *sys.argv[2:])
