"""A broker's rules and its clients without sockets, on a clock of the test's own."""

from typing import Any

from aiomqtt.broker.core.connection import ClientConnection
from aiomqtt.broker.core.events import Accepted, Ended
from aiomqtt.broker.core.state import BrokerState
from aiomqtt.broker.core.turn import WORK_PER_TURN
from aiomqtt.broker.limits import Limits
from aiomqtt.properties import Properties, SubscribeOptions
from aiomqtt.protocol.codec.encode import encode
from aiomqtt.protocol.codec.framing import Decoder
from aiomqtt.protocol.packets import (
    Ack,
    Connack,
    Connect,
    Packet,
    Publish,
    Signal,
    Suback,
    Subscribe,
)
from aiomqtt.standard.tables import PacketType, ProtocolVersion, Role
from aiomqtt.topic import Topic

V311 = ProtocolVersion.V311
V5 = ProtocolVersion.V5


class World:
    """A broker without sockets.

    now: The time, which the test moves by `pass_time`.
    notes: What it logged.

    A turn of the broker with less work is over with fewer messages or filters, and a
    test that needs several turns takes less time.
    """

    def __init__(self, *, work_per_turn: int = WORK_PER_TURN, **limits: Any) -> None:
        self.now = 1000.0
        self.notes: list[str] = []
        self.names = iter(f"assigned-{number}" for number in range(1000))
        self.state = BrokerState(
            Limits(**limits),
            lambda: next(self.names),
            self.notes.append,
            self.now,
            work_per_turn,
        )

    def client(self, version: int = V5, **connect: Any) -> "Wire":
        """A client that is connected."""
        wire = Wire(self, version)
        wire.connect(**connect)
        return wire

    def pass_time(self, seconds: float) -> None:
        """Let time pass, with everything that is due on the way."""
        end = self.now + seconds
        while (due := self.state.deadline()) is not None and due <= end:
            self.now = max(due, self.now)
            self.state.tick(self.now)
        self.now = end
        self.state.tick(end)


class Wire:
    """One connection, seen from the client's end."""

    def __init__(self, world: World, version: int = V5) -> None:
        self.world = world
        self.version = ProtocolVersion(version)
        self.connection = ClientConnection(world.state, "test", None, self, world.now)
        self.send_buffer = self.connection.send_buffer
        self._decoder = Decoder(self.version, Role.SERVER)
        self._last_id = 0

    def flush(self) -> None:
        """Write nothing: the test reads when it wants to."""

    # --- both ways -------------------------------------------------------------------

    def send(self, *packets: Packet | bytes) -> None:
        """Send packets, or bytes, in one chunk."""
        self.connection.receive(
            b"".join(
                packet
                if isinstance(packet, bytes)
                else encode(packet, self.version, Role.CLIENT)
                for packet in packets
            ),
            self.world.now,
        )

    def read(self) -> list[Packet]:
        """Return all packets that the broker has written since the last call."""
        data = b"".join(self.send_buffer.pop())
        self.send_buffer.unsent = 0
        packets = self._decoder.feed(data)
        assert self._decoder.error is None
        assert not self._decoder.is_partial
        return packets

    def read_one(self) -> Any:
        """The one packet that the broker has written."""
        (packet,) = self.read()
        return packet

    @property
    def ended(self) -> str | None:
        """Why the broker ended the connection; None: it did not."""
        for event in self.connection.events:
            if isinstance(event, Ended):
                return event.reason
        return None

    @property
    def accepted(self) -> bool:
        return any(isinstance(event, Accepted) for event in self.connection.events)

    def lose(self) -> None:
        """The network connection breaks."""
        self.connection.connection_lost("it broke", self.world.now)

    # --- what clients do ------------------------------------------------------

    def connect(
        self,
        client_id: str = "me",
        clean_start: bool = True,
        keep_alive: int = 0,
        will: Any = None,
        properties: Properties | None = None,
    ) -> Connack:
        self.send(
            Connect(
                self.version,
                client_id,
                clean_start,
                keep_alive,
                will=will,
                properties=properties,
            )
        )
        packets = self.read()
        assert packets, "there was no CONNACK"
        connack = packets[0]
        assert isinstance(connack, Connack)
        self.rest = packets[1:]
        return connack

    def subscribe(
        self,
        topic_filter: str,
        qos: int = 0,
        properties: Properties | None = None,
        **options: Any,
    ) -> list[int]:
        """Subscribe; the codes of the SUBACK. What comes after it is in `rest`."""
        self._last_id += 1
        self.send(
            Subscribe(
                self._last_id,
                [(topic_filter, SubscribeOptions(qos, **options))],
                properties,
            )
        )
        suback, *self.rest = self.read()
        assert isinstance(suback, Suback)
        return [int(code) for code in suback.reason_codes]

    def publish(
        self,
        topic: str = "t",
        payload: bytes = b"x",
        qos: int = 0,
        retain: bool = False,
        mid: int = 0,
        properties: Properties | None = None,
        dup: bool = False,
    ) -> None:
        if qos and not mid:
            self._last_id += 1
            mid = self._last_id
        self.send(Publish(Topic(topic), payload, qos, retain, mid, properties, dup))

    def ack(self, kind: PacketType, packet_id: int) -> None:
        self.send(Ack(kind, packet_id))

    def disconnect(self, code: int = 0, properties: Properties | None = None) -> None:
        self.send(Signal(PacketType.DISCONNECT, code, properties))


def payloads(packets: list[Packet]) -> list[bytes]:
    """The payloads of what are PUBLISH packets, all of them."""
    assert all(isinstance(packet, Publish) for packet in packets), packets
    return [packet.payload for packet in packets if isinstance(packet, Publish)]
