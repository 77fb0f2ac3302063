"""What has changed in a session that is stored, until the journal takes it."""

from typing import TYPE_CHECKING

from aiomqtt.protocol.changes import Change, ChangeKind, take
from aiomqtt.stores.broker import SessionAttributes, SessionChanged

from .subscription import Subscription
from .timers import Timer

if TYPE_CHECKING:
    from .journal import Journal
    from .session import Session


class SessionRecord:
    """Records what changes in a session, for the broker's journal.

    Args:
        session: The session.
        journal: The journal.

    Attributes:
        changes: The list for the changes, which the journal takes.
    """

    __slots__ = ("_attributes", "_journal", "_session", "changes")

    def __init__(self, session: "Session", journal: "Journal") -> None:
        self._session: Session = session
        self._journal: Journal = journal
        # Valid until the journal takes them.
        self.changes: list[Change] = []
        # The attributes that the journal has taken last; None: it has taken none.
        self._attributes: SessionAttributes | None = None

    def note(self) -> None:
        """Tell the journal that something may have changed."""
        self._journal.note(self._session.client_id, self)

    def on_subscribed(self, subscription: Subscription) -> None:
        """Record a new subscription."""
        stored = subscription.stored()
        change = Change(ChangeKind.SUBSCRIBED, subscription.topic_filter, stored)
        self.changes.append(change)
        self.note()

    def on_unsubscribed(self, topic_filter: str) -> None:
        """Record the end of a subscription."""
        self.changes.append(Change(ChangeKind.UNSUBSCRIBED, topic_filter))
        self.note()

    def on_loaded(self, attributes: SessionAttributes) -> None:
        """Note that the store has all that there is, with these attributes."""
        take(self.changes)
        self._attributes = attributes

    def take(self) -> SessionChanged | None:
        """Return what has changed since the last time; None: nothing."""
        attributes = self._new_attributes()
        changes = take(self.changes)
        if attributes is None and not changes:
            return None
        return SessionChanged(self._session.client_id, attributes, changes)

    def _new_attributes(self) -> SessionAttributes | None:
        session = self._session
        attributes = SessionAttributes(
            session.is_v5,
            session.expiry,
            _time_of(session.expiry_timer),
            session.will,
            _time_of(session.will_timer),
        )
        if attributes == self._attributes:
            return None
        self._attributes = attributes
        return attributes

    def end(self) -> None:
        """Note that the session has ended."""
        self._journal.end(self._session.client_id)


def _time_of(timer: Timer | None) -> float | None:
    return None if timer is None or timer.action is None else timer.when
