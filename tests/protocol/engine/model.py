"""A small broker of the test's own, and a link to it that can be cut.

It keeps the rules of the sender and the receiver (MQTT 5.0 §4.3, §4.4, §4.9) in a
few lines, apart from the engine, and complains when the client breaks one.
"""

from collections import deque
from typing import Any

from aiomqtt.exceptions import MqttError
from aiomqtt.properties import Properties, SubscribeOptions
from aiomqtt.protocol.codec.encode import encode
from aiomqtt.protocol.codec.framing import Decoder
from aiomqtt.protocol.delivery import Delivery
from aiomqtt.protocol.dispatch import State
from aiomqtt.protocol.engine import Engine
from aiomqtt.protocol.output import Arrived
from aiomqtt.protocol.packets import (
    Ack,
    Connect,
    Packet,
    Ping,
    Publish,
    Signal,
    Subscribe,
)
from aiomqtt.protocol.requests import Request
from aiomqtt.protocol.settings import Settings
from aiomqtt.standard.tables import PacketType, ProtocolVersion, Role

from .client_and_broker import (
    CONNACK,
    PINGRESP,
    PUBACK,
    PUBCOMP,
    PUBLISH,
    PUBREC,
    PUBREL,
    SUBACK,
)

Said = tuple[str, bytes, int]  # topic, payload, QoS


class ModelBroker:
    """A broker with one session.

    Attributes:
        received: What the client has published, as far as it came, in order.
    """

    def __init__(
        self, version: int, receive_maximum: int, clients_receive_maximum: int
    ) -> None:
        self.version = ProtocolVersion(version)
        self.receive_maximum = receive_maximum
        self.clients_receive_maximum = clients_receive_maximum
        self.received: list[Said] = []
        # The session: what it has at QoS 2, what it sends, what has no turn yet.
        self.has_session = False
        self.awaiting_release: set[int] = set()
        self.sent: dict[int, Said] = {}
        self.released: dict[int, Said] = {}
        self.queue: deque[Said] = deque()
        self.connect()

    def connect(self) -> None:
        """Begin a connection."""
        self.is_connected = False
        self.out: list[Packet] = []
        # What the client has to acknowledge on this connection, in order.
        self.to_acknowledge: deque[tuple[PacketType, int]] = deque()
        # What counts against the client's Receive Maximum: [MQTT-3.3.4-9].
        self.counted: set[int] = set()

    def lose_session(self) -> None:
        self.has_session = False
        self.awaiting_release.clear()
        self.sent.clear()
        self.released.clear()
        self.queue.clear()

    def publish(self, said: Said) -> None:
        if said[2]:
            self.queue.append(said)
        elif self.is_connected:
            self.out.append(PUBLISH(said[0], said[1]))
        self.pump()

    def pump(self) -> None:
        while self.is_connected and self.queue and self.has_quota():
            said = self.queue.popleft()
            # The lowest that is free, so that identifiers are used again soon.
            packet_id = next(
                candidate
                for candidate in range(1, 65_536)
                if candidate not in self.sent and candidate not in self.released
            )
            self.sent[packet_id] = said
            self.transmit(packet_id, dup=False)

    def has_quota(self) -> bool:
        return len(self.counted) < self.clients_receive_maximum

    def transmit(self, packet_id: int, dup: bool) -> None:
        topic, payload, qos = self.sent[packet_id]
        self.counted.add(packet_id)
        answer = PacketType.PUBACK if qos == 1 else PacketType.PUBREC
        self.to_acknowledge.append((answer, packet_id))
        self.out.append(PUBLISH(topic, payload, qos, packet_id, dup=dup))

    def handle(self, packet: Packet) -> None:
        if isinstance(packet, Connect):
            self.on_connect(packet)
        elif isinstance(packet, Publish):
            self.on_publish(packet)
        elif isinstance(packet, Ack):
            self.on_ack(packet)
        elif isinstance(packet, Subscribe):
            self.out.append(SUBACK(packet.packet_id, 1))
        elif isinstance(packet, Ping):
            self.out.append(PINGRESP)
        else:
            raise AssertionError(f"the client sent {packet}")

    def on_connect(self, packet: Connect) -> None:
        present = self.has_session and not packet.clean_start
        if not present:
            self.lose_session()
        self.has_session = self.is_connected = True
        properties: dict[str, Any] = {}
        if self.version >= 5:
            properties = {"receive_maximum": self.receive_maximum}
        self.out.append(
            CONNACK(session_present=present and self.version > 3, **properties)
        )
        for packet_id in self.released:
            self.out.append(PUBREL(packet_id))
        for packet_id in self.sent:
            self.transmit(packet_id, dup=True)
        self.pump()

    def on_publish(self, packet: Publish) -> None:
        said = (packet.topic.value, packet.payload, packet.qos)
        if packet.qos == 2:
            if packet.mid not in self.awaiting_release:
                self.received.append(said)
            self.awaiting_release.add(packet.mid)
            self.out.append(PUBREC(packet.mid))
        else:
            self.received.append(said)
            if packet.qos:
                self.out.append(PUBACK(packet.mid))

    def on_ack(self, ack: Ack) -> None:
        packet_id = ack.packet_id
        if ack.kind is PacketType.PUBREL:
            self.awaiting_release.discard(packet_id)
            self.out.append(PUBCOMP(packet_id))
            return
        if ack.kind is PacketType.PUBCOMP:
            assert packet_id in self.released, "PUBCOMP that nobody waits for"
            del self.released[packet_id]
            self.counted.discard(packet_id)
        else:
            # In the order of the messages: [MQTT-4.6.0-2], [MQTT-4.6.0-3].
            assert self.to_acknowledge.popleft() == (ack.kind, packet_id)
            said = self.sent.pop(packet_id)
            if ack.kind is PacketType.PUBACK:
                self.counted.discard(packet_id)
            else:
                self.released[packet_id] = said
                self.out.append(PUBREL(packet_id))
        self.pump()


