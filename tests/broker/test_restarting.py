"""A broker that is killed goes on with its store as if all connections had broken."""

from collections import deque
from pathlib import Path
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from aiomqtt.broker.core.journal import Journal
from aiomqtt.broker.core.message import MessagePool
from aiomqtt.properties import Properties
from aiomqtt.protocol.packets import Ack, Packet, Publish, Unsubscribe, WillMessage
from aiomqtt.standard.tables import PacketType
from aiomqtt.stores.sqlite.broker_schema import BROKER_SCHEMA
from aiomqtt.stores.sqlite.broker_tables import BrokerTables
from aiomqtt.stores.sqlite.file import DatabaseFile
from tests.examples import examples

from .world import V5, V311, Wire, World

# By name: the version, and how long the session lasts without a connection.
CLIENTS = {
    "lasting": (V5, 0xFFFF_FFFF),
    "older": (V311, 0),
    "short": (V5, 20),
    "shorter": (V5, 5),
    "clean": (V5, 0),
}
NAMES = [*CLIENTS]
TOPICS = ("t/1", "t/2", "r/1", "r/2", "r/3", "r/1", "r/2", "r/3")
FILTERS = ("t/#", "t/1", "r/#", "r/1", "+/2", "r/#")
STEPS = st.lists(
    st.tuples(
        st.sampled_from(
            ("publish",) * 6
            + ("acknowledge",) * 4
            + ("subscribe",) * 4
            + ("connect",) * 4
            + ("unsubscribe", "lose", "disconnect", "wait", "wait", "kill")
        ),
        st.integers(0, len(NAMES) - 1),
        st.integers(0, 10_000),
    ),
    min_size=20,
    max_size=80,
)


