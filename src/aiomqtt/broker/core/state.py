"""The broker itself: sessions, routing and wills, without I/O and without a clock."""

from collections.abc import Callable
from functools import partial
from math import inf
from typing import TYPE_CHECKING

from aiomqtt.broker.hooks import Refusal
from aiomqtt.broker.limits import Limits
from aiomqtt.broker.statistics import Statistics
from aiomqtt.escaping import escape
from aiomqtt.properties import Properties
from aiomqtt.protocol.packets import WillMessage
from aiomqtt.protocol.wire import PacketError
from aiomqtt.standard.names import QUOTA_EXCEEDED, SESSION_TAKEN_OVER
from aiomqtt.stores.broker import StoredMessage, StoredSession

from .distribution import Distribution, Distributor, send_to_one
from .journal import Journal
from .memory_account import MemoryAccount
from .message import ApplicationMessage, MessagePool, for_others
from .retained import RetainedMessages
from .send_buffer import SendBuffer
from .session import FOREVER, Session
from .subscription import Subscription
from .subscriptions import Matches, Subscriptions
from .timers import Timers
from .turn import PORTION_INTERVAL, WORK_PER_TURN, Turn

if TYPE_CHECKING:
    from .connection import ClientConnection


class BrokerState:
    """The state that all connections of a broker share.

    Args:
        limits: The limits.
        new_identifier: Generates a unique client identifier.
        note: Logs a message.
        now: The time, in seconds of the clock that all calls share.
        work_per_turn: The work that is done for one client in one turn.

    Attributes:
        sessions: The sessions by client identifier, connected or not.
        connections: The connected clients by client identifier.
        ready: The send buffers with data to write; the caller clears it.
        asks_to_connect: Whether a hook decides who may connect.
        asks_for_topics: Whether a hook decides who may publish and subscribe.
        redirection: The server that all clients are redirected to; None: none.
        on_publish: Called for each message that is published; None: nothing is. It must
            not raise an exception.
    """

    def __init__(
        self,
        limits: Limits,
        new_identifier: Callable[[], str],
        note: Callable[[str], None],
        now: float,
        work_per_turn: int = WORK_PER_TURN,
    ) -> None:
        # Valid for the broker, also when it is stopped and started again.
        self._note = note
        self.limits = limits
        self.new_identifier = new_identifier
        self.statistics: Statistics = Statistics()
        self.memory: MemoryAccount = MemoryAccount(limits.maximum_memory)
        self.retained: RetainedMessages = RetainedMessages(limits, self.memory)
        self.timers: Timers = Timers()
        self.subscriptions: Subscriptions = Subscriptions(self.memory)
        self.sessions: dict[str, Session] = {}
        self.asks_to_connect = False
        self.asks_for_topics = False
        self.redirection: Refusal | None = None
        self.on_publish: Callable[[ApplicationMessage], None] | None = None
        # Collects all changes, for a store; None: there is no store.
        self.journal: Journal | None = None
        # Whether subscriptions of sessions that have ended are still to be removed.
        self._is_sweeping = False
        # Valid while it runs.
        self.connections: dict[str, ClientConnection] = {}
        # When the current pause began; the total length of earlier pauses.
        self._paused_at: float | None = None
        self._paused_for = 0.0
        # Valid for one call: its time and work; the buffers to write afterwards.
        self.turn: Turn = Turn(now, work_per_turn)
        self.ready: list[SendBuffer] = []
        # Valid until all subscribers have the messages in it.
        self._distributor = Distributor(self.turn, self.timers, self.memory)

    def record(self, journal: Journal) -> None:
        """Have a journal collect all changes from now on; there are no sessions yet."""
        self.journal = journal
        self.retained.journal = journal

    # --- time ---------------------------------------------------------------------

    def deadline(self) -> float | None:
        """Return when to call `tick` at the latest; None: there is no need to."""
        return self.timers.deadline()

    def tick(self, now: float) -> None:
        """Do what is due."""
        self.turn.begin(now)
        self.timers.run(now)

    def pause(self, now: float) -> None:
        """Record that reading pauses from now on."""
        if self._paused_at is None:
            self._paused_at = now

    def resume(self, now: float) -> None:
        """Record that reading resumes."""
        if self._paused_at is not None:
            self._paused_for += now - self._paused_at
            self._paused_at = None

    @property
    def is_paused(self) -> bool:
        """Whether nothing is read."""
        return self._paused_at is not None

    def reading_time(self, now: float) -> float:
        """Return the time of a clock that stops while nothing is read.

        It measures the silence of clients.
        """
        return (now if self._paused_at is None else self._paused_at) - self._paused_for

    # --- messages -----------------------------------------------------------------

    def publish(
        self, message: ApplicationMessage, sender: Session | None, matches: Matches
    ) -> Distribution | None:
        """Retain a message, if it has the RETAIN flag, and send it to its subscribers.

        Args:
            message: The message.
            sender: The session of its publisher; None: the broker itself.
            matches: The subscribers.

        Returns:
            The rest, which is sent in later turns; None: all subscribers have it.
        """
        on_publish = self.on_publish
        if on_publish is not None:
            on_publish(message)
        if message.retain:
            self.retained.keep(message)
        return self._distributor.send(message, sender, matches)

    @property
    def is_amid_message(self) -> bool:
        """Whether a message on its way has to be stored for all subscribers at once."""
        return self._distributor.undivided > 0

    def has_to_wait(self, qos: int) -> bool:
        """Return whether a message of a client has to wait for another one.

        A store gets nothing while a message is on its way to very many. If further ones
        of QoS 2 began meanwhile, that might never end.
        """
        return qos == 2 and self.journal is not None and self.is_amid_message

    def wait(self, publisher: SendBuffer) -> None:
        """Announce a publisher when `has_to_wait` may have changed."""
        self._distributor.wait(publisher)

    def finish(self, now: float) -> None:
        """Send each message to the rest of its subscribers."""
        self.turn.begin(now)
        self._distributor.finish()

    def publish_own(self, message: ApplicationMessage, now: float) -> int:
        """Publish a message of the broker or of its program.

        Returns:
            The number of sessions that get it.
        """
        self.turn.begin(now)
        matches = self.subscriptions.find(message.topic)
        self.publish(message, None, matches)
        return matches.count

    def is_too_deep(self, topic: str) -> bool:
        """Whether a topic or filter has more levels than are allowed."""
        return topic.count("/") >= self.limits.maximum_topic_levels

    def show_statistics(self, now: float) -> None:
        """Publish the ``$SYS`` topics that have changed, as retained messages."""
        self.turn.now = now
        self.count()
        for topic, value in self.statistics.topics():
            last = self.retained.matching(topic, now)
            payload = value.encode()
            if not last or last[0].payload != payload:
                message = ApplicationMessage(topic, payload, 0, True, None, now)
                self.publish(message, None, self.subscriptions.find(topic))

    def count(self) -> Statistics:
        """Update the counts of the current sessions, subscriptions and so on."""
        statistics = self.statistics
        statistics.clients_connected = len(self.connections)
        statistics.clients_total = len(self.sessions)
        statistics.subscriptions = len(self.subscriptions)
        statistics.retained_messages = len(self.retained)
        return statistics

    # --- sessions -----------------------------------------------------------------

    def attach(
        self, connection: "ClientConnection", client_id: str, clean_start: bool
    ) -> bool:
        """Attach a connection to its session, and end an earlier connection (§3.1.4).

        Returns:
            Whether the session was there before.

        Raises:
            PacketError: There are too many sessions (0x97).
        """
        other = self.connections.get(client_id)
        if other is not None:
            # [MQTT-3.1.4-3]
            other.end(
                SESSION_TAKEN_OVER,
                "another connection uses the identifier",
                self.turn.now,
            )
        session = self.sessions.get(client_id)
        if session is not None and clean_start:
            self.end_session(session)
            session = None
        is_present = session is not None
        if session is None:
            if len(self.sessions) >= self.limits.maximum_sessions:
                raise PacketError(QUOTA_EXCEEDED, "there are too many sessions")
            if not self.memory.has_room(0):
                raise PacketError(QUOTA_EXCEEDED, "there is no memory for a session")
            session = self._new_session(client_id)
        self.timers.cancel(session.expiry_timer)
        # The client is back before its will was due ([MQTT-3.1.3-9]).
        self.timers.cancel(session.will_timer)
        session.will = None
        connection.session = session
        self.connections[client_id] = connection
        return is_present

    def _new_session(self, client_id: str) -> Session:
        session = self.sessions[client_id] = Session(
            client_id,
            self.limits,
            self.memory,
            self.statistics,
            self.retained,
            self.turn,
            self.journal,
        )
        return session

    def restore(self, stored: StoredSession, pool: MessagePool) -> None:
        """Create a session, without a connection, as it was stored.

        If its client was connected, it counts as disconnected from now on.

        Args:
            stored: The session.
            pool: Makes the messages of all sessions.
        """
        state, attributes = stored
        session = self._new_session(state.client_id)
        for topic_filter, subscription in state.subscriptions.items():
            options = subscription.options
            self.subscriptions.add(
                Subscription(
                    session,
                    topic_filter,
                    options.qos,
                    options.no_local,
                    options.retain_as_published,
                    subscription.identifier,
                )
            )
        session.load(state, attributes, pool)
        now, will, expiry = self.turn.now, session.will, session.expiry
        if will is not None:
            due = now + min(_delay_of(will), expiry)
            if attributes.will_due is not None:
                # Unless the clock was set back.
                due = min(due, attributes.will_due)
            self._publish_will_at(session, due)
        if expiry != FOREVER:
            ends = attributes.ends
            self._end_at(session, now + expiry if ends is None else ends)
        session.note_changes()

    def restore_retained(self, stored: StoredMessage) -> None:
        """Retain a message as it was stored."""
        message = ApplicationMessage(
            stored.topic, stored.payload, stored.qos, True, stored.properties, -inf
        )
        message.expires = stored.expires
        message.number = stored.number
        self.retained.load(message)

    def _publish_will_at(self, session: Session, when: float) -> None:
        session.will_timer = self.timers.add(when, partial(self._publish_will, session))

    def _end_at(self, session: Session, when: float) -> None:
        session.expiry_timer = self.timers.add(when, partial(self._expire, session))

    def detach(self, session: Session, is_will_due: bool) -> None:
        """End a session's connection; publish its will, unless it was discarded."""
        now = self.turn.now
        session.detach()
        del self.connections[session.client_id]
        will, expiry = session.will, session.expiry
        if will is not None and is_will_due:
            delay = _delay_of(will)
            if delay and expiry:
                self._publish_will_at(session, now + delay)
            else:
                self._publish_will(session, now)
        else:
            session.will = None
        if not expiry:
            self.end_session(session)
        elif expiry != FOREVER:
            self._end_at(session, now + expiry)
        session.note_changes()

    def end_session(self, session: Session) -> None:
        """Forget a session that has no connection."""
        self.timers.cancel(session.expiry_timer)
        # A will that is delayed comes no later than this (§3.1.3.2.2).
        self._publish_will(session, self.turn.now)
        self.subscriptions.end(session)
        if not self._is_sweeping:
            self._sweep()
        deliveries = session.deliveries_for_others()
        session.end()
        del self.sessions[session.client_id]
        for share, message in deliveries:
            group = self.subscriptions.group(share)
            if group is not None and not message.is_expired(self.turn.now):
                send_to_one(message, None, group)

    def _sweep(self) -> None:
        """Remove the subscriptions of sessions that have ended, a portion at a time."""
        self._is_sweeping = not self.subscriptions.sweep(self.turn)
        if self._is_sweeping:
            self.timers.add(self.turn.now + PORTION_INTERVAL, self._sweep_on)

    def _sweep_on(self, now: float) -> None:
        self._sweep()

    def clear(self, now: float) -> None:
        """Forget the sessions that have no connection, and all retained messages."""
        self.turn.begin(now)
        for session in [*self.sessions.values()]:
            if session.send_buffer is None:
                session.will = None
                self.end_session(session)
        self.retained.clear()

    def _expire(self, session: Session, now: float) -> None:
        client_id = escape(session.client_id)
        self._note(f"Expiring client {client_id} due to timeout.")
        self.end_session(session)

    def _publish_will(self, session: Session, now: float) -> None:
        self.timers.cancel(session.will_timer)
        will, session.will = session.will, None
        if will is not None:
            message = ApplicationMessage(
                will.topic,
                will.payload,
                will.qos,
                will.retain,
                _properties_of(will),
                now,
            )
            self.publish(message, session, self.subscriptions.find(will.topic))


def _delay_of(will: WillMessage) -> int:
    """Return the Will Delay Interval in seconds (§3.1.3.2.2)."""
    return 0 if will.properties is None else will.properties.will_delay_interval or 0


def _properties_of(will: WillMessage) -> Properties | None:
    properties = for_others(will.properties)
    if properties is not None and properties.will_delay_interval is not None:
        others = properties.without("will_delay_interval")
        return others if others.present else None
    return properties
