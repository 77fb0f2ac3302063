"""What has changed in a broker that is stored, in the order in which to store it."""

from typing import TYPE_CHECKING

from aiomqtt.stores.broker import (
    Record,
    RetainedChanged,
    SessionEnded,
    StoredMessage,
)

from .message import ApplicationMessage

if TYPE_CHECKING:
    from .session_record import SessionRecord


class Journal:
    """Collects the changes of all sessions and of the retained messages.

    What one `take` returns belongs in one transaction. Then a message has reached all
    of its sessions or none, and its publisher's session knows that it was received at
    QoS 2. The times are those of the broker's clock.
    """

    def __init__(self) -> None:
        # Valid until the caller takes them. Only the order of changes of the same
        # session or topic matters.
        self._ended: dict[str, None] = {}
        self._noted: dict[str, SessionRecord] = {}
        self._retained: dict[str, ApplicationMessage | None] = {}

    def note(self, client_id: str, record: "SessionRecord") -> None:
        """Note that a session has begun, or that it may have changed."""
        self._noted[client_id] = record

    def end(self, client_id: str) -> None:
        """Note that a session has ended; another one of the client may begin."""
        self._noted.pop(client_id, None)
        self._ended[client_id] = None

    def retain(self, topic: str, message: ApplicationMessage | None) -> None:
        """Note the retained message of a topic; None: there is none any more."""
        self._retained[topic] = message

    def take(self) -> list[Record]:
        """Return what has changed since the last time, in the order to store it."""
        taken: list[Record] = [SessionEnded(client_id) for client_id in self._ended]
        for record in self._noted.values():
            changed = record.take()
            if changed is not None:
                taken.append(changed)
        for topic, message in self._retained.items():
            taken.append(RetainedChanged(topic, _stored(message)))
        self._ended.clear()
        self._noted.clear()
        self._retained.clear()
        return taken


def _stored(message: ApplicationMessage | None) -> StoredMessage | None:
    if message is None:
        return None
    return StoredMessage(
        message.topic,
        message.payload,
        message.qos,
        message.properties,
        message.expires,
        message.number,
    )
