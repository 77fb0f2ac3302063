"""A client's engine, and the broker that it talks to, both in memory.

    client, broker = connected(version)
    client.publish("t", b"x", qos=1)
    broker.gets(PUBLISH("t", b"x", qos=1, packet_id=1))
    broker.sends(PUBACK(1))
    assert client.events() == [...]

`broker.gets` compares the bytes of all that the client has written since the last
time. A packet is one of the functions in capitals, or raw bytes where these are the
point: `octets("e0 01 82")`. What the client was handed (messages, and events, which is
all the rest) is kept until a test asks for it.
"""

from typing import Any

import pytest

from aiomqtt.exceptions import MqttCodeError, MqttError
from aiomqtt.properties import Properties, ReasonCode, SubscribeOptions
from aiomqtt.protocol.changes import Change, ChangeKind
from aiomqtt.protocol.codec.encode import encode
from aiomqtt.protocol.codec.framing import Decoder
from aiomqtt.protocol.delivery import Delivery
from aiomqtt.protocol.dispatch import State
from aiomqtt.protocol.engine import Engine
from aiomqtt.protocol.output import Arrived, Closed, Connected, Happening
from aiomqtt.protocol.packets import (
    NO_TOPIC,
    Ack,
    Connack,
    Connect,
    Packet,
    Ping,
    Publish,
    Signal,
    Suback,
    Subscribe,
    Unsubscribe,
)
from aiomqtt.protocol.requests import Request
from aiomqtt.protocol.session import Session
from aiomqtt.protocol.settings import Settings
from aiomqtt.standard.tables import PacketType, ProtocolVersion, Role
from aiomqtt.topic import Topic

# With so many deliveries, to compare a session would take too long.
MANY = 100

# --- packets -------------------------------------------------------------------


def octets(text: str) -> bytes:
    """Bytes as they are on the wire: `octets("40 02 00 01")`."""
    return bytes.fromhex(text)


def _properties(values: dict[str, Any]) -> Properties | None:
    return Properties(**values) if values else None


def CONNACK(code: int = 0, session_present: bool = False, **properties: Any) -> Connack:
    return Connack(session_present, ReasonCode(code), _properties(properties))


def PUBLISH(
    topic: str,
    payload: bytes = b"",
    qos: int = 0,
    packet_id: int = 0,
    *,
    dup: bool = False,
    retain: bool = False,
    **properties: Any,
) -> Publish:
    name = Topic(topic) if topic else NO_TOPIC
    values = _properties(properties)
    return Publish(name, payload, qos, retain, packet_id, values, dup)


def PUBACK(packet_id: int, code: int = 0, **properties: Any) -> Ack:
    return Ack(PacketType.PUBACK, packet_id, ReasonCode(code), _properties(properties))


def PUBREC(packet_id: int, code: int = 0, **properties: Any) -> Ack:
    return Ack(PacketType.PUBREC, packet_id, ReasonCode(code), _properties(properties))


def PUBREL(packet_id: int, code: int = 0, **properties: Any) -> Ack:
    return Ack(PacketType.PUBREL, packet_id, ReasonCode(code), _properties(properties))


def PUBCOMP(packet_id: int, code: int = 0, **properties: Any) -> Ack:
    return Ack(PacketType.PUBCOMP, packet_id, ReasonCode(code), _properties(properties))


def SUBSCRIBE(packet_id: int, *filters: str, qos: int = 0, **properties: Any) -> Packet:
    subscriptions = [(name, SubscribeOptions(qos)) for name in filters]
    return Subscribe(packet_id, subscriptions, _properties(properties))


def SUBACK(packet_id: int, *codes: int, **properties: Any) -> Suback:
    values = [ReasonCode(code) for code in codes]
    return Suback(PacketType.SUBACK, packet_id, values, _properties(properties))


def UNSUBSCRIBE(packet_id: int, *filters: str, **properties: Any) -> Packet:
    return Unsubscribe(packet_id, [*filters], _properties(properties))


def UNSUBACK(packet_id: int, *codes: int, **properties: Any) -> Suback:
    values = [ReasonCode(code) for code in codes]
    return Suback(PacketType.UNSUBACK, packet_id, values, _properties(properties))


