"""A client of packets: it says what the test tells it to, and hears what comes.

It acknowledges nothing and answers nothing by itself, so that a test reads as the
conversation that it is:

    await listener.subscribe("a/b", qos=1)
    await speaker.publish("a/b", b"payload", qos=1)
    message = await listener.expect(PUBLISH, topic="a/b", qos=1, dup=False)
    listener.ack(PUBACK, message)
    await listener.nothing()
"""

import asyncio
import itertools
from typing import Any

from aiomqtt.properties import Properties, ReasonCode, SubscribeOptions
from aiomqtt.protocol.packets import (
    NO_TOPIC,
    Ack,
    Connack,
    Connect,
    Ping,
    Publish,
    Signal,
    Suback,
    Subscribe,
    Unsubscribe,
    WillMessage,
)
from aiomqtt.standard.tables import PacketType
from aiomqtt.topic import Topic
from tests.broker.scenarios.line import (
    CONNACK,
    DISCONNECT,
    PINGREQ,
    PINGRESP,
    PUBACK,
    PUBCOMP,
    PUBLISH,
    PUBREC,
    PUBREL,
    SUBACK,
    UNSUBACK,
    Line,
)

# The Session Expiry Interval of a session that never expires (5.0 §3.1.2.11.2).
FOREVER = 0xFFFF_FFFF


