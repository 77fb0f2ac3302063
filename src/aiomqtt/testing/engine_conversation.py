"""A client's engine that talks to a broker, with random choices, for checks of stores.

It is the real engine: its changes are those that a client has to store, in the order in
which it stores them.
"""

import random
from typing import Final

from aiomqtt.exceptions import MqttError
from aiomqtt.properties import Properties, ReasonCode, SubscribeOptions
from aiomqtt.protocol.changes import Change, SessionState
from aiomqtt.protocol.codec.encode import encode
from aiomqtt.protocol.codec.framing import Decoder
from aiomqtt.protocol.delivery import Origin
from aiomqtt.protocol.engine import Engine
from aiomqtt.protocol.packets import (
    Ack,
    Connack,
    Packet,
    Publish,
    Suback,
    Subscribe,
    Unsubscribe,
)
from aiomqtt.protocol.session import Session
from aiomqtt.protocol.settings import Settings
from aiomqtt.standard.tables import PacketType, ProtocolVersion, Role
from aiomqtt.topic import Topic

# So many packet identifiers the broker uses, so that they are soon used again.
_IDENTIFIERS: Final = 5
# The answers of the broker to a PUBLISH, PUBREL or PUBREC.
_ANSWERS: Final = {
    PacketType.PUBREC: PacketType.PUBREL,
    PacketType.PUBREL: PacketType.PUBCOMP,
}