def DISCONNECT(code: int = 0, **properties: Any) -> Signal:
    return Signal(PacketType.DISCONNECT, code, _properties(properties))


def AUTH(code: int = 0x18, **properties: Any) -> Signal:
    return Signal(PacketType.AUTH, code, _properties(properties))


PINGREQ = Ping(PacketType.PINGREQ)
PINGRESP = Ping(PacketType.PINGRESP)


def describe(data: bytes, version: int, sender: Role) -> str:
    """Describe bytes for the message of a failed test."""
    decoder = Decoder(ProtocolVersion(version), sender)
    lines = [data[:200].hex(" ") or "nothing"]
    for packet in decoder.feed(data):
        dup = isinstance(packet, Publish) and packet.dup
        lines.append(f"    {packet!r}{' DUP' * dup}")
    return "\n".join(lines)


# --- the two ends ----------------------------------------------------------------


class Client:
    """An engine, and what it handed over: time is `now`, in seconds."""

    def __init__(self, version: int, **settings: Any) -> None:
        self.version = ProtocolVersion(version)
        session = Session(settings.get("client_id", ""), is_durable=True)
        self.engine = Engine(Settings(self.version, **settings), session)
        # What a store has of the session.
        self.stored = session.snapshot()
        self.now = 0.0
        self.written = b""
        self._happenings: list[Happening] = []

    def connect(self) -> None:
        """A network connection is there: begin."""
        self.written = b""
        self.engine.connect()
        self.handed_over()

    def publish(
        self,
        topic: str,
        payload: bytes = b"",
        qos: int = 0,
        *,
        retain: bool = False,
        **properties: Any,
    ) -> Delivery:
        values = _properties(properties)
        delivery = self.engine.publish(topic, payload, qos, retain, values, self.now)
        self.handed_over()
        # None at QoS 0, which has nothing to ask.
        return delivery  # type: ignore[return-value]

    def subscribe(self, *filters: str, qos: int = 0, **properties: Any) -> Request:
        request = self.engine.subscribe(
            [(name, SubscribeOptions(qos)) for name in filters],
            _properties(properties),
        )
        self.handed_over()
        return request

    def unsubscribe(self, *filters: str, **properties: Any) -> Request:
        request = self.engine.unsubscribe([*filters], _properties(properties))
        self.handed_over()
        return request

    def drop(self, delivery: Delivery) -> bool:
        is_dropped = self.engine.drop(delivery, self.now)
        self.handed_over()
        return is_dropped

    def withdraw(self, delivery: Delivery) -> bool:
        is_withdrawn = self.engine.withdraw(delivery, self.now)
        self.handed_over()
        return is_withdrawn

    def disconnect(self, reason_code: int = 0, **properties: Any) -> None:
        self.engine.disconnect(reason_code, _properties(properties))
        self.handed_over()

    def have_used_identifiers(self, last: int) -> None:
        """Go on as after so many packets, the last one with this packet identifier."""
        self.engine.session.outbound._last_id = last
        self.stored.apply(Change(ChangeKind.COUNTED, last))

    def tick(self, now: float) -> None:
        """Time goes on."""
        self.now = now
        self.engine.tick(now)
        self.handed_over()

    def handed_over(self) -> None:
        output = self.engine.take()
        for change in output.changes or ():
            self.stored.apply(change)
        outbound = self.engine.session.outbound
        if len(outbound) < MANY and not outbound.behind:
            assert self.stored == self.engine.session.snapshot()
        self.written += b"".join(output.data)
        self._happenings += output.happenings

    def happenings(self) -> list[Happening]:
        """Return all happenings since the last call, in order."""
        happenings, self._happenings = self._happenings, []
        return happenings

    def messages(self) -> list[Publish]:
        """The messages for the program, since the last time."""
        happenings = self.happenings()
        runs = [item for item in happenings if isinstance(item, Arrived)]
        self._happenings = [
            item for item in happenings if not isinstance(item, Arrived)
        ]
        return [message for run in runs for message in run.messages]

    def payloads(self) -> list[bytes]:
        """The payloads of the messages for the program, since the last time."""
        return [message.payload for message in self.messages()]

    def events(self) -> list[Happening]:
        """Return the happenings other than messages since the last call."""
        happenings = self.happenings()
        self._happenings = [item for item in happenings if isinstance(item, Arrived)]
        return [item for item in happenings if not isinstance(item, Arrived)]

    def state(self) -> State:
        return self.engine.state

    @property
    def is_closed(self) -> bool:
        return self.engine.is_closed

    def closed(self) -> MqttError | None:
        """Why the connection ended; it ended, and with it what else happened."""
        [closed] = [item for item in self.events() if isinstance(item, Closed)]
        assert self.engine.state is State.CLOSED
        return closed.error

    def closed_with(self) -> int:
        """The reason code of the error with which the connection ended."""
        error = self.closed()
        assert isinstance(error, MqttCodeError)
        assert error.rc is not None
        return int(error.rc)