class Side:
    """A broker, and its clients.

    Args:
        path: The file of its store, of which a kill leaves nothing else; None: it has
            none, and a kill breaks all connections.
    """

    def __init__(self, path: Path | None = None) -> None:
        self.path = path
        self.wires: dict[str, Wire] = {}
        self.unanswered: dict[str, deque[Packet]] = {}
        # What they got with QoS 1 and 2: only these outlive a process.
        self.got: dict[str, list[str]] = {name: [] for name in NAMES}
        self.presents: list[bool] = []
        self.packet_id = 0
        self.now = 1000.0
        self.begin()

    def begin(self) -> None:
        self.world = World()
        self.world.now = self.world.state.turn.now = self.now
        self.journal = Journal()
        self.world.state.record(self.journal)
        if self.path is not None:
            self.restore(self.path)
        self.world.state.tick(self.now)
        self.publisher = self.world.client(client_id="publisher")

    def restore(self, path: Path) -> None:
        self.file = DatabaseFile(path, BROKER_SCHEMA)
        self.tables = BrokerTables(self.file)
        stored = self.tables.open()
        for message in stored.retained:
            self.world.state.restore_retained(message)
        pool = MessagePool()
        for session in stored.sessions:
            self.world.state.restore(session, pool)

    def write(self) -> None:
        records = self.journal.take()
        if self.path is not None:
            self.tables.write(records)

    def step(self, step: str, who: int, which: int) -> None:
        name = NAMES[who]
        if step == "kill":
            self.kill()
        elif step == "wait":
            self.world.pass_time((0.5, 1, 3, 7)[which % 4])
            self.now = self.world.now
        elif step == "publish":
            self.publish(self.wires.get(name) if which % 4 == 0 else None, which)
        elif step == "connect":
            self.connect(name, which)
        elif name in self.wires:
            self.step_of(name, step, which)
        self.read()
        self.write()

    def step_of(self, name: str, step: str, which: int) -> None:
        wire = self.wires[name]
        if step == "lose":
            self.wires.pop(name).lose()
        elif step == "disconnect":
            self.wires.pop(name).disconnect()
        elif step == "unsubscribe":
            wire.send(Unsubscribe(60_000, [FILTERS[which % len(FILTERS)]]))
        elif step == "subscribe":
            self.read()
            topic_filter = FILTERS[which % len(FILTERS)]
            if wire.version == V5:
                options: dict[str, Any] = {
                    "retain_handling": which // 18 % 3,
                    "retain_as_published": which % 5 == 0,
                    "no_local": which % 7 == 0,
                }
                properties = Properties(subscription_identifier=which % 3 or None)
                wire.subscribe(topic_filter, which // 6 % 3, properties, **options)
            else:
                wire.subscribe(topic_filter, which // 6 % 3)
            self.take(name, wire.rest)
        else:
            self.acknowledge(name, 1 + which % 6)

    def connect(self, name: str, which: int) -> None:
        version, expiry = CLIENTS[name]
        delay = Properties(will_delay_interval=(0, 3, 30)[which % 3])
        will = WillMessage(
            "t/will",
            b"will%d" % which,
            1 + which % 2,
            which % 5 == 0,
            delay if version == V5 else None,
        )
        wire = self.wires[name] = Wire(self.world, version)
        properties = Properties(
            session_expiry_interval=expiry, receive_maximum=(1, 2, 5)[which // 3 % 3]
        )
        connack = wire.connect(
            name,
            clean_start=version == V5 and which % 8 == 0,
            will=will if which % 2 else None,
            properties=properties if version == V5 else None,
        )
        self.presents.append(connack.session_present)
        self.unanswered[name] = deque()
        self.take(name, wire.rest)

    def publish(self, wire: Wire | None, which: int) -> None:
        wire = self.publisher if wire is None else wire
        topic = TOPICS[which % len(TOPICS)]
        retain = topic.startswith("r") and which % 5 > 0
        expiry = Properties(message_expiry_interval=2 + which % 7)
        self.packet_id += 1
        wire.publish(
            topic,
            b"" if retain and which % 11 == 0 else b"%d" % self.packet_id,
            which // 8 % 3,
            retain,
            1000 + self.packet_id if which // 8 % 3 else 0,
            expiry if which % 4 == 1 and wire.version == V5 else None,
        )

    def kill(self) -> None:
        self.write()
        if self.path is not None:
            self.file.close()
            self.begin()
        else:
            for name in [*self.world.state.sessions]:
                if name in self.wires:
                    self.wires[name].lose()
            self.world.state.tick(self.now)
        self.wires.clear()

    def read(self) -> None:
        """Have all clients read all that is there for them."""
        self.publisher.ack(PacketType.PUBREL, 1000 + self.packet_id)
        self.publisher.read()
        for name, wire in [*self.wires.items()]:
            packets = wire.read()
            while packets or wire.connection.has_more:
                self.take(name, packets)
                if wire.connection.has_more:
                    wire.connection.go_on(self.now)
                packets = wire.read()
            if wire.ended is not None:
                del self.wires[name]

    def take(self, name: str, packets: list[Packet]) -> None:
        for packet in packets:
            if isinstance(packet, Publish) and packet.qos:
                # A will of the kill may have been on the way to a connection.
                dup = packet.dup and not packet.payload.startswith(b"will")
                flags = f"{packet.qos} {packet.retain} {dup}"
                self.got[name].append(
                    f"{packet.topic} {packet.payload!r} {flags} {packet.properties}"
                )
                self.unanswered[name].append(packet)
            elif isinstance(packet, Ack) and packet.kind is PacketType.PUBREL:
                self.unanswered[name].append(packet)
            elif isinstance(packet, Ack) and packet.kind is PacketType.PUBREC:
                self.wires[name].ack(PacketType.PUBREL, packet.packet_id)

    def acknowledge(self, name: str, count: int) -> None:
        for _ in range(count):
            self.read()
            if name not in self.wires or not self.unanswered[name]:
                return
            packet = self.unanswered[name].popleft()
            if isinstance(packet, Ack):
                self.wires[name].ack(PacketType.PUBCOMP, packet.packet_id)
            elif isinstance(packet, Publish):
                kind = PacketType.PUBACK if packet.qos == 1 else PacketType.PUBREC
                self.wires[name].ack(kind, packet.mid)

    def end(self) -> None:
        """Have those whose sessions are still there get the rest of their messages."""
        for name in [name for name in NAMES if name in self.world.state.sessions]:
            self.connect(name, 6)
            self.acknowledge(name, 1000)
        if self.path is not None:
            self.file.close()


@examples(30)
@given(STEPS)
# Of a client whose window is full, a second filter waits, which comes first by name.
@example([("subscribe", 0, 3520), ("kill", 0, 0)])
def test_a_broker_that_is_killed_goes_on_as_if_all_connections_had_broken(
    tmp_path_factory, steps
):
    lived = Side()
    killed = Side(tmp_path_factory.mktemp("brokers") / "killed.db")
    # Retained messages with QoS 1 and 2, of which their windows take one at a time.
    begin = [("publish", 0, which) for which in (18, 19, 36)]
    begin += [("connect", who, 2) for who in range(len(NAMES))]
    begin += [("subscribe", who, 17) for who in range(len(NAMES))]
    for step in [*begin, *steps]:
        for side in (lived, killed):
            side.step(*step)
        assert killed.got == lived.got
        assert killed.presents == lived.presents
        assert killed.world.state.sessions.keys() == lived.world.state.sessions.keys()
    lived.end()
    killed.end()
    assert killed.got == lived.got