class Link:
    """A client and the model broker, with packets on their way in between."""

    def __init__(
        self, version: int, receive_maximum: int, clients_receive_maximum: int
    ) -> None:
        properties = None
        if version == 5:
            properties = Properties(
                session_expiry_interval=1000, receive_maximum=clients_receive_maximum
            )
        self.engine = Engine(
            Settings(
                ProtocolVersion(version),
                "c",
                None if version == 5 else False,
                properties=properties,
                maximum_in_flight=None if version == 5 else receive_maximum,
            )
        )
        self.version = version
        self.broker = ModelBroker(version, receive_maximum, clients_receive_maximum)
        self.to_broker: deque[Packet] = deque()
        self.to_client: deque[Packet] = deque()
        self.published: list[Said] = []
        self.deliveries: list[Delivery] = []
        self.done: list[Delivery] = []
        self.messages: list[Said] = []
        # What the client has in flight: by identifier for the session, the ones
        # that count in the quota for the connection.
        self.in_flight: dict[int, bytes | None] = {}
        self.quota_used: set[int] = set()
        self.decoder = Decoder(self.broker.version, Role.CLIENT)
        self.reconnect()
        self.run_until_quiet()

    # --- what happens ---------------------------------------------------------

    def publish(self, topic: str, qos: int) -> None:
        payload = b"c%d" % len(self.published)
        self.published.append((topic, payload, qos))
        delivery: Delivery | None
        if self.engine.state is State.CONNECTED:
            delivery = self.engine.publish(topic, payload, qos, False, None, 0.0)
        else:
            delivery = self.engine.prepare(topic, payload, qos, False, None)
            self.engine.session.enqueue(delivery, 0.0)
        if delivery is not None:
            self.deliveries.append(delivery)
        self.take()

    def subscribe(self) -> None:
        if self.engine.state is State.CONNECTED:
            self.engine.subscribe([("f", SubscribeOptions(1))], None)
            self.take()

    def broker_publishes(self, said: Said) -> None:
        self.broker.publish(said)
        self.take_from_broker()

    def deliver_to_broker(self, count: int) -> None:
        for _ in range(min(count, len(self.to_broker))):
            self.broker.handle(self.to_broker.popleft())
        self.take_from_broker()

    def deliver_to_client(self, count: int) -> None:
        """Deliver packets in one chunk."""
        packets = [
            self.to_client.popleft() for _ in range(min(count, len(self.to_client)))
        ]
        for packet in packets:
            self.watch_received(packet)
        self.engine.receive(
            b"".join(
                encode(packet, self.broker.version, Role.SERVER) for packet in packets
            ),
            0.0,
        )
        self.take()
        assert self.engine.state is not State.CLOSED

    def reconnect(self) -> None:
        """Cut the link: what is on its way is lost. Connect again."""
        self.engine.connection_lost(MqttError("cut"))
        self.take()
        self.to_broker.clear()
        self.to_client.clear()
        self.quota_used.clear()
        # SUBSCRIBE does not outlive a connection.
        for packet_id in [i for i, said in self.in_flight.items() if said is None]:
            del self.in_flight[packet_id]
        self.broker.connect()
        self.decoder = Decoder(self.broker.version, Role.CLIENT)
        self.engine.connect()
        self.take()

    def run_until_quiet(self) -> None:
        while self.to_broker or self.to_client:
            self.deliver_to_broker(100)
            self.deliver_to_client(100)

    # --- what is watched --------------------------------------------------------

    def take(self) -> None:
        output = self.engine.take()
        for packet in self.decoder.feed(b"".join(output.data)):
            self.watch_written(packet)
            self.to_broker.append(packet)
        assert self.decoder.error is None
        for happening in output.happenings:
            if isinstance(happening, Arrived):
                self.messages += [
                    (message.topic.value, message.payload, message.qos)
                    for message in happening.messages
                ]
            elif isinstance(happening, Delivery):
                self.done.append(happening)
            elif isinstance(happening, Request):
                assert happening.reason_codes == [1] * happening.is_answered

    def take_from_broker(self) -> None:
        self.to_client.extend(self.broker.out)
        self.broker.out.clear()

    def watch_written(self, packet: Packet) -> None:
        assert not isinstance(packet, Signal)
        if isinstance(packet, Publish) and packet.qos:
            if packet.dup:
                # [MQTT-4.4.0-1]: only on a new connection, and as it was.
                assert packet.mid not in self.quota_used
                assert self.in_flight[packet.mid] == packet.payload
            else:
                assert packet.mid not in self.in_flight, "an identifier is reused"
                self.in_flight[packet.mid] = packet.payload
            self.quota_used.add(packet.mid)
            assert len(self.quota_used) <= self.broker.receive_maximum
        elif isinstance(packet, Subscribe):
            assert packet.packet_id not in self.in_flight
            self.in_flight[packet.packet_id] = None
        elif isinstance(packet, Ack) and packet.kind is PacketType.PUBREL:
            assert packet.packet_id in self.in_flight

    def watch_received(self, packet: Packet) -> None:
        if packet.kind in (PacketType.PUBACK, PacketType.PUBCOMP, PacketType.SUBACK):
            assert not isinstance(packet, Connect | Publish | Ping | Signal)
            packet_id = getattr(packet, "packet_id", 0)
            del self.in_flight[packet_id]
            self.quota_used.discard(packet_id)
