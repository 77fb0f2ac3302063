"""A client with a session that lasts, driven by generated steps."""

from typing import Any

from hypothesis import strategies as st

from aiomqtt.broker.core.journal import Journal
from aiomqtt.broker.core.message import MessagePool
from aiomqtt.broker.core.session import Session
from aiomqtt.properties import Properties
from aiomqtt.protocol.changes import SessionState
from aiomqtt.protocol.packets import Ack, Packet, Publish
from aiomqtt.standard.tables import PacketType
from aiomqtt.stores.broker import (
    Record,
    RetainedChanged,
    SessionAttributes,
    SessionChanged,
    StoredMessage,
    StoredSession,
)

from .world import V5, Wire, World

STEPS = st.tuples(
    st.sampled_from(
        (
            "publish",
            "publish",
            "publish that expires",
            "retain",
            "retain",
            "remove retained",
            "acknowledge",
            "acknowledge",
            "refuse",
            "receive",
            "release",
            "subscribe",
            "unsubscribe",
            "wait",
            "lose",
            "connect",
        )
    ),
    st.integers(0, 5),
)
LASTING = Properties(session_expiry_interval=1000, receive_maximum=2)


def snapshot(session: Session) -> SessionState:
    """The state of a session."""
    state = SessionState(session.client_id)
    state.exists = state.connected_before = True
    session.outbound.save(state)
    session.inbound.save(state)
    for topic_filter, subscription in session.subscriptions.items():
        state.subscriptions[topic_filter] = subscription.stored()
    return state


class Conversation:
    """A client with a session that lasts, and another one that publishes to it."""

    def __init__(self, version: int) -> None:
        self.version = version
        # What the client got, and what of it is not acknowledged.
        self.got: list[str] = []
        self.unanswered: list[Packet] = []
        self.begin(World())
        self.stored = SessionState("me")
        self.stored.exists = self.stored.connected_before = True
        self.attributes: SessionAttributes | None = None
        self.stored_retained: dict[str, StoredMessage] = {}
        # All that was handed over.
        self.records: list[Record] = []
        self.connect()
        self.step("subscribe", 0)

    def begin(self, world: World) -> None:
        self.world = world
        self.journal = Journal()
        world.state.record(self.journal)
        self.other = world.client(V5, client_id="other")
        self.client: Wire | None = None

    def restart(self) -> None:
        """Another process goes on, with what is stored and nothing else."""
        now, last_number = self.world.now, self.world.state.retained.last_number
        world = World()
        world.now = now
        self.begin(world)
        for message in sorted(
            self.stored_retained.values(), key=lambda one: one.number
        ):
            world.state.restore_retained(message)
        assert self.attributes is not None
        stored = StoredSession(self.stored, self.attributes)
        world.state.restore(stored, MessagePool())
        # Only their order matters, but the same ones are easier to compare.
        world.state.retained.number_after(last_number)

    @property
    def session(self) -> Session:
        return self.world.state.sessions["me"]

    def connect(self) -> None:
        self.client = Wire(self.world, self.version)
        properties = LASTING if self.version == V5 else None
        self.client.connect("me", clean_start=False, properties=properties)
        self.unanswered.clear()
        self.take(self.client.rest)

    def take(self, packets: list[Any]) -> None:
        for packet in packets:
            dup = isinstance(packet, Publish) and packet.dup
            self.got.append(f"{packet!r} {dup}")
            if (isinstance(packet, Publish) and packet.qos) or (
                isinstance(packet, Ack) and packet.kind is PacketType.PUBREL
            ):
                self.unanswered.append(packet)

    def step(self, name: str, which: int) -> None:
        client, other = self.client, self.other
        if name == "publish":
            other.publish("t", b"%d" % which, 1 + which % 2, mid=1)
        elif name == "publish that expires":
            properties = Properties(message_expiry_interval=2 + which)
            other.publish("t", b"e", 1 + which % 2, mid=1, properties=properties)
        elif name == "retain":
            other.publish(f"r/{which}", b"%d" % which, 1 + which % 2, True, mid=1)
        elif name == "remove retained":
            other.publish(f"r/{which}", b"", 1, True, mid=1)
        elif name == "wait":
            self.world.pass_time(1.6)
        elif client is None:
            if name == "connect":
                self.connect()
        elif name == "lose":
            client.lose()
            self.client = None
        elif name in ("acknowledge", "refuse") and self.unanswered:
            packet = self.unanswered.pop(which % len(self.unanswered))
            code = 0x80 if name == "refuse" and self.version == V5 else 0
            client.send(self.answer(packet, code))
        elif name == "receive":
            client.publish("r", b"", 2, mid=1 + which)
        elif name == "release":
            client.ack(PacketType.PUBREL, 1 + which)
        elif name == "subscribe":
            identifier = 1 + which if which % 2 and self.version == V5 else None
            properties = Properties(subscription_identifier=identifier)
            client.subscribe(("t", "t", "t", "r/1", "r/#", "u")[which], 2, properties)
            self.take(client.rest)
        elif name == "unsubscribe":
            for topic_filter in ("u", "r/#"):
                self.session.send_no_retained(topic_filter)
                self.world.state.subscriptions.remove(self.session, topic_filter)
        # A PUBLISH at QoS 2 of the other one waits for nothing.
        other.ack(PacketType.PUBREL, 1)
        other.read()
        if self.client is not None:
            self.take(self.client.read())
        self.check()

    def answer(self, packet: Packet, code: int) -> Ack:
        if isinstance(packet, Publish):
            kind = PacketType.PUBACK if packet.qos == 1 else PacketType.PUBREC
            ack = Ack(kind, packet.mid)
        else:
            assert isinstance(packet, Ack)
            return Ack(PacketType.PUBCOMP, packet.packet_id)
        if code:
            ack.reason_code = type(ack.reason_code)(code)
        return ack

    def check(self) -> None:
        """Check that the stored state equals the current state."""
        records = self.journal.take()
        self.records += records
        for entry in records:
            if isinstance(entry, RetainedChanged):
                self.stored_retained.pop(entry.topic, None)
                if entry.message is not None:
                    self.stored_retained[entry.topic] = entry.message
                continue
            assert isinstance(entry, SessionChanged)
            if entry.client_id == "me":
                for change in entry.changes:
                    self.stored.apply(change)
                self.attributes = entry.attributes or self.attributes
        now = snapshot(self.session)
        # What comes of it is checked by what the client gets.
        now.pending_retained = self.stored.pending_retained
        assert self.stored == now
        if self.session.pending_retained is None:
            assert self.stored.pending_retained == {}
        assert self.session.record is not None
        assert self.session.record.take() is None
