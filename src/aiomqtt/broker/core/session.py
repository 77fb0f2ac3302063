"""The state of a session (MQTT 5.0 §4.1): what the broker keeps of one client."""

from typing import Final

from aiomqtt.broker.limits import Limits
from aiomqtt.broker.statistics import Statistics
from aiomqtt.protocol.inbound import Inbound
from aiomqtt.protocol.outbound import Delivery, Outbound
from aiomqtt.protocol.packets import Ack, WillMessage
from aiomqtt.standard.names import DEFAULT_RECEIVE_MAXIMUM, PACKET_TOO_LARGE, V5
from aiomqtt.standard.tables import ProtocolVersion

from .memory import IDENTIFIER, QUEUED, SESSION, Memory, size_of_will
from .message import ApplicationMessage
from .replay import Replay
from .retained import RetainedMessages
from .send_buffer import ALIAS_SIZE, IDENTIFIER_SIZE, SendBuffer
from .timers import Timer

# A Session Expiry Interval that means never.
FOREVER: Final = 0xFFFF_FFFF
# Below 5.0 a client announces no Receive Maximum.
IN_FLIGHT_V3: Final = 100
# With so many messages waiting, those who publish to a client have to wait for it.
CROWDED: Final = 1000
# So much is done for one client, counted in messages that are sent, before it is the
# turn of others.
WORK: Final = 10_000
# What it costs to add or to remove a topic filter, besides 1 for each of its levels.
FILTER_WORK: Final = 10
# So many nodes of a tree are looked at for what a message that is sent costs.
NODES: Final = 4
# When memory is short, messages with QoS 0 are dropped for a client that has so many
# bytes waiting to be written.
UNSENT: Final = 64 * 1024
# So many bytes of retained messages count as one: with `WORK` about as much as may wait
# to be written.
RETAINED_BYTES: Final = 32


class Shared:
    """What all sessions of a broker share.

    Attributes:
        retained: The retained messages.
        memory: What is used of the broker's memory.
        now: The time of the call that is being handled.
        work: What has been done for one client in this turn of the event loop, about,
            counted in messages that are sent.
    """

    __slots__ = ("limits", "memory", "now", "retained", "statistics", "work")

    def __init__(
        self,
        limits: Limits,
        statistics: Statistics,
        retained: RetainedMessages,
        memory: Memory,
        now: float,
    ) -> None:
        """Take them."""
        self.limits: Limits = limits
        self.retained: RetainedMessages = retained
        self.memory: Memory = memory
        self.statistics: Statistics = statistics
        self.now: float = now
        self.work: int = 0


class Subscription:
    """One subscription of a session (§3.8.3.1)."""

    __slots__ = (
        "identifier",
        "no_local",
        "qos",
        "retain_as_published",
        "session",
        "topic_filter",
    )

    def __init__(
        self,
        session: "Session",
        topic_filter: str,
        qos: int,
        no_local: bool,
        retain_as_published: bool,
        identifier: int,
    ) -> None:
        """Take the fields; an identifier of 0 is none."""
        self.session: Session = session
        self.topic_filter: str = topic_filter
        self.qos: int = qos
        self.no_local: bool = no_local
        self.retain_as_published: bool = retain_as_published
        self.identifier: int = identifier


class Letter:
    """A message with QoS 1 or 2 for one session, so that it can be encoded anew."""

    __slots__ = ("identifiers", "message", "qos", "retain", "session", "share")

    def __init__(
        self,
        session: "Session",
        message: ApplicationMessage,
        qos: int,
        retain: bool,
        identifiers: tuple[int, ...],
        share: str,
    ) -> None:
        """Take the fields; a share is the filter of a shared subscription, or ""."""
        self.session: Session = session
        self.message: ApplicationMessage = message
        self.qos: int = qos
        self.retain: bool = retain
        self.identifiers: tuple[int, ...] = identifiers
        self.share: str = share

    def render(self) -> tuple[bytes, bytes] | None:
        """Encode it for the connection that there is; None: it has expired."""
        session = self.session
        outlet = session.outlet
        now = session.shared.now
        if outlet is None or self.message.is_expired(now):
            session.shared.statistics.messages_expired += 1
            self.forget()
            return None
        return outlet.render(self.message, self.qos, self.retain, self.identifiers, now)

    def forget(self) -> None:
        """Count it no more: it has left the session."""
        memory = self.session.shared.memory
        memory.used -= QUEUED
        self.message.let_go(memory)