class Broker:
    """The other end, which says what a test tells it to, also what none should."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self.version = client.version

    def sends(self, *packets: Packet | bytes) -> None:
        """Send packets in one chunk."""
        self.sends_separately(b"".join(map(self._encoded, packets)))

    def sends_separately(self, *packets: Packet | bytes) -> None:
        """Send packets, one chunk for each."""
        for packet in packets:
            self._client.engine.receive(self._encoded(packet), self._client.now)
            self._client.handed_over()

    def _encoded(self, packet: Packet | bytes) -> bytes:
        if isinstance(packet, bytes):
            return packet
        return encode(packet, self.version, Role.SERVER)

    def read(self) -> bytes:
        """Return all packets that the client has written since the last call."""
        data, self._client.written = self._client.written, b""
        return data

    def gets(self, *packets: Packet | bytes) -> None:
        """Check that the client has written exactly this since the last call."""
        wanted = b"".join(
            packet
            if isinstance(packet, bytes)
            else encode(packet, self.version, Role.CLIENT)
            for packet in packets
        )
        data = self.read()
        if data != wanted:
            pytest.fail(
                f"the broker got: {describe(data, self.version, Role.CLIENT)}\n"
                f"instead of: {describe(wanted, self.version, Role.CLIENT)}"
            )

    def gets_nothing(self) -> None:
        self.gets()

    def gets_connect(self) -> Connect:
        """The client has written CONNECT and nothing else."""
        [packet] = Decoder(self.version, Role.CLIENT).feed(self.read())
        assert isinstance(packet, Connect)
        return packet

    def vanishes(self) -> None:
        """The network connection ends without a word."""
        self._client.engine.connection_lost(MqttError("lost"))
        self._client.handed_over()


def strangers(version: int = 5, **settings: Any) -> tuple[Client, Broker]:
    """A client with these settings, without a connection, and a broker."""
    if version < 5:
        settings.setdefault("clean_start", True)
    client = Client(version, **settings)
    return client, Broker(client)


def connected(
    version: int = 5, connack: Connack | None = None, **settings: Any
) -> tuple[Client, Broker]:
    """A client and a broker that has accepted the connection."""
    client, broker = strangers(version, **settings)
    connect(client, broker, connack)
    return client, broker


def connect(client: Client, broker: Broker, connack: Connack | None = None) -> Connack:
    """Connect; what the client writes after the CONNACK is left for `gets`."""
    client.connect()
    broker.gets_connect()
    broker.sends(CONNACK() if connack is None else connack)
    accepted = next(item for item in client._happenings if isinstance(item, Connected))
    client._happenings.remove(accepted)
    return accepted.connack


def reconnect(
    client: Client, broker: Broker, session_present: bool = True, **properties: Any
) -> None:
    """Lose the connection, and make a new one; 3.1 does not tell Session Present."""
    if not client.is_closed:
        broker.vanishes()
    client.events()
    if client.version < ProtocolVersion.V311:
        session_present = False
    connect(client, broker, CONNACK(0, session_present, **properties))


def lasting(
    version: int = 5, connack: Connack | None = None, **settings: Any
) -> tuple[Client, Broker]:
    """A client and a broker, connected, with a session that outlives connections."""
    settings.setdefault("client_id", "c")
    if version == 5:
        settings.setdefault("properties", Properties(session_expiry_interval=100))
    else:
        settings.setdefault("clean_start", False)
    return connected(version, connack, **settings)