class Talker(Line):
    """A client: what it says and hears in one exchange is one call."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, version: int
    ) -> None:
        super().__init__(reader, writer, version)
        self.connack: Connack | None = None  # what `hello` got
        self._ids = itertools.count(1)

    # --- exchanges ----------------------------------------------------------------

    def connect_packet(
        self,
        client_id: str = "",
        *,
        clean: bool = True,
        keep_alive: int = 0,
        username: str | None = None,
        password: bytes | None = None,
        will: WillMessage | None = None,
        **properties: Any,
    ) -> Connect:
        """Return a CONNECT; `properties` are left out below 5.0."""
        return Connect(
            self.version,
            client_id,
            clean,
            keep_alive,
            username,
            password,
            will,
            self._properties(properties),
        )

    async def hello(
        self, client_id: str = "", *, session: bool = False, **arguments: Any
    ) -> Connack:
        """Connect, and return the CONNACK, which has to be a success.

        Args:
            client_id: The client identifier.
            session: Whether to take up a session, or begin one that is kept.
            **arguments: Those of `connect_packet`.
        """
        if session:
            arguments.setdefault("clean", False)
            arguments.setdefault("session_expiry_interval", FOREVER)
        self.send(self.connect_packet(client_id, **arguments))
        connack: Connack = await self.expect(CONNACK, reason_code=0)
        self.connack = connack
        return connack

    async def expect_connack_refusal(self, v5: int, v3: int) -> Connack:
        """Wait for the CONNACK that refuses, with the version's code, and the end."""
        code = v5 if self.version >= 5 else v3
        connack: Connack = await self.expect(CONNACK, session_present=False)
        # Plainly: a ReasonCode of 3.1.1 equals its counterpart of 5.0.
        if connack.reason_code != code:
            raise self.failure(f"expected the code {code:#x}")
        await self.expect_end()
        return connack

    async def subscribe(
        self, *filters: str, qos: int = 0, identifier: int = 0, **options: Any
    ) -> list[ReasonCode]:
        """Subscribe, all with the same options; return the codes of the SUBACK."""
        packet_id = next(self._ids)
        properties = {"subscription_identifier": identifier} if identifier else {}
        wanted = SubscribeOptions(qos, **options)
        self.send(
            Subscribe(
                packet_id,
                [(topic_filter, wanted) for topic_filter in filters],
                self._properties(properties),
            )
        )
        # 5.0 [MQTT-3.8.4-2], [MQTT-3.8.4-6]
        suback: Suback = await self.pick(SUBACK, packet_id)
        assert len(suback.reason_codes) == len(filters), self.failure("too few codes")
        return suback.reason_codes

    async def unsubscribe(self, *filters: str) -> list[ReasonCode]:
        """Unsubscribe; return the codes of the UNSUBACK, none below 5.0."""
        packet_id = next(self._ids)
        self.send(Unsubscribe(packet_id, list(filters), self._properties({})))
        unsuback: Suback = await self.pick(UNSUBACK, packet_id)
        return unsuback.reason_codes

    def publish_packet(
        self,
        topic: str,
        payload: bytes = b"",
        qos: int = 0,
        *,
        retain: bool = False,
        dup: bool = False,
        packet_id: int | None = None,
        **properties: Any,
    ) -> Publish:
        """Return a PUBLISH, with a packet identifier that is new."""
        if packet_id is None:
            packet_id = next(self._ids) if qos else 0
        name = Topic(topic) if topic else NO_TOPIC
        return Publish(
            name, payload, qos, retain, packet_id, self._properties(properties), dup
        )

    async def publish(
        self, topic: str, payload: bytes = b"", qos: int = 0, **options: Any
    ) -> ReasonCode | None:
        """Publish, and return when the broker has got it; the code of its answer.

        `options` are those of `publish_packet`.
        """
        packet = self.publish_packet(topic, payload, qos, **options)
        self.send(packet)
        if qos == 0:
            # The broker had it in its hands when it answered this.
            self.send(Ping(PINGREQ))
            await self.pick(PINGRESP, 0)
            return None
        first = PUBACK if qos == 1 else PUBREC
        answer: Ack = await self.pick(first, packet.mid)
        if qos == 2 and answer.reason_code < 0x80:
            self.send(Ack(PUBREL, packet.mid))
            completed: Ack = await self.pick(PUBCOMP, packet.mid)
            assert completed.reason_code == 0, self.failure("expected success")
        return answer.reason_code

    def ack(
        self, kind: PacketType, packet: Publish | Ack, reason_code: int = 0
    ) -> None:
        """Answer a packet with this one, by its packet identifier."""
        packet_id = packet.mid if isinstance(packet, Publish) else packet.packet_id
        self.send(Ack(kind, packet_id, ReasonCode(reason_code)))

    async def take(
        self, topic: str, payload: bytes, qos: int = 0, **fields: Any
    ) -> Any:
        """Return the next packet, which has to be this PUBLISH; acknowledge it."""
        packet = await self.expect(
            PUBLISH, topic=topic, payload=payload, qos=qos, **fields
        )
        await self.take_over(packet)
        return packet

    async def take_over(self, packet: Publish) -> None:
        """Acknowledge a PUBLISH to the end."""
        if packet.qos == 1:
            self.ack(PUBACK, packet)
        elif packet.qos == 2:
            self.ack(PUBREC, packet)
            self.ack(PUBCOMP, await self.pick(PUBREL, packet.mid))

    async def goodbye(self, reason_code: int = 0, **properties: Any) -> None:
        """Disconnect, and wait until the broker closes."""
        self.send(self.disconnect_packet(reason_code, **properties))
        await self.expect_end()

    def disconnect_packet(self, reason_code: int = 0, **properties: Any) -> Signal:
        """Return a DISCONNECT."""
        return Signal(DISCONNECT, reason_code, self._properties(properties))

    def _properties(self, values: dict[str, Any]) -> Properties | None:
        return Properties(**values) if self.version >= 5 else None


async def dial(host: str, port: int, version: int) -> Talker:
    """Connect to a broker, without a CONNECT."""
    reader, writer = await asyncio.open_connection(host, port)
    return Talker(reader, writer, version)


def connect_bytes(
    level: int,
    *,
    flags: int = 0x02,
    name: bytes | None = None,
    client_id: bytes = b"",
    properties: bytes = b"",
    rest: bytes = b"",
) -> bytes:
    """Return a CONNECT that may be wrong.

    Args:
        level: The protocol level.
        flags: The connect flags; as they are, Clean Start.
        name: The name of the protocol; None: that of the level.
        client_id: The client identifier.
        properties: The properties, without their length; from 5.0 on.
        rest: What follows the client identifier.
    """
    if name is None:
        name = b"MQIsdp" if level == 3 else b"MQTT"
    body = len(name).to_bytes(2) + name + bytes([level, flags, 0, 0])
    if level >= 5:
        body += bytes([len(properties)]) + properties
    body += len(client_id).to_bytes(2) + client_id + rest
    assert len(body) < 128
    return bytes([PacketType.CONNECT << 4, len(body)]) + body