class Session:
    """What the broker keeps of one client.

    Attributes:
        client_id: What it is filed under.
        outlet: Where to write to the client; None while it is not connected.
        subscriptions: Its subscriptions by topic filter.
        is_over: Whether it has ended.
        is_v5: Whether its client speaks 5.0, or did when it was connected last.
        expiry: How many seconds it lasts without a connection.
        replay: The retained messages that it still gets; None: there are none.
        will_timer: When a will that is delayed is due.
        expiry_timer: When the session ends.
    """

    __slots__ = (
        "_counted",
        "_will",
        "client_id",
        "expiry",
        "expiry_timer",
        "inbound",
        "is_over",
        "is_v5",
        "outbound",
        "outlet",
        "replay",
        "shared",
        "subscriptions",
        "will_timer",
    )

    def __init__(self, client_id: str, shared: Shared) -> None:
        """Start without a connection and without subscriptions."""
        self.client_id: str = client_id
        self.shared: Shared = shared
        # Valid for the session.
        self.outbound: Outbound = Outbound()
        self.inbound: Inbound = Inbound()
        self.subscriptions: dict[str, Subscription] = {}
        self.replay: Replay | None = None
        self.expiry: int = 0
        self._will: WillMessage | None = None
        self.will_timer: Timer | None = None
        self.expiry_timer: Timer | None = None
        self.is_v5: bool = False
        self.is_over: bool = False
        # Valid for the connection.
        self.outlet: SendBuffer | None = None
        # What of it the broker's account of memory has.
        self._counted = 0
        self.count()

    # --- memory -------------------------------------------------------------------

    @property
    def will(self) -> WillMessage | None:
        """What to publish when the client is gone; None: nothing."""
        return self._will

    @will.setter
    def will(self, will: WillMessage | None) -> None:
        self._will = will
        self.count()

    def count(self) -> None:
        """Count the memory that it takes, without subscriptions and messages."""
        size = SESSION + 2 * len(self.client_id) + IDENTIFIER * len(self.inbound)
        will = self._will
        if will is not None:
            size += size_of_will(will)
        self.shared.memory.used += size - self._counted
        self._counted = size

    def end(self) -> None:
        """Forget all; its subscriptions are gone already."""
        for delivery in self.outbound.clear():
            self._forget(delivery)
        replay = self.replay
        if replay is not None:
            replay.end()
        self.shared.memory.used -= self._counted
        self._counted = 0

    def _forget(self, delivery: Delivery) -> None:
        letter = delivery.waiter
        assert isinstance(letter, Letter)
        letter.forget()

    # --- connections --------------------------------------------------------------

    def attach(
        self, outlet: SendBuffer, version: ProtocolVersion, receive_maximum: int
    ) -> None:
        """Begin a connection; `resume` writes what waits, after the CONNACK."""
        self.outlet = outlet
        limits = self.shared.limits
        self.inbound.open(
            version,
            limits.receive_maximum if version >= V5 else DEFAULT_RECEIVE_MAXIMUM,
        )
        self.outbound.open(version, receive_maximum if version >= V5 else IN_FLIGHT_V3)
        if self.is_v5 != outlet.is_v5:
            self.is_v5 = outlet.is_v5
            self._encode_anew()

    def resume(self) -> None:
        """Go on where the last connection ended (§4.4)."""
        outlet = self.outlet
        assert outlet is not None
        outlet.wake()
        for delivery in self.outbound.resume(outlet.data, self._refusal):
            self.shared.statistics.messages_dropped += 1
            self._forget(delivery)
        replay = self.replay
        if replay is not None:
            replay.is_blocked = False
            self.send_more_retained()

    def detach(self) -> None:
        """End the connection; what is not done waits for the next one."""
        self.outlet = None
        self.outbound.close()
        replay = self.replay
        if replay is not None:
            replay.interrupt()

    def _encode_anew(self) -> None:
        """Take what waits from one version of MQTT to another."""
        for delivery in self.outbound.unreceived():
            letter = delivery.waiter
            assert isinstance(letter, Letter)
            head, tail = letter.message.parts(self.is_v5, letter.qos, letter.retain)
            self.outbound.replace(delivery, head, tail)
            delivery.render = letter.render

    def _refusal(self, first: int, size: int) -> int:
        """Return with which reason the client does not take a packet ([3.1.2-24])."""
        outlet = self.outlet
        if outlet is None or not outlet.maximum_packet_size:
            return 0
        return PACKET_TOO_LARGE if size > outlet.maximum_packet_size else 0

    # --- messages -----------------------------------------------------------------

    def deliver(
        self,
        message: ApplicationMessage,
        qos: int,
        retain: bool,
        identifiers: tuple[int, ...],
        publisher: SendBuffer | None,
        share: str = "",
    ) -> None:
        """Send a message to the client, now or when it is back.

        Args:
            message: The message.
            qos: The QoS to send it with.
            retain: The RETAIN flag to send it with.
            identifiers: The identifiers of the subscriptions that matched.
            publisher: Who is to wait when this client does not keep up; None: nobody.
            share: The shared subscription that it comes by; "": none.
        """
        outlet = self.outlet
        shared = self.shared
        if outlet is not None and publisher is not None and outlet.is_behind:
            outlet.hold(publisher, shared.now)
        if qos:
            self._deliver_surely(message, qos, retain, identifiers, share)
            return
        if outlet is None:
            return
        if outlet.unsent > shared.limits.maximum_queued_bytes or (
            outlet.unsent > UNSENT and not shared.memory.has_room(0)
        ):
            shared.statistics.messages_dropped += 1
            return
        # An alias would be set by what is not written.
        if outlet.maximum_packet_size:
            head, tail = message.parts(outlet.is_v5, 0, retain)
            size = len(head) + len(tail) + _extra(outlet, identifiers)
            if size > outlet.maximum_packet_size:
                shared.statistics.messages_dropped += 1
                return
        if not (identifiers or outlet.uses_aliases or message.has_aged(shared.now)):
            head, tail = message.parts(outlet.is_v5, 0, retain)
        else:
            head, tail = outlet.render(message, 0, retain, identifiers, shared.now)
        if not outlet.data:
            outlet.wake()
        outlet.data.append(head)
        outlet.data.append(tail)
        outlet.unsent += len(head) + len(tail)
        shared.statistics.messages_sent += 1
        if message.retain:
            self._has_got(message)

    def _deliver_surely(
        self,
        message: ApplicationMessage,
        qos: int,
        retain: bool,
        identifiers: tuple[int, ...],
        share: str,
    ) -> None:
        outbound = self.outbound
        shared = self.shared
        limits = shared.limits
        outlet = self.outlet
        head, tail = message.parts(self.is_v5, qos, retain)
        if (
            outbound.size + len(tail) > limits.maximum_queued_bytes
            or len(outbound) >= limits.maximum_queued_messages
            or not shared.memory.has_room(QUEUED + message.extra())
        ):
            shared.statistics.messages_dropped += 1
            return
        if outlet is not None and outlet.maximum_packet_size:
            size = len(head) + len(tail) + 2 + _extra(outlet, identifiers)
            if size > outlet.maximum_packet_size:
                shared.statistics.messages_dropped += 1
                return
        delivery = Delivery(head, tail, qos)
        letter = Letter(self, message, qos, retain, identifiers, share)
        delivery.waiter = letter
        shared.memory.used += QUEUED
        message.keep(shared.memory)
        if (
            identifiers
            or message.expires is not None
            or (outlet is not None and outlet.uses_aliases)
        ):
            delivery.render = letter.render
        if message.retain:
            self._has_got(message)
        if outlet is None:
            outbound.send(delivery, [])
            return
        if not outlet.data:
            outlet.wake()
        outbound.send(delivery, outlet.data)
        outlet.unsent += len(tail)
        shared.statistics.messages_sent += 1
        if not outlet.is_crowded and outbound.queued > CROWDED:
            outlet.is_crowded = True

    def acknowledge(self, ack: Ack) -> None:
        """Handle a PUBACK, PUBREC or PUBCOMP of the client.

        Raises:
            PacketError: The packet identifier is that of another kind of flow.
        """
        outlet, outbound = self.outlet, self.outbound
        assert outlet is not None
        outlet.wake()
        delivery = outbound.acknowledge(ack, outlet.data)
        if delivery is not None:
            self._forget(delivery)
            outbound.pump(outlet.data)
        if outlet.is_crowded and outbound.queued < CROWDED // 2:
            outlet.is_crowded = False
            outlet.release_if_drained(self.shared.now)
        replay = self.replay
        if replay is not None:
            replay.is_blocked = False
            self.send_more_retained()

    def letters_for_others(self) -> list[Letter]:
        """Return what came by shared subscriptions and may go to another member.

        When the session ends, that is what the client has not acknowledged, but for
        messages with QoS 2 whose delivery has begun ([MQTT-4.8.2-5]).
        """
        letters: list[Letter] = []
        for delivery in self.outbound.unreceived():
            letter = delivery.waiter
            is_begun = delivery.qos == 2 and delivery.packet_id > 0
            if isinstance(letter, Letter) and letter.share and not is_begun:
                letters.append(letter)
        return letters

    # --- retained messages --------------------------------------------------------

    def send_retained(self, topic_filter: str) -> None:
        """Send the retained messages of a subscription (§3.3.1.3), as they fit."""
        if self.replay is None:
            self.replay = Replay(self.shared.retained, self.shared.memory)
        self.replay.add(topic_filter)

    def send_no_retained(self, topic_filter: str) -> None:
        """Send no more retained messages of a subscription, which is at an end."""
        replay = self.replay
        if replay is not None:
            replay.drop(topic_filter)

    def _has_got(self, message: ApplicationMessage) -> None:
        replay = self.replay
        if replay is not None:
            replay.leave_out(message.topic)

    def _has_room_for(self, message: ApplicationMessage) -> bool:
        _, tail = message.parts(self.is_v5, message.qos, True)
        return self.outbound.size + len(tail) <= self.shared.limits.maximum_queued_bytes

    @property
    def has_more_retained(self) -> bool:
        """Whether `send_more_retained` would send something."""
        outlet, outbound, limits = self.outlet, self.outbound, self.shared.limits
        replay = self.replay
        if replay is None or outlet is None or outlet.is_paused or replay.is_blocked:
            return False
        # One may wait for the client's acknowledgements, no more.
        return len(outbound) == 0 or (
            outbound.queued == 0 and len(outbound) < limits.maximum_queued_messages
        )

    def send_more_retained(self) -> None:
        """Send retained messages: as many as fit, and as is the client's turn."""
        shared = self.shared
        while shared.work < WORK and self.has_more_retained:
            replay = self.replay
            assert replay is not None
            message = replay.next(shared.now)
            subscription = self.subscriptions.get(replay.topic_filter)
            if message is None:
                if replay.is_done:
                    self.replay = None
                else:
                    most = (WORK - shared.work) * NODES
                    shared.work += replay.search(most, shared.now) // NODES + 1
            elif len(self.outbound) and not self._has_room_for(message):
                # The next acknowledgement makes room.
                replay.put_back(message)
            elif subscription is not None:
                shared.work += 1 + len(message.payload) // RETAINED_BYTES
                identifier = subscription.identifier
                self.deliver(
                    message,
                    min(message.qos, subscription.qos),
                    True,
                    (identifier,) if identifier else (),
                    None,
                )


def _extra(outlet: SendBuffer, identifiers: tuple[int, ...]) -> int:
    """Return how much larger a packet gets by what is this client's own, at most."""
    return (ALIAS_SIZE if outlet.uses_aliases else 0) + IDENTIFIER_SIZE * len(
        identifiers
    )