class EngineConversation:
    """An engine with a durable session, its program and its broker.

    Two of them with the same seed do the same as long as their engines do.

    Args:
        seed: The seed of all choices; an odd one is MQTT 3.1.1, an even one 5.0.

    Attributes:
        written: What the client has written, from CONNECT to CONNECT.
    """

    def __init__(self, seed: int) -> None:
        # Valid as long as this object.
        self._random = random.Random(seed)
        self._version = ProtocolVersion.V311 if seed % 2 else ProtocolVersion.V5
        self._settings = Settings(
            self._version,
            "me",
            clean_start=False,
            properties=(
                Properties(session_expiry_interval=1000)
                if self._version is ProtocolVersion.V5
                else None
            ),
            maximum_in_flight=4,
        )
        self._now = 0.0
        self._receipts = 0
        self._changes: list[Change] = []
        self.written: list[bytes] = []
        # Valid until the process ends.
        self._engine = Engine(self._settings, Session("me", is_durable=True))
        # Valid for the connection: what the broker has not answered yet.
        self._decoder = Decoder(self._version, Role.CLIENT)
        self._unanswered: list[Packet] = []
        self.restart(self._engine.session.snapshot())

    @property
    def state(self) -> SessionState:
        """The state of the session."""
        return self._engine.session.snapshot()

    def restart(self, state: SessionState) -> None:
        """Let another process go on with what is stored; there is no connection."""
        session = Session.restore(state, is_durable=True)
        self._engine = Engine(self._settings, session)
        # As for each client with a durable session.
        self._engine.keeps_messages = True

    def go_on(self, steps: int, is_last: bool = False) -> list[Change]:
        """Take so many steps; return the changes.

        Args:
            steps: How many.
            is_last: Whether the connection ends with them.
        """
        for _ in range(steps):
            self._now += self._random.choice((0.0, 0.25, 1.5))
            if self._engine.is_closed:
                self._take_step_offline()
            else:
                self._take_step()
        if is_last:
            self._lose_connection()
            self._engine.session.outbound.free_reserved()
            self._take()
        changes, self._changes = self._changes, []
        return changes

    def _lose_connection(self) -> None:
        self._engine.connection_lost(MqttError("lost"))
        self._take()

    # --- one step -----------------------------------------------------------------

    def _take_step_offline(self) -> None:
        if self._random.random() < 0.4:
            self._publish()
        else:
            self._connect()

    def _take_step(self) -> None:
        roll = self._random.random()
        if roll < 0.25:
            self._publish()
        elif roll < 0.7:
            self._answer()
        elif roll < 0.78:
            self._send(self._message())
        elif roll < 0.82:
            packet_id = self._random.randint(1, _IDENTIFIERS)
            self._send(Ack(PacketType.PUBREL, packet_id))
        elif roll < 0.88:
            self._take_back()
        elif roll < 0.93:
            self._request()
        elif roll < 0.97:
            self._engine.tick(self._now)
            self._take()
        else:
            self._lose_connection()

    def _connect(self) -> None:
        self._engine.connect()
        self._decoder = Decoder(self._version, Role.CLIENT)
        self._unanswered = []
        self._take()
        is_present = self._random.random() < 0.85
        properties = None
        if self._version is ProtocolVersion.V5:
            properties = Properties(receive_maximum=self._random.randint(1, 6))
        self._send(Connack(is_present, ReasonCode(0), properties))

    def _publish(self) -> None:
        choose = self._random
        properties = None
        if self._version is ProtocolVersion.V5 and choose.random() < 0.5:
            properties = Properties(
                message_expiry_interval=choose.choice((2, 1000)),
                user_property=[("a", "b")],
            )
        delivery = self._engine.prepare(
            choose.choice(("t", "a/ä/€")),
            choose.choice((b"", b"x", b"y" * 50)),
            choose.choice((1, 2)),
            choose.random() < 0.5,
            properties,
        )
        if choose.random() < 0.5:
            self._receipts += 1
            delivery.origin = Origin(f"receipt {self._receipts}")
        delivery.start_expiry(self._now)
        self._engine.accept(delivery, self._now)
        self._take()

    def _take_back(self) -> None:
        """Drop or withdraw a message that is not finished."""
        unfinished = self._engine.session.outbound.unfinished()
        if unfinished:
            delivery = self._random.choice(unfinished)
            if self._random.random() < 0.5:
                self._engine.withdraw(delivery, self._now)
            else:
                self._engine.drop(delivery, self._now)
            self._take()

    def _request(self) -> None:
        name = f"filter/{self._random.randint(1, 4)}/#"
        if self._random.random() < 0.6:
            options = SubscribeOptions(self._random.randint(0, 2))
            self._engine.subscribe([(name, options)], None)
        else:
            self._engine.unsubscribe([name], None)
        self._take()

    # --- the broker ---------------------------------------------------------------

    def _message(self) -> Publish:
        packet_id = self._random.randint(1, _IDENTIFIERS)
        return Publish(Topic("r"), b"z", 2, False, packet_id, None, False)

    def _answer(self) -> None:
        if not self._unanswered:
            return
        packet = self._unanswered.pop(0)
        if isinstance(packet, Publish):
            kind = PacketType.PUBACK if packet.qos == 1 else PacketType.PUBREC
            self._send(Ack(kind, packet.packet_id, self._code(0x10, 0x97)))
        elif isinstance(packet, Ack):
            if packet.kind in _ANSWERS:
                self._send(Ack(_ANSWERS[packet.kind], packet.packet_id))
        elif isinstance(packet, Subscribe):
            code = ReasonCode(self._random.choice((0, 1, 0x80)))
            self._send(Suback(PacketType.SUBACK, packet.packet_id, [code]))
        elif isinstance(packet, Unsubscribe):
            codes = [self._code(0x11)] if self._version is ProtocolVersion.V5 else []
            self._send(Suback(PacketType.UNSUBACK, packet.packet_id, codes))

    def _code(self, *others: int) -> ReasonCode:
        """Return success, or with 5.0 sometimes another reason code."""
        if self._version is not ProtocolVersion.V5 or self._random.random() < 0.8:
            return ReasonCode(0)
        return ReasonCode(self._random.choice(others))

    def _send(self, packet: Packet) -> None:
        self._engine.receive(encode(packet, self._version, Role.SERVER), self._now)
        self._take()

    def _take(self) -> None:
        """Take what the engine hands over, as a client does."""
        output = self._engine.take()
        self._changes += output.changes or ()
        if data := b"".join(output.data):
            self.written.append(data)
            self._unanswered += self._decoder.feed(data)
