"""A session of the broker that is stored: what was stored is what there is."""

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from aiomqtt.broker.core.journal import Journal, SessionChanged
from aiomqtt.broker.core.session import Session
from aiomqtt.properties import Properties
from aiomqtt.protocol.changes import SessionState
from aiomqtt.protocol.packets import Ack, Packet, Publish
from aiomqtt.standard.tables import PacketType

from ..world import V5, V311, Wire, World

STEPS = st.tuples(
    st.sampled_from(
        (
            "publish",
            "publish",
            "publish that expires",
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
        now = self.world.now
        world = World()
        world.now = now
        self.begin(world)
        world.state.restore(self.stored)

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
            client.subscribe("t" if which < 4 else "u", 2, properties)
            self.take(client.rest)
        elif name == "unsubscribe":
            self.world.state.subscriptions.remove(self.session, "u")
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
        for entry in self.journal.take():
            assert isinstance(entry, SessionChanged)
            if entry.client_id == "me":
                for change in entry.changes:
                    self.stored.apply(change)
        assert self.stored == self.session.snapshot()


@settings(deadline=None, max_examples=150)
@given(st.sampled_from([V311, V5]), st.lists(STEPS, min_size=10, max_size=60))
def test_at_every_step_the_changes_make_of_what_was_stored_what_there_is(
    version, steps
):
    conversation = Conversation(version)
    for step in steps:
        conversation.step(*step)
        if conversation.client is None:
            conversation.restart()
            conversation.check()


@settings(deadline=None, max_examples=60)
@given(st.sampled_from([V311, V5]), st.lists(STEPS, min_size=1, max_size=12))
def test_at_every_step_a_stored_session_goes_on_as_the_one_that_was(version, steps):
    for cut in range(len(steps) + 1):
        same, other = Conversation(version), Conversation(version)
        for conversation in (same, other):
            for step in steps[:cut]:
                conversation.step(*step)
            conversation.step("lose", 0)
        other.restart()
        for conversation in (same, other):
            for step in [*steps[cut:], ("connect", 0)]:
                conversation.step(*step)
        assert same.got == other.got
        assert same.stored == other.stored


def test_what_is_stored_does_not_depend_on_the_version():
    conversation = Conversation(V5)
    conversation.step("subscribe", 1)
    conversation.step("lose", 0)
    conversation.step("publish that expires", 3)
    conversation.step("publish", 0)
    conversation.restart()
    conversation.version = V311
    conversation.got.clear()
    conversation.step("connect", 0)
    first, second = conversation.got
    assert "payload=b'e'" in first
    assert "properties=None" in first
    assert "payload=b'0'" in second


def test_the_memory_that_stored_messages_take_is_counted():
    conversation = Conversation(V5)
    conversation.step("lose", 0)
    empty = conversation.world.state.memory.used
    for _ in range(5):
        conversation.step("publish", 0)
    conversation.restart()
    assert conversation.world.state.memory.used > empty
    conversation.step("connect", 0)
    while conversation.unanswered:
        conversation.step("acknowledge", 0)
    conversation.step("lose", 0)
    assert conversation.world.state.memory.used == empty


def test_a_session_that_is_not_durable_records_nothing():
    world = World()
    world.client(client_id="me").subscribe("t", 1)
    session = world.state.sessions["me"]
    journal = Journal()
    session.journal = journal
    session.note_changes()
    assert journal.take() == []
