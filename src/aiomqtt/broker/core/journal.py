"""What has changed in a broker that is stored, in the order in which to store it."""

from aiomqtt.protocol.changes import Change, take

from .message import ApplicationMessage


class SessionChanged:
    """Changes of a session, which may be none; the first ones begin it.

    Attributes:
        client_id: Its client identifier.
        changes: The changes, in order.
    """

    __slots__ = ("changes", "client_id")

    def __init__(self, client_id: str, changes: list[Change]) -> None:
        self.client_id: str = client_id
        self.changes: list[Change] = changes


class SessionEnded:
    """The end of a session: nothing of it is kept.

    Attributes:
        client_id: Its client identifier.
    """

    __slots__ = ("client_id",)

    def __init__(self, client_id: str) -> None:
        self.client_id: str = client_id


class RetainedChanged:
    """The retained message of a topic.

    Attributes:
        topic: The topic.
        message: The message in place of the last one; None: there is none any more.
    """

    __slots__ = ("message", "topic")

    def __init__(self, topic: str, message: ApplicationMessage | None) -> None:
        self.topic: str = topic
        self.message: ApplicationMessage | None = message


class Journal:
    """Collects the changes of all sessions and of the retained messages.

    What one `take` returns belongs in one transaction. Then a message has reached all
    of its sessions or none, and its publisher's session knows that it was received at
    QoS 2; except a message that the `Distributor` sends in several turns.
    """

    def __init__(self) -> None:
        # Valid until the caller takes them. Only the order of changes of the same
        # session or topic matters.
        self._ended: dict[str, None] = {}
        self._changed: dict[str, list[Change]] = {}
        self._retained: dict[str, ApplicationMessage | None] = {}

    def note(self, client_id: str, changes: list[Change]) -> None:
        """Note that a session has begun, or that changes may have been recorded.

        Args:
            client_id: The client identifier.
            changes: The list to which the session appends its changes.
        """
        self._changed[client_id] = changes

    def forget(self, client_id: str) -> None:
        """Forget the changes of a session that is in the store as it is."""
        changes = self._changed.pop(client_id, None)
        if changes is not None:
            changes.clear()

    def end(self, client_id: str) -> None:
        """Note that a session has ended; another one of the client may begin."""
        self._changed.pop(client_id, None)
        self._ended[client_id] = None

    def retain(self, topic: str, message: ApplicationMessage | None) -> None:
        """Note the retained message of a topic; None: there is none any more."""
        self._retained[topic] = message

    def take(self) -> list[SessionChanged | SessionEnded | RetainedChanged]:
        """Return what has changed since the last time, in the order to store it."""
        taken: list[SessionChanged | SessionEnded | RetainedChanged] = []
        taken += [SessionEnded(client_id) for client_id in self._ended]
        taken += [
            SessionChanged(client_id, take(changes))
            for client_id, changes in self._changed.items()
        ]
        taken += [
            RetainedChanged(topic, message) for topic, message in self._retained.items()
        ]
        self._ended.clear()
        self._changed.clear()
        self._retained.clear()
        return taken
